/* SPDX-License-Identifier: Apache-2.0 */
#include "source/twins.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/text.h"
#include "source/state.h"

/* Readers with one UUID are rarely seen together: the server ends the older dump, whose reader comes again and ends the other. */
enum { UUID_SHOWN_MS = 120000 };

/* What is looked for, and what was found: readers that say one server_id, or one UUID. */
struct search {
    uint32_t reader_id;      /* 0: by |uuid| */
    const char *reader_uuid; /* "": by |reader_id| */
    uint32_t count;
    uint64_t first;   /* session */
    struct text text; /* "3 (10.0.0.1:4), 7 (10.0.0.2:5)" */
};

static bool count_twin(void *arg, const struct sessions_leg *leg)
{
    struct search *f = arg;
    bool is_twin =
        *f->reader_uuid != '\0' ? strcmp(leg->reader_uuid, f->reader_uuid) == 0 : leg->reader_id == f->reader_id;
    if (!is_twin) return true;
    f->count++;
    if (f->first == 0 || leg->session_id < f->first) f->first = leg->session_id;
    text_printf(&f->text, "%s%" PRIu64 " (%s)", f->text.len == 0 ? "" : ", ", leg->session_id, leg->peer);
    return true;
}

static struct search find(const struct source *s, uint32_t reader_id, const char *reader_uuid)
{
    struct search found = { .reader_id = reader_id, .reader_uuid = reader_uuid };
    sessions_each_leg(s->sessions, count_twin, &found);
    return found;
}

/* ---- asking for a dump ---- */

static void look_for_id(struct source *s, uint32_t reader_id)
{
    struct twins *told = &s->twins;
    if (reader_id == 0) return; /* who does not stay: mysqlbinlog without --stop-never */
    for (uint32_t i = 0; i < told->id_count; i++) {
        if (told->ids[i] == reader_id) return;
    }
    struct search found = find(s, reader_id, "");
    if (found.count > 1) {
        if (told->id_count < TWINS_TOLD_MAX) told->ids[told->id_count++] = reader_id;
        log_warn("two binlog readers say the same server_id: a server may end one for the other",
                 LOG_STR("source", s->config->source_id), LOG_U64("server_id", reader_id),
                 LOG_STR("sessions", text_str(&found.text)),
                 LOG_STR("hint", "give each reader a server_id of its own"));
    }
    text_free(&found.text);
}

/* NULL: not told yet, and there is no more room for it. */
static struct twins_uuid *told_of(struct twins *told, const char *uuid, bool *out_is_new)
{
    *out_is_new = false;
    for (uint32_t i = 0; i < told->uuid_count; i++) {
        if (strcmp(told->uuids[i].uuid, uuid) == 0) return &told->uuids[i];
    }
    *out_is_new = true;
    return told->uuid_count == TWINS_TOLD_MAX ? NULL : &told->uuids[told->uuid_count++];
}

static void look_for_uuid(struct source *s, const char *uuid)
{
    if (*uuid == '\0') return;
    struct search found = find(s, 0, uuid);
    if (found.count > 1) {
        bool is_new;
        struct twins_uuid *told = told_of(&s->twins, uuid, &is_new);
        if (told != NULL) {
            snprintf(told->uuid, sizeof told->uuid, "%s", uuid);
            snprintf(told->text, sizeof told->text, "%s", text_str(&found.text));
            told->seen_ms = source_now(s);
        }
        if (is_new)
            log_warn("two binlog readers say the same replica UUID: a server ends one for the other",
                     LOG_STR("source", s->config->source_id), LOG_STR("replica_uuid", uuid),
                     LOG_STR("sessions", text_str(&found.text)),
                     LOG_STR("hint", "one is a copy of the other's data directory: stop it, remove its auto.cnf"));
    }
    text_free(&found.text);
}

/* A reader's own words, copied: what a leg points to is valid in the callback only. */
struct reader {
    uint64_t session;
    uint32_t id;
    char uuid[TRACKER_READER_UUID_LEN + 1];
};

static bool take_reader(void *arg, const struct sessions_leg *leg)
{
    struct reader *r = arg;
    if (leg->session_id != r->session) return true;
    r->id = leg->reader_id;
    snprintf(r->uuid, sizeof r->uuid, "%s", leg->reader_uuid);
    return false;
}

void twins_look(struct source *s, uint64_t session)
{
    struct reader reader = { .session = session };
    sessions_each_leg(s->sessions, take_reader, &reader);
    look_for_id(s, reader.id);
    look_for_uuid(s, reader.uuid);
}

/* ---- the status ---- */

struct warnings {
    const struct source *source;
    json_t *list;
};

static bool add_same_id(void *arg, const struct sessions_leg *leg)
{
    struct warnings *w = arg;
    if (leg->reader_id == 0) return true;
    struct search found = find(w->source, leg->reader_id, "");
    if (found.count > 1 && found.first == leg->session_id)
        json_array_append_new(w->list, json_sprintf("%" PRIu32 " binlog readers say server_id %" PRIu32 ": sessions %s",
                                                    found.count, leg->reader_id, text_str(&found.text)));
    text_free(&found.text);
    return true;
}

static void add_same_uuid(const struct source *s, const struct twins_uuid *told, json_t *list)
{
    struct search now = find(s, 0, told->uuid);
    if (now.count > 1 || source_now(s) - told->seen_ms < UUID_SHOWN_MS)
        json_array_append_new(list, json_sprintf("binlog readers say one replica UUID, %s: sessions %s", told->uuid,
                                                 now.count > 1 ? text_str(&now.text) : told->text));
    text_free(&now.text);
}

json_t *twins_warnings(const struct source *s)
{
    struct warnings w = { .source = s, .list = json_array() };
    sessions_each_leg(s->sessions, add_same_id, &w);
    for (uint32_t i = 0; i < s->twins.uuid_count; i++)
        add_same_uuid(s, &s->twins.uuids[i], w.list);
    return w.list;
}
