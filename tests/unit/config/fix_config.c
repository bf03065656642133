/* SPDX-License-Identifier: Apache-2.0 */
#include "fix_config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/mem.h"

int fix_config_up(void **state)
{
    struct fix_config *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/sluice-config-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->yaml, sizeof f->yaml, "%s/sluice.yaml", f->dir);
    snprintf(f->password, sizeof f->password, "%s/password", f->dir);
    fix_config_file(f, "password", "geheim\n", 0600);
    *state = f;
    return 0;
}

int fix_config_down(void **state)
{
    static const char *const names[] = { "sluice.yaml", "password", "open",        "empty",
                                         "ca.pem",      "token",    "dm-cert.pem", "dm-key.pem" };
    struct fix_config *f = *state;
    char path[128];
    config_del(f->config);
    mem_free(f->error);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", f->dir, names[i]);
        (void)unlink(path);
    }
    int rv = rmdir(f->dir);
    free(f);
    return rv;
}

void fix_config_file(struct fix_config *f, const char *name, const char *text, mode_t mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (const char *at; (at = strstr(text, "@DIR@")) != NULL; text = at + 5)
        fprintf(file, "%.*s%s", (int)(at - text), text, f->dir);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

int fix_config_load(struct fix_config *f, const char *text)
{
    char *error = NULL;
    config_del(f->config);
    mem_free(f->error);
    f->config = NULL;
    f->error = NULL;
    fix_config_file(f, "sluice.yaml", text, 0644);
    int rv = config_load(f->yaml, &f->config, &error);
    assert_int_equal(rv == 0, f->config != NULL);
    assert_int_equal(rv == 0, error == NULL);
    if (error == NULL) return rv;
    assert_int_equal(strncmp(error, f->yaml, strlen(f->yaml)), 0);
    f->error = mem_strdup(error + strlen(f->yaml));
    assert_non_null(f->error);
    mem_free(error);
    return rv;
}

char *fix_config_read(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t len = fread(text, 1, (1 << 20) - 1, file);
    assert_true(len > 0 && len < (1 << 20) - 1);
    fclose(file);
    return text;
}
