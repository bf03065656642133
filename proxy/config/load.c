/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - from the YAML document to struct config, key by key, as the table says. */
#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <unistd.h>
#include "config/load.h"
#include "config/schema.h"
#include "core/error.h"
#include "core/mem.h"

/* One value: the row that says what it must be, the node that holds it, the struct it goes into. */
struct value {
    const struct schema_row *row;
    enum schema_section section;
    void *base;
    const yaml_node_t *node;
    const char *text; /* of a scalar */
    int line;
};

static int line_of(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

static const char *scalar_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* The key that is read is again the one that had |len| bytes. */
static void where_cut(struct load *l, size_t len)
{
    if (l->where.data == NULL) return;
    l->where.data[len] = '\0';
    l->where.len = len;
}

static int fail(struct load *l, const struct value *v, const char *reason, const char *todo)
{
    return load_fail(l, v->line, text_str(&l->where), "%s%s%s %s; %s", v->text == NULL ? "" : "'",
                     v->text == NULL ? "" : v->text, v->text == NULL ? "this" : "'", reason, todo);
}

static bool is_word(const yaml_node_t *node, const char *word)
{
    return node->type == YAML_SCALAR_NODE && strcmp(scalar_of(node), word) == 0;
}

static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *s = scalar_of(node);
    return s[0] == '\0' || strcmp(s, "~") == 0 || strcmp(s, "null") == 0;
}

static int fail_range(struct load *l, const struct value *v)
{
    struct text range = TEXT_INIT;
    bool is_time = v->row->type == SCHEMA_DURATION;
    if (is_time) config_print_duration(v->row->min, &range);
    if (is_time) text_puts(&range, " to ");
    if (is_time) config_print_duration(v->row->max, &range);
    if (!is_time) text_printf(&range, "%u to %u", v->row->min, v->row->max);
    int rv = load_fail(l, v->line, text_str(&l->where), "%s is out of range; give %s", v->text, text_str(&range));
    text_free(&range);
    return rv;
}

static int read_duration(struct load *l, const struct value *v, uint32_t *out)
{
    uint32_t ms = 0;
    if (config_parse_duration(v->text, &ms) != 0)
        return fail(l, v, "is no duration", "write a number with its unit, such as 500ms, 10s or 1m");
    if (ms < v->row->min || ms > v->row->max) return fail_range(l, v);
    *out = ms;
    return 0;
}

static int read_count(struct load *l, const struct value *v, uint32_t *out)
{
    uint64_t n = 0;
    if (v->text[0] == '\0' || v->text[strspn(v->text, "0123456789")] != '\0')
        return fail(l, v, "is no number", "write decimal digits only, such as 2000");
    for (const char *p = v->text; *p != '\0'; p++) {
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > UINT32_MAX) return fail_range(l, v);
    }
    if (n < v->row->min || n > v->row->max) return fail_range(l, v);
    *out = (uint32_t)n;
    return 0;
}

static int keep(const char *s, char **out)
{
    char *kept = mem_strdup(s);
    if (kept == NULL) return SLUICE_ERR_NOMEM;
    *out = kept;
    return 0;
}

static int read_name(struct load *l, const struct value *v, char **out)
{
    size_t len = strlen(v->text);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)v->text[i];
        if (c >= 0x80 || (!isalnum(c) && strchr("._-", c) == NULL)) len = 0;
    }
    if (len < 1 || len > CONFIG_NAME_LEN_MAX)
        return fail(l, v, "is no name", "use 1 to 64 letters, digits, dots, underscores and hyphens");
    return keep(v->text, out);
}

static int read_string(struct load *l, const struct value *v, char **out)
{
    size_t len = strlen(v->text);
    if (len < v->row->min || len > v->row->max)
        return load_fail(l, v->line, text_str(&l->where), "has %zu bytes; give %u to %u", len, v->row->min,
                         v->row->max);
    return keep(v->text, out);
}

static int read_path(struct load *l, const struct value *v, char **out)
{
    if (access(v->text, R_OK) != 0) return fail(l, v, "cannot be read", "name a file that exists and is readable");
    return keep(v->text, out);
}

static int read_secret(struct load *l, const struct value *v, char **out, char **out_path)
{
    char *reason = NULL;
    int rv = keep(v->text, out_path);
    if (rv != 0) return rv;
    rv = config_read_secret(v->text, out, &reason);
    if (reason != NULL) (void)load_fail(l, v->line, text_str(&l->where), "%s", reason);
    mem_free(reason);
    return rv;
}

static int fail_address(struct load *l, const struct value *v)
{
    return fail(l, v, "is no address", "write host:port, with IPv6 \"[::1]:3306\" in quotes, the port 1 to 65535");
}

static int read_address(struct load *l, const struct value *v, const char *text, struct config_address *out)
{
    struct config_address address = { 0 };
    int rv = config_parse_address(text, &address);
    if (rv == SLUICE_ERR_SYNTAX) return fail_address(l, v);
    if (rv == 0) *out = address;
    return rv;
}

static bool is_ip(const char *host)
{
    unsigned char raw[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

static int read_listen(struct load *l, const struct value *v, struct config_address *out)
{
    int rv = read_address(l, v, v->text, out);
    if (rv != 0 || is_ip(out->host)) return rv;
    return fail(l, v, "names a host", "give an address of this machine to listen on, such as 0.0.0.0:3400");
}

static int read_ip(struct load *l, const struct value *v, char **out)
{
    if (!is_ip(v->text)) return fail(l, v, "is no IP address", "give an address of this machine, without a port");
    return keep(v->text, out);
}

static int read_bool(struct load *l, const struct value *v, bool *out)
{
    bool is_true = strcmp(v->text, "true") == 0;
    if (!is_true && strcmp(v->text, "false") != 0) return fail(l, v, "is no boolean", "write true or false");
    *out = is_true;
    return 0;
}

static int read_choice(struct load *l, const struct value *v, int *out)
{
    struct text words = TEXT_INIT;
    for (const struct schema_choice *c = v->row->choices; c->word != NULL; c++) {
        if (strcmp(c->word, v->text) == 0 && c->value != SCHEMA_CHOICE_NOT_YET) {
            *out = c->value;
            text_free(&words);
            return 0;
        }
        if (c->value != SCHEMA_CHOICE_NOT_YET) text_printf(&words, "%s%s", words.len == 0 ? "" : ", ", c->word);
        if (strcmp(c->word, v->text) == 0) {
            int rv = load_fail(l, v->line, text_str(&l->where),
                               "'%s' is not supported yet by this version; use one of: %s", v->text, text_str(&words));
            text_free(&words);
            return rv;
        }
    }
    int rv = load_fail(l, v->line, text_str(&l->where), "'%s' is not known; use one of: %s", v->text, text_str(&words));
    text_free(&words);
    return rv;
}

/* A string, or a list of strings. */
static int read_addresses(struct load *l, struct value *v, struct config_address **out, size_t *out_count)
{
    bool is_list = v->node->type == YAML_SEQUENCE_NODE;
    size_t count = is_list ? (size_t)(v->node->data.sequence.items.top - v->node->data.sequence.items.start) : 1;
    if (count == 0) return fail(l, v, "is an empty list", "name an address or leave the key out");
    *out = mem_calloc(count, sizeof **out);
    if (*out == NULL) return SLUICE_ERR_NOMEM;
    *out_count = count;
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *node =
            is_list ? yaml_document_get_node(&l->doc, v->node->data.sequence.items.start[i]) : v->node;
        v->line = line_of(node);
        v->text = NULL;
        if (node->type != YAML_SCALAR_NODE) return fail_address(l, v);
        v->text = scalar_of(node);
        int rv = read_address(l, v, v->text, &(*out)[i]);
        if (rv == 0) rv = load_mark_add(l, &(*out)[i], v->line);
        if (rv != 0) return rv;
    }
    return 0;
}

static int read_network(struct load *l, const struct value *v, struct network *out)
{
    const char *why = NULL;
    if (network_parse(v->text, out, &why) == 0) return 0;
    return load_fail(l, v->line, text_str(&l->where), "'%s' %s", v->text, why);
}

/* A string, or a list of strings. */
static int read_networks(struct load *l, struct value *v, struct network **out, size_t *out_count)
{
    bool is_list = v->node->type == YAML_SEQUENCE_NODE;
    size_t count = is_list ? (size_t)(v->node->data.sequence.items.top - v->node->data.sequence.items.start) : 1;
    if (count == 0) return fail(l, v, "is an empty list", "name a network or leave the key out");
    if (count > CONFIG_NETWORKS_MAX)
        return load_fail(l, v->line, text_str(&l->where), "has %zu entries; give 1 to %d", count, CONFIG_NETWORKS_MAX);
    *out = mem_calloc(count, sizeof **out);
    if (*out == NULL) return SLUICE_ERR_NOMEM;
    *out_count = count;
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *node =
            is_list ? yaml_document_get_node(&l->doc, v->node->data.sequence.items.start[i]) : v->node;
        v->line = line_of(node);
        v->text = NULL;
        if (node->type != YAML_SCALAR_NODE)
            return fail(l, v, "is no network", "write one as 10.0.0.0/8, and IPv6 in quotes: \"fd00::/8\"");
        v->text = scalar_of(node);
        int rv = read_network(l, v, &(*out)[i]);
        if (rv != 0) return rv;
    }
    return 0;
}

static int read_scalar(struct load *l, const struct value *v)
{
    void *field = schema_field(v->row, v->section, v->base);
    void *more = (char *)v->base + v->row->offset_more;
    switch (v->row->type) {
    case SCHEMA_DURATION: return read_duration(l, v, field);
    case SCHEMA_COUNT: return read_count(l, v, field);
    case SCHEMA_NAME: return read_name(l, v, field);
    case SCHEMA_STRING: return read_string(l, v, field);
    case SCHEMA_PATH: return read_path(l, v, field);
    case SCHEMA_SECRET: return read_secret(l, v, field, more);
    case SCHEMA_ADDRESS: return read_address(l, v, v->text, field);
    case SCHEMA_LISTEN: return read_listen(l, v, field);
    case SCHEMA_IP: return read_ip(l, v, field);
    case SCHEMA_BOOL: return read_bool(l, v, field);
    case SCHEMA_CHOICE: return read_choice(l, v, field);
    case SCHEMA_ADDRESSES:
    case SCHEMA_NETWORKS:
    case SCHEMA_MAP:
    case SCHEMA_LIST: break;
    }
    assert(0 && "not a scalar");
    return SLUICE_ERR_INVALID;
}

static int read_map(struct load *l, const yaml_node_t *node, enum schema_section section, void *base);

static int read_list(struct load *l, const struct value *v)
{
    char **items = schema_field(v->row, v->section, v->base);
    size_t *count = (size_t *)(void *)((char *)v->base + v->row->offset_more);
    const yaml_node_item_t *first = v->node->data.sequence.items.start;
    size_t n = (size_t)(v->node->data.sequence.items.top - first);
    if (n < v->row->min || n > v->row->max)
        return load_fail(l, v->line, text_str(&l->where), "has %zu entries; give %u to %u", n, v->row->min,
                         v->row->max);
    *items = mem_calloc(n, v->row->item_size);
    if (*items == NULL) return SLUICE_ERR_NOMEM;
    *count = n;
    size_t where_len = l->where.len;
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *item = yaml_document_get_node(&l->doc, first[i]);
        char *base = *items + i * v->row->item_size;
        text_printf(&l->where, "[%zu]", i);
        if (v->row->section == SCHEMA_SOURCE) {
            struct config_source *source = (struct config_source *)(void *)base;
            source->line = line_of(item);
            source->limits = ((struct config *)v->base)->limits; /* the source's own keys win */
        }
        int rv = read_map(l, item, v->row->section, base);
        where_cut(l, where_len);
        if (rv != 0) return rv;
    }
    return 0;
}

static int read_value(struct load *l, struct value *v)
{
    void *field = schema_field(v->row, v->section, v->base);
    if (is_null(v->node)) return fail(l, v, "has no value", "give one or leave the key out");
    if (v->row->type == SCHEMA_MAP) {
        int rv = load_mark_add(l, NULL, v->line);
        return rv != 0 ? rv : read_map(l, v->node, v->row->section, field);
    }
    if (v->row->type == SCHEMA_LIST) {
        if (v->node->type != YAML_SEQUENCE_NODE)
            return fail(l, v, "is no list", "write each entry on a line behind '- '");
        return read_list(l, v);
    }
    if (v->row->type == SCHEMA_ADDRESSES)
        return read_addresses(l, v, field, (size_t *)(void *)((char *)v->base + v->row->offset_more));
    if (v->row->type == SCHEMA_NETWORKS)
        return read_networks(l, v, field, (size_t *)(void *)((char *)v->base + v->row->offset_more));
    if (v->node->type != YAML_SCALAR_NODE)
        return fail(l, v, v->node->type == YAML_SEQUENCE_NODE ? "is a list" : "is a map",
                    v->row->type == SCHEMA_ADDRESS || v->row->type == SCHEMA_LISTEN || v->row->type == SCHEMA_IP
                        ? "write one address; IPv6 must be quoted: \"[::1]:3306\""
                        : "write one value");
    v->text = scalar_of(v->node);
    int rv = read_scalar(l, v);
    return rv == 0 ? load_mark_add(l, field, v->line) : rv;
}

static int fail_unknown(struct load *l, const yaml_node_t *key, enum schema_section section)
{
    struct text known = TEXT_INIT;
    for (size_t i = 0; i < schema_row_count; i++)
        if ((schema_rows[i].sections & section) != 0)
            text_printf(&known, "%s%s", known.len == 0 ? "" : ", ", schema_rows[i].key);
    int rv = load_fail(l, line_of(key), text_str(&l->where), "unknown key; known here are: %s", text_str(&known));
    text_free(&known);
    return rv;
}

/* l->where names the pair's key when this returns. */
static int find_row(struct load *l, const yaml_node_pair_t *pair, enum schema_section section, size_t *out)
{
    const yaml_node_t *key = yaml_document_get_node(&l->doc, pair->key);
    if (key->type != YAML_SCALAR_NODE)
        return load_fail(l, line_of(key), text_str(&l->where), "a key is no plain word; write KEY: VALUE");
    text_printf(&l->where, "%s%s", l->where.len == 0 ? "" : ".", scalar_of(key));
    if (l->where.status != 0) return SLUICE_ERR_NOMEM;
    const struct schema_row *row = schema_find(section, scalar_of(key));
    if (row == NULL) return fail_unknown(l, key, section);
    *out = (size_t)(row - schema_rows);
    return 0;
}

/* The pairs of one map, in the table's order, as what a key's value means may depend on an earlier row's. */
struct pairs {
    const yaml_node_pair_t *of_row[128]; /* NULL: not in the file */
};

static int sort_pairs(struct load *l, const yaml_node_t *node, enum schema_section section, struct pairs *out)
{
    size_t where_len = l->where.len;
    assert(schema_row_count <= ARRAY_LEN(out->of_row));
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        size_t i = 0;
        const yaml_node_t *key = yaml_document_get_node(&l->doc, p->key);
        if (l->is_admin_only && section == SCHEMA_TOP && !is_word(key, "admin")) continue;
        int rv = find_row(l, p, section, &i);
        if (rv == 0 && out->of_row[i] != NULL)
            rv = load_fail(l, line_of(key), text_str(&l->where), "given twice, first on line %d; remove one of the two",
                           line_of(yaml_document_get_node(&l->doc, out->of_row[i]->key)));
        if (rv != 0) return rv;
        out->of_row[i] = p;
        where_cut(l, where_len);
    }
    return 0;
}

/* A row that the file does not give. A source's limits are the top level's by then. */
static int read_absent(struct load *l, const yaml_node_t *node, struct value *v)
{
    if (v->row->required)
        return load_fail(l, line_of(node), text_str(&l->where), "is missing; add it: %s", v->row->help);
    if (v->row->initial == NULL || (schema_is_limit(v->row) && v->section == SCHEMA_SOURCE)) return 0;
    v->text = v->row->initial;
    return read_scalar(l, v);
}

static int read_row(struct load *l, const yaml_node_t *node, const yaml_node_pair_t *pair, struct value *v)
{
    size_t where_len = l->where.len;
    text_printf(&l->where, "%s%s", where_len == 0 ? "" : ".", v->row->key);
    if (l->where.status != 0) return SLUICE_ERR_NOMEM;
    int rv = 0;
    if (pair == NULL) {
        rv = read_absent(l, node, v);
    } else {
        v->node = yaml_document_get_node(&l->doc, pair->value);
        v->line = line_of(yaml_document_get_node(&l->doc, pair->key));
        rv = read_value(l, v);
    }
    if (rv == 0) where_cut(l, where_len);
    return rv;
}

/* With many sources the probes are spread over a longer time, unless the file says otherwise. */
static void default_probe_interval(const struct load *l, struct config *config, const yaml_node_t *sources)
{
    if (sources->type != YAML_SEQUENCE_NODE || load_mark_find(l, &config->limits.probe_interval_ms) != NULL) return;
    size_t count = (size_t)(sources->data.sequence.items.top - sources->data.sequence.items.start);
    config->limits.probe_interval_ms = config_limits_default(count).probe_interval_ms;
}

static int read_map(struct load *l, const yaml_node_t *node, enum schema_section section, void *base)
{
    struct pairs pairs = { 0 };
    if (node->type != YAML_MAPPING_NODE)
        return load_fail(l, line_of(node), text_str(&l->where), "is no map; write KEY: VALUE on lines below it");
    int rv = sort_pairs(l, node, section, &pairs);
    for (size_t i = 0; i < schema_row_count && rv == 0; i++) {
        const struct schema_row *row = &schema_rows[i];
        if ((row->sections & section) == 0) continue;
        if (l->is_admin_only && section == SCHEMA_TOP && row->section != SCHEMA_ADMIN) continue;
        struct value v = { .row = row, .section = section, .base = base };
        if (section == SCHEMA_TOP && row->section == SCHEMA_SOURCE && pairs.of_row[i] != NULL)
            default_probe_interval(l, base, yaml_document_get_node(&l->doc, pairs.of_row[i]->value));
        rv = read_row(l, node, pairs.of_row[i], &v);
    }
    return rv;
}

int load_config(struct load *l, struct config *config)
{
    return read_map(l, yaml_document_get_root_node(&l->doc), SCHEMA_TOP, config);
}
