/* SPDX-License-Identifier: Apache-2.0 */
/* The client's commands, and the queue of those whose replies are owed. */
#include <assert.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/tracker_internal.h"

enum reply_kind command_reply_kind(uint8_t command)
{
    switch (command) {
    case PACKET_COM_QUIT:
    case PACKET_COM_STMT_SEND_LONG_DATA:
    case PACKET_COM_STMT_CLOSE: return REPLY_NONE;
    case PACKET_COM_SLEEP: /* answered by an error, as all that are the server's own */
    case PACKET_COM_CONNECT:
    case PACKET_COM_TIME:
    case PACKET_COM_DELAYED_INSERT:
    case PACKET_COM_CONNECT_OUT:
    case PACKET_COM_DAEMON:
    case PACKET_COM_INIT_DB:
    case PACKET_COM_CREATE_DB:
    case PACKET_COM_DROP_DB:
    case PACKET_COM_REFRESH:
    case PACKET_COM_SHUTDOWN:
    case PACKET_COM_PROCESS_KILL:
    case PACKET_COM_DEBUG:
    case PACKET_COM_PING:
    case PACKET_COM_REGISTER_SLAVE:
    case PACKET_COM_STMT_RESET:
    case PACKET_COM_SET_OPTION:
    case PACKET_COM_RESET_CONNECTION: return REPLY_SIMPLE;
    case PACKET_COM_QUERY:
    case PACKET_COM_PROCESS_INFO:
    case PACKET_COM_STMT_EXECUTE:
    case PACKET_COM_STMT_BULK_EXECUTE: return REPLY_RESULT;
    case PACKET_COM_STMT_PREPARE: return REPLY_PREPARE;
    case PACKET_COM_STMT_FETCH: return REPLY_FETCH;
    case PACKET_COM_FIELD_LIST: return REPLY_FIELDS;
    case PACKET_COM_STATISTICS: return REPLY_STRING;
    case PACKET_COM_CHANGE_USER: return REPLY_AUTH;
    case PACKET_COM_BINLOG_DUMP:
    case PACKET_COM_BINLOG_DUMP_GTID: return REPLY_STREAM;
    default: return REPLY_UNKNOWN; /* COM_TABLE_DUMP, COM_CLONE, group replication, what is yet to be invented */
    }
}

static int queue_grow(struct queue *q)
{
    uint8_t *at = mem_alloc(q->room * 2U);
    if (at == NULL) return SLUICE_ERR_NOMEM;
    for (uint32_t i = 0; i < q->len; i++)
        at[i] = q->at[(q->head + i) % q->room];
    if (q->at != q->fixed) mem_free(q->at);
    q->at = at;
    q->head = 0;
    q->room *= 2;
    return 0;
}

static int queue_push(struct queue *q, uint8_t command)
{
    assert(q->room > 0 && q->len <= q->room);
    int rv = q->len == q->room ? queue_grow(q) : 0;
    if (rv != 0) return rv;
    q->at[(q->head + q->len) % q->room] = command;
    q->len++;
    return 0;
}

uint8_t queue_front(const struct queue *q)
{
    assert(q->len > 0);
    return q->at[q->head];
}

void queue_pop(struct queue *q)
{
    assert(q->len > 0);
    q->head = (q->head + 1) % q->room;
    q->len--;
}

void queue_free(struct queue *q)
{
    if (q->at != q->fixed) mem_free(q->at);
    q->at = q->fixed;
}

static int command_push(struct tracker *t, uint8_t command)
{
    if (t->queue.len >= QUEUE_LEN_MAX) {
        tracker_become_opaque(t, TRACKER_OPAQUE_LOST);
        return 0;
    }
    int rv = queue_push(&t->queue, command);
    if (rv == 0) tracker_settle(t);
    return rv;
}

int command_begin(struct tracker *t, uint8_t command)
{
    switch (command_reply_kind(command)) {
    case REPLY_NONE: return 0;
    case REPLY_UNKNOWN:
        t->unknown_commands++;
        tracker_become_opaque(t, TRACKER_OPAQUE_COMMAND);
        return 0;
    case REPLY_STREAM:
        t->is_stream = true;
        if (!dump_begin(t)) return 0;
        return command_push(t, command);
    case REPLY_SIMPLE:
    case REPLY_RESULT:
    case REPLY_PREPARE:
    case REPLY_FETCH:
    case REPLY_FIELDS:
    case REPLY_STRING:
    case REPLY_AUTH: return command_push(t, command);
    }
    return 0;
}

/* Of a text only as much is kept, and only as long, as it can be what a reader says of itself: no statement with a password begins so. */
void command_look(struct tracker *t, struct frame *f)
{
    if (f->lead_want != LEAD_LEN_QUERY || f->lead[0] != PACKET_COM_QUERY) return;
    size_t at = (t->capabilities & PACKET_CLIENT_QUERY_ATTRIBUTES) != 0 ? 3 : 1;
    enum tracker_reader_result result = TRACKER_READER_MORE;
    /* No attributes, one set of none of them: a client that sends some is no reader. */
    if (at == 3 && f->lead_len > 1 && (f->lead[1] != 0 || (f->lead_len > 2 && f->lead[2] != 1)))
        result = TRACKER_READER_NONE;
    else if (f->lead_len > at)
        result = tracker_reader_scan(f->lead + at, f->lead_len - at, t->reader_uuid);
    bool is_over = f->lead_len >= LEAD_LEN_QUERY;
    if (result == TRACKER_READER_MORE && !is_over) return;
    memset(f->lead + 1, 0, f->lead_len - 1U);
    f->lead_len = f->lead_want = 1;
}

void command_end(struct tracker *t)
{
    const struct frame *f = &t->frames[TRACKER_CLIENT];
    uint8_t command = f->lead_len > 0 ? f->lead[0] : PACKET_COM_SLEEP;
    if (command == PACKET_COM_CHANGE_USER) user_keep_next(t, 1);
    if (command == PACKET_COM_CHANGE_USER || command == PACKET_COM_RESET_CONNECTION) t->reader_uuid[0] = '\0';
    dump_end(t);
    if (command == PACKET_COM_QUIT) {
        t->has_quit = true;
        tracker_settle(t);
    }
}
