/* SPDX-License-Identifier: Apache-2.0 */
#include "config/dm_file.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "config/dm_file_walk.h"
#include "core/error.h"
#include "core/mem.h"

/* ---- a source's file ---- */

/* Where a word stands that is to be replaced. */
struct place {
    bool is_there;
    bool is_quoted;
    size_t begin, end; /* without the quotes */
    unsigned ordinal;
};

struct source_reader {
    const char *text;
    struct dm_source_file file;
    struct place host, port;
    bool has_from;
};

static int fail(struct text *error, const struct dm_file_value *v, const char *why)
{
    text_printf(error, "line %u: %s", v->line, why);
    return SLUICE_ERR_SYNTAX;
}

static int keep_word(char **to, const struct dm_file_value *v, struct text *error)
{
    if (v->type != YAML_SCALAR_EVENT || memchr(v->text, '\0', v->len) != NULL)
        return fail(error, v, "a word is wanted here: write it out, without an alias");
    if (**to != '\0') return fail(error, v, "the key is there twice: keep one");
    char *copy = mem_strdup(v->text);
    if (copy == NULL) return SLUICE_ERR_NOMEM;
    mem_free(*to);
    *to = copy;
    return 0;
}

/* The bytes of the word must be its value: then what is put in their place is all that changes. */
static int take_place(struct source_reader *r, const struct dm_file_value *v, struct place *to, struct text *error)
{
    bool is_plain = v->style == YAML_PLAIN_SCALAR_STYLE;
    bool is_quoted = v->style == YAML_SINGLE_QUOTED_SCALAR_STYLE || v->style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    if (v->type != YAML_SCALAR_EVENT || v->is_marked)
        return fail(error, v, "from.host and from.port are to be replaced: write them without anchor, alias or tag");
    if (to->is_there) return fail(error, v, "the key is there twice: keep one");
    if (!is_plain && !is_quoted)
        return fail(error, v, "from.host and from.port are to be replaced: write them on one line, plain or in quotes");
    *to = (struct place){ .is_there = true,
                          .is_quoted = is_quoted,
                          .begin = v->begin + is_quoted,
                          .end = v->end - is_quoted,
                          .ordinal = v->ordinal };
    bool is_sound = v->end >= v->begin + 2 * (size_t)is_quoted && to->end - to->begin == v->len && v->len > 0 &&
                    memcmp(r->text + to->begin, v->text, v->len) == 0;
    return is_sound ? 0 : fail(error, v, "from.host and from.port are to be replaced: write them without escapes");
}

static int take_port(struct source_reader *r, const struct dm_file_value *v, struct text *error)
{
    char *end = NULL;
    int rv = take_place(r, v, &r->port, error);
    if (rv != 0) return rv;
    unsigned long n = strtoul(v->text, &end, 10);
    if (v->len > 5 || !isdigit((unsigned char)v->text[0]) || *end != '\0' || n < 1 || n > 65535)
        return fail(error, v, "from.port is a number from 1 to 65535");
    r->file.port = (unsigned)n;
    return 0;
}

static int take_from(struct source_reader *r, const struct dm_file_value *v, struct text *error)
{
    if (v->type != YAML_MAPPING_START_EVENT || v->is_marked)
        return fail(error, v, "from is to be changed: write it out as a mapping, without anchor, alias or tag");
    if (r->has_from) return fail(error, v, "from is there twice: keep one");
    r->has_from = true;
    return 0;
}

static int take_flag(const struct dm_file_value *v, bool *to)
{
    *to = v->type == YAML_SCALAR_EVENT && strcasecmp(v->text, "true") == 0;
    return 0;
}

static int take_source_value(void *arg, const struct dm_file_value *v, struct text *error)
{
    struct source_reader *r = arg;
    if (dm_file_value_is(v, "source-id", NULL)) return keep_word(&r->file.source_id, v, error);
    if (dm_file_value_is(v, "enable-gtid", NULL)) return take_flag(v, &r->file.enable_gtid);
    if (dm_file_value_is(v, "enable-relay", NULL)) return take_flag(v, &r->file.enable_relay);
    if (dm_file_value_is(v, "from", NULL)) return take_from(r, v, error);
    if (dm_file_value_is(v, "from", "<<"))
        return fail(error, v, "from uses a merge key: write its host, port and user out");
    if (dm_file_value_is(v, "from", "user")) return keep_word(&r->file.user, v, error);
    if (dm_file_value_is(v, "from", "port")) return take_port(r, v, error);
    if (!dm_file_value_is(v, "from", "host")) return 0;
    int rv = take_place(r, v, &r->host, error);
    return rv == 0 ? keep_word(&r->file.host, v, error) : rv;
}

void dm_source_file_free(struct dm_source_file *f)
{
    mem_free(f->source_id);
    mem_free(f->host);
    mem_free(f->user);
    *f = (struct dm_source_file){ 0 };
}

static int missing(struct text *error, const char *key)
{
    text_printf(error, "line 1: %s is missing: is this the source's own file?", key);
    return SLUICE_ERR_SYNTAX;
}

static int read_source(struct source_reader *r, const char *text, size_t len, struct text *error)
{
    *r = (struct source_reader){ .text = text };
    r->file.source_id = mem_strdup("");
    r->file.host = mem_strdup("");
    r->file.user = mem_strdup("");
    int rv = SLUICE_ERR_NOMEM;
    if (r->file.source_id != NULL && r->file.host != NULL && r->file.user != NULL)
        rv = dm_file_walk(text, len, take_source_value, r, error);
    if (rv == 0 && *r->file.source_id == '\0') rv = missing(error, "source-id");
    if (rv == 0 && !r->host.is_there) rv = missing(error, "from.host");
    if (rv == 0 && !r->port.is_there) rv = missing(error, "from.port (DM knows no default)");
    if (rv == 0 && *r->file.user == '\0') rv = missing(error, "from.user");
    if (rv != 0) dm_source_file_free(&r->file);
    return rv;
}

int dm_file_read_source(const char *text, size_t len, struct dm_source_file *out, struct text *error)
{
    struct source_reader r;
    int rv = read_source(&r, text, len, error);
    if (rv == 0) *out = r.file;
    return rv;
}

/* ---- with another address ---- */

/* A word that YAML takes for text without quotes, in a block and in a flow: letters, digits, '-', '.', '_', and not a number or a
 * boolean alone. */
static bool is_plain_word(const char *host)
{
    static const char *const others[] = { "true", "false", "yes", "no", "on", "off", "y", "n", "null" };
    bool has_letter = false;
    unsigned dots = 0;
    for (const char *p = host; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("-._", *p) == NULL) return false;
        has_letter = has_letter || isalpha((unsigned char)*p);
        dots += *p == '.';
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (strcasecmp(host, others[i]) == 0) return false;
    }
    bool may_be_hex_or_float = isdigit((unsigned char)host[0]) && dots < 2;
    return isalnum((unsigned char)host[0]) && !may_be_hex_or_float && (has_letter || dots == 3);
}

static void put_word(struct text *t, const struct place *p, const char *word, bool is_plain)
{
    bool needs = !p->is_quoted && !is_plain;
    text_printf(t, "%s%s%s", needs ? "\"" : "", word, needs ? "\"" : "");
}

/* What every value of a document is, but for those at the two places. */
struct digest {
    struct text all;
    unsigned host, port;
};

static int digest_value(void *arg, const struct dm_file_value *v, struct text *error)
{
    struct digest *d = arg;
    (void)error;
    for (size_t i = 0; i < v->depth; i++)
        text_printf(&d->all, "%s/", v->keys[i]);
    bool is_place = v->ordinal == d->host || v->ordinal == d->port;
    text_printf(&d->all, "%u:%d:%d:%zu:", v->ordinal, (int)v->type, v->is_marked, is_place ? 0 : v->len);
    if (!is_place) text_append(&d->all, v->text, v->len);
    return d->all.status;
}

static int compare(const char *a, size_t a_len, const char *b, size_t b_len, const struct source_reader *r,
                   struct text *error)
{
    struct digest before = { .host = r->host.ordinal, .port = r->port.ordinal }, after = before;
    int rv = dm_file_walk(a, a_len, digest_value, &before, error);
    if (rv == 0) rv = dm_file_walk(b, b_len, digest_value, &after, error);
    if (rv == 0 &&
        (before.all.len != after.all.len || memcmp(text_str(&before.all), text_str(&after.all), before.all.len) != 0)) {
        text_puts(error, "line 1: another value would change with the address: write from.host and from.port on lines "
                         "of their own");
        rv = SLUICE_ERR_SYNTAX;
    }
    text_free(&before.all);
    text_free(&after.all);
    return rv;
}

static void write_new(const struct source_reader *r, const char *text, size_t len, const char *host, unsigned port,
                      struct text *out)
{
    char number[16];
    snprintf(number, sizeof number, "%u", port);
    bool is_host_first = r->host.begin < r->port.begin;
    const struct place *first = is_host_first ? &r->host : &r->port;
    const struct place *second = is_host_first ? &r->port : &r->host;
    text_append(out, text, first->begin);
    put_word(out, first, is_host_first ? host : number, !is_host_first || is_plain_word(host));
    text_append(out, text + first->end, second->begin - first->end);
    put_word(out, second, is_host_first ? number : host, is_host_first || is_plain_word(host));
    text_append(out, text + second->end, len - second->end);
}

/* Parsed again: the two words are the new ones, and nothing else is another. */
static int verify_new(const struct source_reader *r, const char *text, size_t len, const struct text *made,
                      const char *host, unsigned port, struct text *error)
{
    struct dm_source_file again;
    int rv = dm_file_read_source(text_str(made), made->len, &again, error);
    if (rv != 0) return rv;
    bool is_right = strcmp(again.host, host) == 0 && again.port == port;
    dm_source_file_free(&again);
    if (!is_right) {
        text_puts(error, "line 1: the new address cannot be read back: write from.host and from.port plainly");
        return SLUICE_ERR_SYNTAX;
    }
    return compare(text, len, text_str(made), made->len, r, error);
}

int dm_file_readdress(const char *text, size_t len, const char *host, unsigned port, char **out, size_t *out_len,
                      struct text *error)
{
    struct source_reader r;
    struct text made = TEXT_INIT;
    int rv = read_source(&r, text, len, error);
    if (rv != 0) return rv;
    write_new(&r, text, len, host, port, &made);
    rv = made.status;
    if (rv == 0) rv = verify_new(&r, text, len, &made, host, port, error);
    dm_source_file_free(&r.file);
    if (rv == 0) {
        *out_len = made.len;
        *out = text_take(&made);
        if (*out == NULL) rv = SLUICE_ERR_NOMEM;
    }
    text_free(&made);
    return rv;
}

/* ---- a task's file ---- */

void dm_task_file_free(struct dm_task_file *f)
{
    for (size_t i = 0; i < f->source_count; i++)
        mem_free(f->sources[i]);
    mem_free(f->sources);
    mem_free(f->name);
    *f = (struct dm_task_file){ 0 };
}

static int add_source(struct dm_task_file *f, const struct dm_file_value *v, struct text *error)
{
    char **grown = mem_realloc(f->sources, (f->source_count + 1) * sizeof *grown);
    if (grown == NULL) return SLUICE_ERR_NOMEM;
    f->sources = grown;
    f->sources[f->source_count] = mem_strdup("");
    if (f->sources[f->source_count] == NULL) return SLUICE_ERR_NOMEM;
    return keep_word(&f->sources[f->source_count++], v, error);
}

static int take_task_value(void *arg, const struct dm_file_value *v, struct text *error)
{
    struct dm_task_file *f = arg;
    if (dm_file_value_is(v, "name", NULL)) return keep_word(&f->name, v, error);
    if (dm_file_value_is(v, "remove-meta", NULL)) return take_flag(v, &f->removes_meta);
    bool is_instance = v->depth == 3 && strcmp(v->keys[0], "mysql-instances") == 0 && *v->keys[1] == '\0' &&
                       strcmp(v->keys[2], "source-id") == 0;
    return is_instance ? add_source(f, v, error) : 0;
}

int dm_file_read_task(const char *text, size_t len, struct dm_task_file *out, struct text *error)
{
    struct dm_task_file f = { .name = mem_strdup("") };
    int rv = f.name == NULL ? SLUICE_ERR_NOMEM : dm_file_walk(text, len, take_task_value, &f, error);
    if (rv == 0 && *f.name == '\0') {
        text_puts(error, "line 1: name is missing: is this a task's file?");
        rv = SLUICE_ERR_SYNTAX;
    } else if (rv == 0 && f.source_count == 0) {
        text_puts(error, "line 1: mysql-instances names no source-id: is this a task's file?");
        rv = SLUICE_ERR_SYNTAX;
    }
    if (rv != 0) {
        dm_task_file_free(&f);
        return rv;
    }
    *out = f;
    return 0;
}

bool dm_task_file_has(const struct dm_task_file *f, const char *source_id)
{
    for (size_t i = 0; i < f->source_count; i++) {
        if (strcmp(f->sources[i], source_id) == 0) return true;
    }
    return false;
}
