/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dm_file.h - the YAML files that a user gives to DM: what they say, and a source's file with another address in it, every other
 * byte as it was. Pure: texts in, texts out. They hold passwords, so no error ever quotes a value.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "core/attr.h"
#include "core/text.h"

enum { DM_FILE_BYTES_MAX = 256 * 1024, DM_FILE_DEPTH_MAX = 64 };

/* What a source's file says; "" where it does not. */
struct dm_source_file {
    char *source_id;
    char *host; /* from.host */
    char *user; /* from.user */
    unsigned port;
    bool enable_gtid, enable_relay;
};

/* What a task's file says. */
struct dm_task_file {
    char *name;
    char **sources; /* mysql-instances[].source-id */
    size_t source_count;
    bool removes_meta; /* remove-meta: true, by which some versions of DM drop the checkpoint */
};

/*
 * dm_file_read_source - read a source's file. |from| must stand in it with host and port as plain or quoted words: no anchor, alias,
 * tag, merge key or block text in them, none of them twice, one document, UTF-8.
 * Returns 0 and |*out| (dm_source_file_free()); SLUICE_ERR_SYNTAX with "line N: what is wrong; what to do" in |error|; SLUICE_ERR_NOMEM.
 * |out| is untouched on failure.
 */
SLUICE_MUSTCHECK int dm_file_read_source(const char *text, size_t len, struct dm_source_file *out, struct text *error);
void dm_source_file_free(struct dm_source_file *f);

/*
 * dm_file_readdress - the same file with another from.host and from.port: all other bytes stay, and so do the quotes where the words
 * had some. What comes out is parsed again, and every other value is held to the original's.
 *
 * |host|     a name or an address, as config_parse_address() gives it.
 * |*out|     NUL-terminated, mem_free(); |*out_len| without the NUL.
 * Errors as dm_file_read_source(); nothing is given on failure.
 */
SLUICE_MUSTCHECK int dm_file_readdress(const char *text, size_t len, const char *host, unsigned port, char **out,
                                       size_t *out_len, struct text *error);

/* dm_file_read_task - as dm_file_read_source(); |name| and at least one source must be there. */
SLUICE_MUSTCHECK int dm_file_read_task(const char *text, size_t len, struct dm_task_file *out, struct text *error);
void dm_task_file_free(struct dm_task_file *f);
/* dm_task_file_has - is |source_id| among its sources? */
bool dm_task_file_has(const struct dm_task_file *f, const char *source_id);

/*
 * dm_file_mask - the file as it may be shown: written anew without its comments, with ****** in the place of every value whose key
 * tells of a secret, and of every value that has an anchor, as a secret may be an alias of it. |*out|: mem_free().
 * Errors as dm_file_read_source().
 */
SLUICE_MUSTCHECK int dm_file_mask(const char *text, size_t len, char **out, struct text *error);
