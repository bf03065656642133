/* SPDX-License-Identifier: Apache-2.0 */
/* The server's replies to commands: where each of them ends, and the server status it carries. */
#include <assert.h>
#include "core/error.h"
#include "core/tracker_internal.h"

enum { ERRNO_PROGRESS = 0xffff }; /* MariaDB: an ERR packet that is a progress report */

static const struct frame *server(const struct tracker *t)
{
    return &t->frames[TRACKER_SERVER];
}

static bool has_eof(const struct tracker *t)
{
    return (t->capabilities & PACKET_CLIENT_DEPRECATE_EOF) == 0;
}

bool packet_is_ok(const struct frame *f)
{
    return f->lead_len >= 7 && f->lead[0] == 0x00;
}

/* EOF, or the OK that takes its place. A row may begin with 0xfe too: a first column of 16 MB and more, in a packet of the
 * largest length. */
bool packet_is_eof(const struct frame *f)
{
    return f->lead_len > 0 && f->lead[0] == 0xfe && f->first_len < PACKET_PAYLOAD_LEN_MAX;
}

/* Status flags of an OK (0x00 or 0xfe in front) or an EOF; false when they are not there. */
static bool status_read(const struct frame *f, uint16_t *out_status)
{
    uint64_t number = 0;
    size_t at = 1, used = 0;
    if (f->lead_len == 0) return false;
    if (f->lead[0] == 0xfe && f->seen <= 5) {
        if (f->lead_len < 5) return false;
        *out_status = packet_u16(f->lead + 3); /* behind the warnings */
        return true;
    }
    for (int i = 0; i < 2; i++) { /* affected rows, last insert id */
        if (packet_read_lenenc(f->lead + at, f->lead_len - at, &number, &used) != 0) return false;
        at += used;
    }
    if (f->lead_len - at < 2) return false;
    *out_status = packet_u16(f->lead + at);
    return true;
}

void status_keep(struct tracker *t, const struct frame *f)
{
    uint16_t status = 0;
    if (!status_read(f, &status)) return;
    t->server_status = status;
    t->is_unsure = false;
}

static void lose(struct tracker *t)
{
    tracker_become_opaque(t, TRACKER_OPAQUE_LOST);
}

static void go(struct tracker *t, enum reply_step step, uint64_t left)
{
    t->reply.step = step;
    t->reply.left = left;
}

void reply_end(struct tracker *t)
{
    queue_pop(&t->queue);
    t->reply = (struct reply){ 0 };
    tracker_settle(t);
}

void reply_error(struct tracker *t)
{
    if ((t->server_status & PACKET_STATUS_AUTOCOMMIT) == 0) t->is_unsure = true;
    reply_end(t);
}

/* An OK or EOF that ends a result; there may be more of them for the same command. */
static void result_end(struct tracker *t)
{
    status_keep(t, server(t));
    if ((t->server_status & PACKET_STATUS_MORE_RESULTS) != 0)
        go(t, STEP_FIRST, 0);
    else
        reply_end(t);
}

/* LOAD DATA LOCAL: what the client sends next is a file. What it has already sent behind the command would be taken for it. */
static void infile_begin(struct tracker *t)
{
    if (t->queue.len > 1 || !frame_is_whole(&t->frames[TRACKER_CLIENT])) {
        lose(t);
        return;
    }
    t->is_infile = true;
    go(t, STEP_FIRST, 0);
}

/*
 * The number of columns, and behind it, for clients that can do without definitions, whether they follow. (MySQL's manual puts
 * that byte in front; MySQL 9.7 and MariaDB send it behind.)
 */
static void result_columns(struct tracker *t)
{
    const struct frame *f = server(t);
    bool has_flag = (t->capabilities & PACKET_CLIENT_OPTIONAL_RESULTSET_METADATA) != 0 ||
                    (t->mariadb_capabilities & PACKET_MARIADB_CACHE_METADATA) != 0;
    uint64_t count = 0;
    size_t used = 0;
    if (packet_read_lenenc(f->lead, f->lead_len, &count, &used) != 0 || count == 0) {
        lose(t);
    } else if (!has_flag || f->lead_len <= used || f->lead[used] != 0) {
        go(t, STEP_COLUMNS, count);
    } else {
        go(t, has_eof(t) ? STEP_COLUMNS_END : STEP_ROWS, 0);
    }
}

static void result_first(struct tracker *t)
{
    const struct frame *f = server(t);
    if (f->lead_len == 0) {
        lose(t);
    } else if (packet_is_ok(f) || (f->lead[0] == 0xfe && f->seen < 9)) {
        result_end(t);
    } else if (f->lead[0] == 0xfb) {
        infile_begin(t);
    } else {
        result_columns(t);
    }
}

/* Definitions of a prepared statement's parameters or columns begin. Without definitions the EOFs behind them still come. */
static void prepare_go(struct tracker *t, enum reply_step step, uint16_t count)
{
    if (t->reply.is_described)
        go(t, step, count);
    else if (has_eof(t))
        go(t, step == STEP_PARAMS ? STEP_PARAMS_END : STEP_COLUMNS_END, 0);
    else
        reply_end(t);
}

static void params_end(struct tracker *t)
{
    if (t->reply.columns > 0)
        prepare_go(t, STEP_COLUMNS, t->reply.columns);
    else
        reply_end(t);
}

static void prepare_first(struct tracker *t)
{
    const struct frame *f = server(t);
    if (f->lead_len < 12 || f->lead[0] != 0x00) {
        lose(t);
        return;
    }
    /* Status 1, statement id 4, columns 2, parameters 2, filler 1, warnings 2, and whether definitions follow 1. */
    bool has_flag = (t->capabilities & PACKET_CLIENT_OPTIONAL_RESULTSET_METADATA) != 0 && f->lead_len >= 13;
    uint16_t params = packet_u16(f->lead + 7);
    t->reply.is_described = !has_flag || f->lead[12] != 0;
    t->reply.columns = packet_u16(f->lead + 5);
    if (params > 0)
        prepare_go(t, STEP_PARAMS, params);
    else
        params_end(t);
}

static void columns_end(struct tracker *t, enum reply_kind kind)
{
    if (kind == REPLY_PREPARE)
        reply_end(t);
    else
        go(t, STEP_ROWS, 0);
}

/* The EOF behind the columns. With a cursor it is the end: rows come when they are fetched. */
static void columns_eof(struct tracker *t, enum reply_kind kind)
{
    if (!packet_is_eof(server(t))) {
        lose(t);
        return;
    }
    status_keep(t, server(t));
    if (kind == REPLY_RESULT && (t->server_status & PACKET_STATUS_CURSOR_EXISTS) != 0)
        result_end(t);
    else
        columns_end(t, kind);
}

static void definition(struct tracker *t, enum reply_kind kind)
{
    assert(t->reply.left > 0);
    if (--t->reply.left > 0) return;
    bool is_param = t->reply.step == STEP_PARAMS;
    if (has_eof(t))
        go(t, is_param ? STEP_PARAMS_END : STEP_COLUMNS_END, 0);
    else if (is_param)
        params_end(t);
    else
        columns_end(t, kind);
}

static void first_packet(struct tracker *t, enum reply_kind kind)
{
    const struct frame *f = server(t);
    switch (kind) {
    case REPLY_SIMPLE:
        if (!packet_is_ok(f) && !packet_is_eof(f)) {
            lose(t);
            return;
        }
        status_keep(t, f);
        reply_end(t);
        return;
    case REPLY_RESULT: result_first(t); return;
    case REPLY_PREPARE: prepare_first(t); return;
    case REPLY_FETCH:
    case REPLY_FIELDS:
        if (!packet_is_eof(f)) return; /* a row, a definition */
        status_keep(t, f);
        reply_end(t);
        return;
    case REPLY_STRING: reply_end(t); return;
    case REPLY_AUTH: change_user_packet(t); return;
    case REPLY_NONE:
    case REPLY_STREAM:
    case REPLY_UNKNOWN: break;
    }
    assert(false); /* such are not queued, or not answered here */
}

void reply_packet(struct tracker *t)
{
    const struct frame *f = server(t);
    if (t->queue.len == 0) { /* the client has not ended its file, and the server has answered already */
        lose(t);
        return;
    }
    enum reply_kind kind = command_reply_kind(queue_front(&t->queue));
    t->reply.is_begun = true;
    if (f->lead_len > 0 && f->lead[0] == 0xff && kind != REPLY_STRING) {
        if (packet_error_errno(f->lead, f->lead_len) != ERRNO_PROGRESS) reply_error(t);
        return;
    }
    switch (t->reply.step) {
    case STEP_FIRST: first_packet(t, kind); return;
    case STEP_PARAMS:
    case STEP_COLUMNS: definition(t, kind); return;
    case STEP_PARAMS_END:
        if (packet_is_eof(f))
            params_end(t);
        else
            lose(t);
        return;
    case STEP_COLUMNS_END: columns_eof(t, kind); return;
    case STEP_ROWS:
        if (packet_is_eof(f)) result_end(t);
        return;
    }
}

void unasked_packet(struct tracker *t)
{
    const struct frame *f = server(t);
    /* A server says why it closes: wait_timeout, KILL, shutdown. */
    if (f->lead_len == 0 || f->lead[0] != 0xff) lose(t);
}
