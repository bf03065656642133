/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a consumer reads once and keeps for as long as its task lives (DM: time zone, names' case, character set, sql_mode). On a
 * server that differs it goes on with the old one's. The level was left open: a difference fails for DM, which is known to keep
 * them, and warns for others; a version family warns, as upgrades go that way; each can be waived by its name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "core/checks.h"
#include "core/text.h"

static const char todo_keeps[] =
    "set the same value on both, or restart the task after the switch and waive this by name: "
    "--waive=NAME; until then it goes on with the old server's";

static void add_pair(struct check_list *list, const struct checks_servers *in, const char *name, bool is_same,
                     const char *old_value, const char *new_value)
{
    enum check_state otherwise = in->consumer_keeps_settings ? CHECK_FAIL : CHECK_WARN;
    check_add(list, "C17", name, is_same ? CHECK_OK : otherwise, todo_keeps, "%s: %s, %s: %s", in->old_name,
              *old_value == '\0' ? "(none)" : old_value, in->new_name, *new_value == '\0' ? "(none)" : new_value);
}

/* ---- time zone: what it means, not what it is called ---- */

static void print_offset(char *out, size_t room, int32_t s)
{
    unsigned minutes = (unsigned)(abs(s) / 60);
    snprintf(out, room, "%c%02u:%02u", s < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

static void describe_zone(const struct facts *f, char *out, size_t room)
{
    const struct facts_offsets *o = &f->offsets;
    bool is_system = strcasecmp(f->time_zone, "SYSTEM") == 0;
    char january[16], july[16], now[16];
    print_offset(january, sizeof january, o->january);
    print_offset(july, sizeof july, o->july);
    print_offset(now, sizeof now, o->now);
    snprintf(out, room, "%s%s%s%s", f->time_zone, is_system ? " (" : "", is_system ? f->system_time_zone : "",
             is_system ? ")" : "");
    size_t len = strlen(out);
    if (!o->are_known) {
        snprintf(out + len, room - len, ", which it cannot resolve");
    } else if (o->january == o->july && o->july == o->now) {
        snprintf(out + len, room - len, " = %s", now);
    } else {
        snprintf(out + len, room - len, " = %s in January, %s in July, %s now", january, july, now);
    }
}

static void add_time_zone(struct check_list *list, const struct checks_servers *in)
{
    const struct facts_offsets *a = &in->old_settings->offsets, *b = &in->new_facts->offsets;
    bool is_same = a->are_known && b->are_known && a->january == b->january && a->july == b->july && a->now == b->now;
    char old_text[200], new_text[200];
    describe_zone(in->old_settings, old_text, sizeof old_text);
    describe_zone(in->new_facts, new_text, sizeof new_text);
    add_pair(list, in, "time_zone", is_same, old_text, new_text);
}

/* ---- sql_mode: a set of words ---- */

static bool has_word(const char *list, const char *word, size_t len)
{
    for (const char *p = list; *p != '\0'; p += strcspn(p, ","), p += *p == ',') {
        if (strcspn(p, ",") == len && strncasecmp(p, word, len) == 0) return true;
    }
    return false;
}

/* Appends the words of |list| that |other| lacks. */
static void add_words(struct text *out, const char *list, const char *other)
{
    for (const char *p = list; *p != '\0';) {
        size_t len = strcspn(p, ",");
        if (!has_word(other, p, len)) text_printf(out, "%s%.*s", out->len == 0 ? "" : ",", (int)len, p);
        p += len + (p[len] == ',');
    }
}

static void add_sql_mode(struct check_list *list, const struct checks_servers *in)
{
    const char *a = in->old_settings->sql_mode, *b = in->new_facts->sql_mode;
    struct text only_a = TEXT_INIT, only_b = TEXT_INIT;
    add_words(&only_a, a, b);
    add_words(&only_b, b, a);
    bool is_same = only_a.len == 0 && only_b.len == 0;
    if (only_a.status != 0 || only_b.status != 0) list->status = only_a.status != 0 ? only_a.status : only_b.status;
    if (is_same) {
        add_pair(list, in, "sql_mode", true, a, b);
    } else {
        check_add(list, "C17", "sql_mode", in->consumer_keeps_settings ? CHECK_FAIL : CHECK_WARN, todo_keeps,
                  "only %s has: %s; only %s has: %s", in->old_name, only_a.len == 0 ? "nothing" : text_str(&only_a),
                  in->new_name, only_b.len == 0 ? "nothing" : text_str(&only_b));
    }
    text_free(&only_a);
    text_free(&only_b);
}

/* ---- character set: 8.0 calls utf8mb3 what 5.7 calls utf8 ---- */

static bool is_same_charset(const char *a, const char *b)
{
    static const char old_name[] = "utf8", new_name[] = "utf8mb3";
    const char *end_a = a + strcspn(a, "_"), *end_b = b + strcspn(b, "_");
    size_t len_a = (size_t)(end_a - a), len_b = (size_t)(end_b - b);
    bool is_utf8_a =
        (len_a == 4 && strncasecmp(a, old_name, 4) == 0) || (len_a == 7 && strncasecmp(a, new_name, 7) == 0);
    bool is_utf8_b =
        (len_b == 4 && strncasecmp(b, old_name, 4) == 0) || (len_b == 7 && strncasecmp(b, new_name, 7) == 0);
    if (is_utf8_a && is_utf8_b) return strcasecmp(end_a, end_b) == 0;
    return strcasecmp(a, b) == 0;
}

void checks_add_cached(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *a = in->old_settings, *b = in->new_facts;
    if (a == NULL) { /* declared dead, and never seen by this process */
        check_add(list, "C17", "settings", CHECK_WARN,
                  "compare them yourself: time_zone, sql_mode, lower_case_table_names, "
                  "character_set_server, collation_server",
                  "what %s had is not known", in->old_name);
        return;
    }
    add_time_zone(list, in);
    add_sql_mode(list, in);
    add_pair(list, in, "lower_case_table_names", strcmp(a->lower_case_table_names, b->lower_case_table_names) == 0,
             a->lower_case_table_names, b->lower_case_table_names);
    add_pair(list, in, "character_set_server", is_same_charset(a->character_set_server, b->character_set_server),
             a->character_set_server, b->character_set_server);
    add_pair(list, in, "collation_server", is_same_charset(a->collation_server, b->collation_server),
             a->collation_server, b->collation_server);
    bool is_same_family = a->version_id / 100 == b->version_id / 100;
    check_add(list, "C17", "version-family", is_same_family ? CHECK_OK : CHECK_WARN,
              "see that the consumer's version supports the new one; a dm-worker keeps the statements of the old one "
              "(such as "
              "SHOW MASTER STATUS) until it is restarted",
              "%s: %s, %s: %s", in->old_name, a->version, in->new_name, b->version);
}
