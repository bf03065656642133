/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/events.h"
#include <assert.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

enum { ROOM_FIRST = 32 };

void admin_events_init(struct admin_events *events, uint32_t events_max, uint32_t switches_max)
{
    assert(events_max > 0 && switches_max > 0);
    *events = (struct admin_events){ .events_max = events_max, .switches_max = switches_max };
}

static void log_del(struct admin_event_log *log)
{
    assert(log->refs == 0);
    for (uint64_t seq = log->first_seq; seq < log->end_seq; seq++)
        mem_free(log->ring[seq % log->room]);
    mem_free(log->ring);
    mem_free(log);
}

static void log_forget(struct admin_event_log *log)
{
    log->is_forgotten = true;
    if (log->refs == 0) log_del(log);
}

void admin_events_free(struct admin_events *events)
{
    while (events->first != NULL) {
        struct admin_event_log *log = events->first;
        events->first = log->next;
        log_del(log);
    }
}

struct admin_event_log *admin_events_find(struct admin_events *events, uint64_t switch_number)
{
    struct admin_event_log *log = events->first;
    while (log != NULL && log->switch_number != switch_number)
        log = log->next;
    return log;
}

struct admin_event_log *admin_events_open(struct admin_events *events, uint64_t switch_number)
{
    struct admin_event_log **place = &events->first;
    while (*place != NULL && (*place)->switch_number != switch_number)
        place = &(*place)->next;
    if (*place != NULL) return *place;
    struct admin_event_log *log = mem_calloc(1, sizeof *log);
    if (log == NULL) return NULL;
    log->switch_number = switch_number;
    *place = log;
    return log;
}

/* Ended ones stand in the order in which they ended: the one that just did goes last. */
static void move_last(struct admin_events *events, struct admin_event_log *log)
{
    struct admin_event_log **place = &events->first;
    while (*place != log)
        place = &(*place)->next;
    *place = log->next;
    while (*place != NULL)
        place = &(*place)->next;
    *place = log;
    log->next = NULL;
}

/* The oldest of the ended ones go, until no more than |switches_max| of them are left. */
static void forget_ended(struct admin_events *events)
{
    uint32_t ended = 0;
    for (const struct admin_event_log *log = events->first; log != NULL; log = log->next)
        ended += log->is_ended;
    struct admin_event_log **place = &events->first;
    while (ended > events->switches_max) {
        struct admin_event_log *log = *place;
        assert(log != NULL); /* it was counted above */
        if (!log->is_ended) {
            place = &log->next;
            continue;
        }
        *place = log->next;
        log_forget(log);
        ended--;
    }
}

static void drop_oldest(struct admin_event_log *log)
{
    assert(log->room > 0 && log->first_seq < log->end_seq);
    mem_free(log->ring[log->first_seq % log->room]);
    log->first_seq++;
}

/* A place for one more: the ring grows up to |max|, then the oldest is dropped. */
static int make_room(struct admin_event_log *log, uint32_t max)
{
    uint64_t count = log->end_seq - log->first_seq;
    if (count < log->room) return 0;
    if (log->room == max) {
        drop_oldest(log);
        return 0;
    }
    uint32_t room = log->room == 0 ? ROOM_FIRST : log->room * 2;
    if (room > max) room = max;
    assert(room > 0 && room > count);
    char **ring = mem_calloc(room, sizeof *ring);
    if (ring == NULL) return SLUICE_ERR_NOMEM;
    for (uint64_t seq = log->first_seq; log->room > 0 && seq < log->end_seq; seq++)
        ring[seq % room] = log->ring[seq % log->room];
    mem_free(log->ring);
    log->ring = ring;
    log->room = room;
    return 0;
}

static int dump_to_text(const char *bytes, size_t len, void *arg)
{
    struct text *t = arg;
    text_append(t, bytes, len);
    return t->status == 0 ? 0 : -1;
}

static int log_append(struct admin_event_log *log, uint32_t max, const json_t *event)
{
    struct text line = TEXT_INIT;
    if (event == NULL || json_dump_callback(event, dump_to_text, &line, JSON_COMPACT) != 0) goto err;
    int rv = make_room(log, max);
    if (rv != 0) goto err;
    char *taken = text_take(&line);
    if (taken == NULL) goto err;
    log->ring[log->end_seq++ % log->room] = taken;
    return 0;
err:
    text_free(&line);
    return SLUICE_ERR_NOMEM;
}

/* The number of a lost event is used up: readers see a gap. What is kept must be gapless, so all before it goes too. */
static void log_lose(struct admin_event_log *log)
{
    while (log->first_seq < log->end_seq)
        drop_oldest(log);
    log->first_seq++;
    log->end_seq++;
}

int admin_events_add(struct admin_events *events, uint64_t switch_number, const json_t *event,
                     struct admin_event_log **out_log)
{
    struct admin_event_log *log = admin_events_open(events, switch_number);
    if (log == NULL) return SLUICE_ERR_NOMEM;
    if (log->is_ended) return SLUICE_ERR_BUSY;
    int rv = log_append(log, events->events_max, event);
    if (rv != 0) log_lose(log);
    *out_log = log;
    const char *type = json_string_value(json_object_get(event, "type"));
    if (type != NULL && strcmp(type, "end") == 0) {
        log->is_ended = true;
        move_last(events, log);
        forget_ended(events);
    }
    return rv;
}

void admin_event_log_ref(struct admin_event_log *log)
{
    log->refs++;
}

void admin_event_log_unref(struct admin_event_log *log)
{
    assert(log->refs > 0);
    log->refs--;
    if (log->is_forgotten && log->refs == 0) log_del(log);
}

const char *admin_event_log_read(const struct admin_event_log *log, uint64_t *seq, uint64_t *out_lost)
{
    *out_lost = 0;
    if (*seq < log->first_seq) {
        *out_lost = log->first_seq - *seq;
        *seq = log->first_seq;
    }
    if (*seq == log->end_seq) return NULL;
    return log->ring[(*seq)++ % log->room];
}
