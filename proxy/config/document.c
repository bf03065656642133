/* SPDX-License-Identifier: Apache-2.0 */
/* document.c - from a file to a YAML document, and the bookkeeping of struct load. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "config/load.h"
#include "core/error.h"
#include "core/mem.h"

enum { FILE_LEN_MAX = 8 << 20 };

int load_fail(struct load *l, int line, const char *key, const char *fmt, ...)
{
    char reason[2048];
    va_list args;
    if (l->error.len > 0) return SLUICE_ERR_CONFIG; /* the first reason is the one that is told */
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    text_puts(&l->error, l->path);
    if (line > 0) text_printf(&l->error, ":%d", line);
    text_printf(&l->error, ": %s%s%s", key, key[0] == '\0' ? "" : ": ", reason);
    return l->error.status != 0 ? SLUICE_ERR_NOMEM : SLUICE_ERR_CONFIG;
}

static int grow_marks(struct load *l)
{
    if (l->mark_count < l->mark_room) return 0;
    size_t room = l->mark_room == 0 ? 64 : 2 * l->mark_room;
    struct load_mark *marks = mem_realloc(l->marks, room * sizeof *marks);
    if (marks == NULL) return SLUICE_ERR_NOMEM;
    l->marks = marks;
    l->mark_room = room;
    return 0;
}

int load_mark_add(struct load *l, const void *field, int line)
{
    int rv = grow_marks(l);
    if (rv != 0) return rv;
    char *key = mem_strdup(text_str(&l->where));
    if (key == NULL) return SLUICE_ERR_NOMEM;
    l->marks[l->mark_count++] = (struct load_mark){ .field = field, .line = line, .key = key };
    return 0;
}

static int compare_marks(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct load_mark *)a)->field, y = (uintptr_t)((const struct load_mark *)b)->field;
    return (x > y) - (x < y);
}

void load_marks_sort(struct load *l)
{
    if (l->mark_count > 0) qsort(l->marks, l->mark_count, sizeof *l->marks, compare_marks);
    l->is_sorted = true;
}

const struct load_mark *load_mark_find(const struct load *l, const void *field)
{
    const struct load_mark wanted = { .field = field };
    if (l->is_sorted && l->mark_count > 0)
        return bsearch(&wanted, l->marks, l->mark_count, sizeof *l->marks, compare_marks);
    for (size_t i = 0; i < l->mark_count; i++)
        if (l->marks[i].field == field) return &l->marks[i];
    return NULL;
}

int load_line_of_map(const struct load *l, const char *key)
{
    for (size_t i = 0; i < l->mark_count; i++)
        if (l->marks[i].field == NULL && strcmp(l->marks[i].key, key) == 0) return l->marks[i].line;
    return 0;
}

void load_free(struct load *l)
{
    for (size_t i = 0; i < l->mark_count; i++)
        mem_free(l->marks[i].key);
    mem_free(l->marks);
    yaml_document_delete(&l->doc); /* of a zeroed or failed document: nothing */
    text_free(&l->where);
    text_free(&l->error);
}

static int read_file(struct load *l, struct text *out)
{
    char buf[16384];
    int rv = 0;
    int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        (void)load_fail(l, 0, "", "%s; name the configuration file with -c", strerror(errno));
        return SLUICE_ERR_IO;
    }
    while (rv == 0) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            (void)load_fail(l, 0, "", "%s; see that it can be read", strerror(errno));
            rv = SLUICE_ERR_IO;
        }
        if (n <= 0) break;
        text_append(out, buf, (size_t)n);
        rv = out->status;
        if (out->len > FILE_LEN_MAX) rv = load_fail(l, 0, "", "longer than 8 MiB; this is no configuration file");
    }
    close(fd);
    return rv;
}

/* "address: [::1]:3306" is a list to YAML, and the most frequent reason why a file is none. */
static bool line_has_bare_bracket(const char *text, size_t line)
{
    for (; line > 0 && text != NULL; line--) {
        text = strchr(text, '\n');
        if (text != NULL) text++;
    }
    if (text == NULL) return false;
    size_t len = strcspn(text, "\n");
    const char *bracket = memmem(text, len, ": [", 3);
    return bracket != NULL && (memmem(text, len, "]:", 2) != NULL || memmem(text, len, "::", 2) != NULL);
}

static int fail_syntax(struct load *l, const yaml_parser_t *parser, const char *text)
{
    if (parser->error == YAML_MEMORY_ERROR) return SLUICE_ERR_NOMEM;
    size_t line = parser->problem_mark.line;
    bool is_bracket = line_has_bare_bracket(text, line) ||
                      (parser->context != NULL && line_has_bare_bracket(text, parser->context_mark.line));
    if (parser->error == YAML_READER_ERROR) {
        line = 0; /* the reader knows an offset only */
        for (size_t i = 0; i < parser->problem_offset && text[i] != '\0'; i++)
            line += text[i] == '\n';
    }
    return load_fail(l, (int)line + 1, "", "no valid YAML: %s%s%s; %s",
                     parser->problem == NULL ? "it cannot be read" : parser->problem,
                     parser->context == NULL ? "" : " ", parser->context == NULL ? "" : parser->context,
                     is_bracket ? "an address in brackets must be quoted: \"[::1]:3306\""
                                : "see the indentation and quotes in front of this line");
}

static int compose(struct load *l, yaml_parser_t *parser, const char *text)
{
    yaml_document_t second;
    if (!yaml_parser_load(parser, &l->doc)) {
        memset(&l->doc, 0, sizeof l->doc);
        return fail_syntax(l, parser, text);
    }
    if (yaml_document_get_root_node(&l->doc) == NULL)
        return load_fail(l, 1, "", "the file is empty; begin with conf/sluice-minimal.yaml");
    if (!yaml_parser_load(parser, &second)) return fail_syntax(l, parser, text);
    const yaml_node_t *more = yaml_document_get_root_node(&second);
    int rv = more == NULL ? 0
                          : load_fail(l, (int)more->start_mark.line + 1, "",
                                      "a second YAML document; the file has to be one, remove the line with ---");
    yaml_document_delete(&second);
    return rv;
}

int load_document(struct load *l)
{
    yaml_parser_t parser;
    struct text text = TEXT_INIT;
    int rv = read_file(l, &text);
    if (rv != 0) goto out_text;
    if (memchr(text_str(&text), '\0', text.len) != NULL) {
        rv = load_fail(l, 0, "", "has a NUL byte; this is no text file");
        goto out_text;
    }
    rv = SLUICE_ERR_NOMEM;
    if (!yaml_parser_initialize(&parser)) goto out_text;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text_str(&text), text.len);
    rv = compose(l, &parser, text_str(&text));
    yaml_parser_delete(&parser);
out_text:
    text_free(&text);
    return rv;
}
