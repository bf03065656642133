/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - a growing, always NUL-terminated string. Out of memory is remembered and asked for once, at the end. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include "core/attr.h"

struct text {
    char *data;  /* NULL while empty and nothing was allocated; see text_str() */
    size_t len;  /* without the NUL */
    size_t room; /* bytes allocated */
    int status;  /* 0, or SLUICE_ERR_NOMEM once an append has failed: later appends do nothing */
};

#define TEXT_INIT ((struct text){ 0 })

/* text_append - append |len| bytes; they need not end in NUL. */
void text_append(struct text *t, const char *bytes, size_t len);
/* text_puts - append a C string; NULL appends nothing. */
void text_puts(struct text *t, const char *s);
/* text_printf - append as printf does. */
void text_printf(struct text *t, const char *fmt, ...) SLUICE_PRINTF(2, 3);
/* text_str - the text, "" while empty; valid until the next append or text_free(). */
const char *text_str(const struct text *t);
/* text_take - hand the string to the caller, who frees it with mem_free(); |t| is empty again. NULL when memory ran out. */
SLUICE_MUSTCHECK char *text_take(struct text *t);
/* text_clear - empty it and keep the memory; forgets an earlier failure. */
void text_clear(struct text *t);
/* text_free - release the memory; |t| may be used again. */
void text_free(struct text *t);
