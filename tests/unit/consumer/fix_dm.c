/* SPDX-License-Identifier: Apache-2.0 */
#include "fix_dm.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "consumer/dm_parse.h"

char *fix_dm_recorded(const char *name, int *out_http_status)
{
    char path[512];
    snprintf(path, sizeof path, DATA_DIR "/%s.json", name);
    json_t *record = json_load_file(path, 0, NULL);
    if (record == NULL) fail_msg("%s cannot be read", path);
    char *text = strdup(json_string_value(json_object_get(record, "response_text")));
    assert_non_null(text);
    if (out_http_status != NULL) *out_http_status = (int)json_integer_value(json_object_get(record, "status"));
    json_decref(record);
    return text;
}

struct dm_source fix_dm_status(const char *text)
{
    char error[DM_ERROR_LEN + 1] = "";
    struct dm_source s = { 0 };
    if (dm_parse_status(text, strlen(text), "mysql-01", &s, error) != 0) fail_msg("%s", error);
    return s;
}

struct dm_source fix_dm_recorded_status(const char *name)
{
    char *text = fix_dm_recorded(name, NULL);
    struct dm_source s = fix_dm_status(text);
    free(text);
    return s;
}
