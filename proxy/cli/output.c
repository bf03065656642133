/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/args.h"
#include "core/error.h"

static void print_clean(FILE *file, const char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        fputc((c < 0x20 && c != '\n') || c == 0x7f ? '?' : c, file);
    }
}

static void print_doc(const struct args *args, const json_t *doc)
{
    char *dumped = json_dumps(doc, args->json_lines ? JSON_COMPACT : JSON_INDENT(4));
    if (dumped == NULL) {
        fputs("{\"result\":false,\"msg\":\"memory ran out\",\"code\":5}\n", stdout);
        return;
    }
    printf("%s\n", dumped);
    free(dumped);
    fflush(stdout);
}

int output_fail(const struct args *args, int code, const char *fmt, ...)
{
    va_list list;
    char *reason = NULL;
    va_start(list, fmt);
    int len = vasprintf(&reason, fmt, list);
    va_end(list);
    const char *msg = len < 0 ? "memory ran out" : reason;
    if (args->json || args->json_lines) {
        json_t *doc = json_pack("{s:b,s:s,s:i}", "result", 0, "msg", msg, "code", code);
        print_doc(args, doc);
        json_decref(doc);
    } else {
        (void)fflush(stdout); /* so that the reason comes after what led to it */
        fputs("sluice: ", stderr);
        print_clean(stderr, msg);
        fputs("\n", stderr);
    }
    if (len >= 0) free(reason);
    return code;
}

void output_json(const struct args *args, const json_t *doc, int code)
{
    const json_t *result = json_object_get(doc, "result"), *msg = json_object_get(doc, "msg");
    json_t *out = json_pack("{s:b,s:s,s:i}", "result", result == NULL ? code == CLI_EXIT_DONE : json_is_true(result),
                            "msg", json_is_string(msg) ? json_string_value(msg) : "", "code", code);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)doc, key, value) /* only read; jansson's macro wants it mutable */
    {
        if (json_object_get(out, key) == NULL) (void)json_object_set(out, key, value);
    }
    print_doc(args, out);
    json_decref(out);
}

int output_code(const json_t *doc, long status)
{
    const json_t *code = json_object_get(doc, "code"), *result = json_object_get(doc, "result");
    if (json_is_integer(code) && json_integer_value(code) >= CLI_EXIT_DONE &&
        json_integer_value(code) <= CLI_EXIT_UNKNOWN)
        return (int)json_integer_value(code);
    return json_is_true(result) && status < 400 ? CLI_EXIT_DONE : CLI_EXIT_FAILED;
}

void output_text(const char *fmt, ...)
{
    va_list list;
    char *line = NULL;
    va_start(list, fmt);
    int len = vasprintf(&line, fmt, list);
    va_end(list);
    if (len < 0) return;
    print_clean(stdout, line);
    free(line);
}

int output_flush(void)
{
    return fflush(stdout) != 0 || ferror(stdout) ? SLUICE_ERR_IO : 0;
}

void table_add(struct table *t, const char *fmt, ...)
{
    va_list list;
    char *cell = NULL;
    va_start(list, fmt);
    int len = vasprintf(&cell, fmt, list);
    va_end(list);
    text_append(&t->cells, len < 0 ? "" : cell, len < 0 ? 1 : (size_t)len + 1);
    if (len >= 0) free(cell);
    t->count++;
}

/* Characters, not bytes: continuation bytes of UTF-8 take no place. */
static size_t width_of(const char *s)
{
    size_t width = 0;
    for (; *s != '\0'; s++)
        width += ((unsigned char)*s & 0xC0) != 0x80;
    return width;
}

void table_print(struct table *t, const char *indent)
{
    size_t widths[16] = { 0 };
    const char *cell = text_str(&t->cells);
    if (t->cells.status != 0) t->count = 0;
    for (size_t i = 0; i < t->count; i++, cell += strlen(cell) + 1) {
        size_t width = width_of(cell);
        if (width > widths[i % t->columns]) widths[i % t->columns] = width;
    }
    cell = text_str(&t->cells);
    for (size_t i = 0; i < t->count; i++, cell += strlen(cell) + 1) {
        bool is_last = (i + 1) % t->columns == 0 || i + 1 == t->count;
        if (i % t->columns == 0) fputs(indent, stdout);
        print_clean(stdout, cell);
        if (is_last)
            fputs("\n", stdout);
        else
            printf("%*s", (int)(widths[i % t->columns] - width_of(cell) + 2), "");
    }
    text_free(&t->cells);
    t->count = 0;
}

const char *field_str(const json_t *object, const char *key, const char *absent)
{
    static char numbers[4][32];
    static unsigned turn;
    const json_t *value = json_object_get(object, key);
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_boolean(value)) return json_is_true(value) ? "yes" : "no";
    if (!json_is_integer(value)) return absent;
    char *out = numbers[turn++ % 4];
    snprintf(out, sizeof numbers[0], "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return out;
}

json_int_t field_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}
