/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that may be shown. It is written anew from its values: a comment may hold a password, and what is under a key may be an alias
 * of what stands elsewhere.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include "config/dm_file_walk.h"
#include "core/error.h"
#include "core/mem.h"

static const char mask[] = "******"; /* as DM itself writes in the place of a password */

static bool tells_of_secret(const char *key)
{
    static const char *const words[] = { "password", "passwd", "secret", "token", "ssl-key", "-bytes", "-base64" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasestr(key, words[i]) != NULL) return true;
    }
    return false;
}

static bool is_secret(const struct dm_file_value *v)
{
    bool is_path = false; /* a key's file is named by its path, which is no secret; its bytes are */
    for (size_t i = 0; i < v->depth; i++) {
        if (tells_of_secret(v->keys[i])) {
            is_path = strcasecmp(v->keys[i], "ssl-key") == 0 && i + 1 == v->depth;
            if (!is_path) return true;
        }
    }
    return v->is_marked || v->type == YAML_ALIAS_EVENT;
}

static void put_quoted(struct text *out, const char *text, size_t len)
{
    text_puts(out, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            text_printf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            text_printf(out, "\\x%02x", c);
        } else {
            text_append(out, text + i, 1);
        }
    }
    text_puts(out, "\"");
}

static bool is_simple(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("-._/", text[i]) == NULL) return false;
    }
    return len > 0 && text[0] != '-';
}

static int put_value(void *arg, const struct dm_file_value *v, struct text *error)
{
    struct text *out = arg;
    (void)error;
    if (v->depth == 0 && v->type != YAML_SCALAR_EVENT) return 0; /* the document itself */
    for (size_t i = 1; i < v->depth; i++)
        text_puts(out, "  ");
    const char *key = v->depth == 0 ? "" : v->keys[v->depth - 1];
    text_printf(out, "%s%s", *key == '\0' ? "-" : *key == '\1' ? "(key)" : key, *key == '\0' ? "" : ":");
    if (v->type == YAML_SCALAR_EVENT || v->type == YAML_ALIAS_EVENT) {
        text_puts(out, " ");
        if (is_secret(v)) {
            put_quoted(out, mask, strlen(mask));
        } else if (is_simple(v->text, v->len)) {
            text_append(out, v->text, v->len);
        } else {
            put_quoted(out, v->text, v->len);
        }
    }
    text_puts(out, "\n");
    return out->status;
}

int dm_file_mask(const char *text, size_t len, char **out, struct text *error)
{
    struct text made = TEXT_INIT;
    int rv = dm_file_walk(text, len, put_value, &made, error);
    if (rv == 0) {
        *out = made.len == 0 && made.status == 0 ? mem_strdup("") : text_take(&made);
        if (*out == NULL) rv = SLUICE_ERR_NOMEM;
    }
    text_free(&made);
    return rv;
}
