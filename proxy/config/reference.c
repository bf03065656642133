/* SPDX-License-Identifier: Apache-2.0 */
/* reference.c - the table of schema.c as people read it: Markdown, and the notes of the full example. */
#include <assert.h>
#include "config/schema.h"
#include "core/error.h"
#include "core/text.h"

static const char *unit_of(const struct schema_row *row)
{
    switch (row->type) {
    case SCHEMA_DURATION: return "duration";
    case SCHEMA_COUNT: return "number";
    case SCHEMA_NAME: return "name";
    case SCHEMA_STRING: return "string";
    case SCHEMA_PATH:
    case SCHEMA_SECRET: return "file";
    case SCHEMA_ADDRESS: return "host:port";
    case SCHEMA_LISTEN: return "ip:port";
    case SCHEMA_ADDRESSES: return "host:port, or a list";
    case SCHEMA_NETWORKS: return "network, or a list";
    case SCHEMA_IP: return "ip";
    case SCHEMA_BOOL: return "boolean";
    case SCHEMA_CHOICE: return "word";
    case SCHEMA_MAP:
    case SCHEMA_LIST: break;
    }
    assert(0 && "a map has no unit");
    return "";
}

static void print_choices(const struct schema_choice *choices, struct text *out)
{
    bool is_first = true;
    for (const struct schema_choice *c = choices; c->word != NULL; c++) {
        if (c->value == SCHEMA_CHOICE_NOT_YET) continue;
        text_printf(out, "%s%s", is_first ? "" : ", ", c->word);
        is_first = false;
    }
}

static void print_range(const struct schema_row *row, struct text *out)
{
    switch (row->type) {
    case SCHEMA_DURATION:
        config_print_duration(row->min, out);
        text_puts(out, "..");
        config_print_duration(row->max, out);
        return;
    case SCHEMA_COUNT: text_printf(out, "%u..%u", row->min, row->max); return;
    case SCHEMA_STRING: text_printf(out, "%u..%u bytes", row->min, row->max); return;
    case SCHEMA_NAME: text_printf(out, "1..%d of A-Z a-z 0-9 . _ -", CONFIG_NAME_LEN_MAX); return;
    case SCHEMA_ADDRESS:
    case SCHEMA_ADDRESSES:
    case SCHEMA_LISTEN: text_puts(out, "port 1..65535"); return;
    case SCHEMA_NETWORKS: text_printf(out, "CIDR, IPv4 or IPv6, at most %d", CONFIG_NETWORKS_MAX); return;
    case SCHEMA_IP: text_puts(out, "IPv4 or IPv6"); return;
    case SCHEMA_BOOL: text_puts(out, "true, false"); return;
    case SCHEMA_CHOICE: print_choices(row->choices, out); return;
    case SCHEMA_SECRET: text_puts(out, "mode 0600 or stricter"); return;
    case SCHEMA_PATH: text_puts(out, "readable"); return;
    case SCHEMA_MAP:
    case SCHEMA_LIST: return;
    }
}

static void print_within(const struct schema_row *row, struct text *out)
{
    if (row->within == NULL) return;
    text_printf(out, "%s %s", row->reserve_ms > 0 ? "below" : "at most", row->within);
    if (row->reserve_ms == 0) return;
    text_puts(out, " less ");
    config_print_duration(row->reserve_ms, out);
}

static const char *initial_of(const struct schema_row *row)
{
    if (row->required) return "required";
    if (row->initial_note != NULL) return row->initial_note;
    return row->initial != NULL ? row->initial : "none";
}

static int show_leaf(const struct schema_row *row, enum schema_section section, const struct text *key, bool in_source,
                     schema_leaf_fn fn, void *arg)
{
    struct text range = TEXT_INIT, within = TEXT_INIT;
    print_range(row, &range);
    print_within(row, &within);
    int rv = range.status != 0 ? range.status : within.status;
    if (rv == 0) {
        const struct schema_leaf leaf = {
            .row = row,
            .key = text_str(key),
            .level = schema_is_limit(row) && section == SCHEMA_TOP ? "global, source"
                     : in_source                                   ? "source"
                                                                   : "global",
            .unit = unit_of(row),
            .initial = initial_of(row),
            .range = text_str(&range),
            .within = text_str(&within),
        };
        fn(arg, &leaf);
    }
    text_free(&range);
    text_free(&within);
    return rv;
}

static int walk(enum schema_section section, struct text *prefix, bool in_source, schema_leaf_fn fn, void *arg)
{
    for (size_t i = 0; i < schema_row_count; i++) {
        const struct schema_row *row = &schema_rows[i];
        if ((row->sections & section) == 0) continue;
        if (section == SCHEMA_SOURCE && schema_is_limit(row)) continue; /* shown once, at the top */
        struct text key = TEXT_INIT;
        text_puts(&key, text_str(prefix));
        int rv = 0;
        if (row->section == SCHEMA_SOURCE) { /* the level says it; the keys stay short */
            rv = walk(row->section, &key, true, fn, arg);
        } else if (row->type == SCHEMA_MAP || row->type == SCHEMA_LIST) {
            text_printf(&key, "%s%s", row->key, row->type == SCHEMA_LIST ? "[]." : ".");
            rv = walk(row->section, &key, in_source, fn, arg);
        } else {
            text_puts(&key, row->key);
            rv = show_leaf(row, section, &key, in_source, fn, arg);
        }
        if (rv == 0) rv = key.status;
        text_free(&key);
        if (rv != 0) return rv;
    }
    return 0;
}

int schema_walk(schema_leaf_fn fn, void *arg)
{
    struct text prefix = TEXT_INIT;
    return walk(SCHEMA_TOP, &prefix, false, fn, arg);
}

void schema_print_note(const struct schema_leaf *leaf, struct text *out)
{
    text_printf(out, "%s; %s; default: %s; range: %s", leaf->level, leaf->unit, leaf->initial, leaf->range);
    if (leaf->within[0] != '\0') text_printf(out, "; contained: %s", leaf->within);
}

static void print_line(void *arg, const struct schema_leaf *leaf)
{
    text_printf(arg, "| `%s` | %s | %s | %s | %s | %s | %s |\n", leaf->key, leaf->level, leaf->unit, leaf->initial,
                leaf->range, leaf->within, leaf->row->help);
}

void config_print_reference(struct text *out)
{
    text_puts(out, "| key | level | unit | default | range | contained | what it is |\n"
                   "|---|---|---|---|---|---|---|\n");
    int rv = schema_walk(print_line, out);
    if (rv != 0) out->status = rv;
}
