/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_dm_file.c - a user's YAML with another address: what is given differs in the two words alone, and shows no secret. */
#include <string.h>
#include "config/dm_file.h"
#include "core/error.h"
#include "core/mem.h"
#include "fuzz.h"

enum { SIZE_MAX_HERE = 16 * 1024 }; /* larger ones find nothing else, slowly */

static void check_failure(int rv, const struct text *error)
{
    FUZZ_CHECK(rv == SLUICE_ERR_SYNTAX && error->len > 0);
}

/* There and back again is the same file, but for quotes that the old host had no need of. */
static void check_readdress(const char *text, size_t len, const struct dm_source_file *file)
{
    struct text error = TEXT_INIT;
    char *there = NULL, *back = NULL;
    size_t there_len = 0, back_len = 0;
    int rv = dm_file_readdress(text, len, "db-9.example.org", 3400, &there, &there_len, &error);
    if (rv != 0) {
        check_failure(rv, &error);
        text_free(&error);
        return;
    }
    struct dm_source_file again;
    FUZZ_CHECK(dm_file_read_source(there, there_len, &again, &error) == 0);
    FUZZ_CHECK(strcmp(again.host, "db-9.example.org") == 0 && again.port == 3400);
    FUZZ_CHECK(strcmp(again.source_id, file->source_id) == 0 && strcmp(again.user, file->user) == 0);
    dm_source_file_free(&again);
    FUZZ_CHECK(dm_file_readdress(there, there_len, "a.b", file->port, &back, &back_len, &error) == 0);
    FUZZ_CHECK(memchr(back, 'a', back_len) != NULL);
    mem_free(there);
    mem_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct text error = TEXT_INIT;
    struct dm_source_file file;
    struct dm_task_file task;
    char *shown = NULL;
    if (size > SIZE_MAX_HERE) return 0;
    int rv = dm_file_read_source(text, size, &file, &error);
    if (rv == 0) {
        check_readdress(text, size, &file);
        dm_source_file_free(&file);
    } else {
        check_failure(rv, &error);
    }
    text_clear(&error);
    if (dm_file_read_task(text, size, &task, &error) == 0) dm_task_file_free(&task);
    text_clear(&error);
    if (dm_file_mask(text, size, &shown, &error) == 0) mem_free(shown);
    text_free(&error);
    return 0;
}
