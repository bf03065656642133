/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"

static int make_room(struct text *t, size_t more)
{
    if (t->status != 0) return t->status;
    if (more < t->room - t->len) return 0; /* one byte stays for the NUL */
    if (more > SIZE_MAX / 4 || t->len > SIZE_MAX / 4) return t->status = SLUICE_ERR_NOMEM;
    size_t room = t->room == 0 ? 64 : t->room;
    while (room - t->len <= more)
        room *= 2;
    char *data = mem_realloc(t->data, room);
    if (data == NULL) return t->status = SLUICE_ERR_NOMEM;
    t->data = data;
    t->room = room;
    return 0;
}

void text_append(struct text *t, const char *bytes, size_t len)
{
    if (make_room(t, len) != 0) return;
    if (len > 0) memcpy(t->data + t->len, bytes, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_puts(struct text *t, const char *s)
{
    if (s != NULL) text_append(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0 || make_room(t, (size_t)len) != 0) return;
    va_start(args, fmt);
    vsnprintf(t->data + t->len, (size_t)len + 1, fmt, args);
    va_end(args);
    t->len += (size_t)len;
}

const char *text_str(const struct text *t)
{
    return t->data == NULL ? "" : t->data;
}

char *text_take(struct text *t)
{
    char *data = t->data;
    if (t->status != 0) {
        text_free(t);
        return NULL;
    }
    if (data == NULL) return mem_strdup("");
    *t = TEXT_INIT;
    return data;
}

void text_clear(struct text *t)
{
    t->len = 0;
    t->status = 0;
    if (t->data != NULL) t->data[0] = '\0';
}

void text_free(struct text *t)
{
    mem_free(t->data);
    *t = TEXT_INIT;
}
