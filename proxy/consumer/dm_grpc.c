/* SPDX-License-Identifier: Apache-2.0 */
#include "consumer/dm_grpc.h"
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5, FRAME_HEAD = 5 };

/* ---- writing ---- */

static void put_varint(struct text *t, uint64_t n)
{
    do {
        char byte = (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
        text_append(t, &byte, 1);
        n >>= 7;
    } while (n != 0);
}

static void put_int(struct text *t, unsigned field, uint64_t value)
{
    put_varint(t, (uint64_t)field << 3 | WIRE_VARINT);
    put_varint(t, value);
}

static void put_string(struct text *t, unsigned field, const char *value)
{
    put_varint(t, (uint64_t)field << 3 | WIRE_BYTES);
    put_varint(t, strlen(value));
    text_puts(t, value);
}

static void put_frame(struct text *out, struct text *message)
{
    size_t n = message->len;
    const char head[FRAME_HEAD] = { 0, (char)(n >> 24 & 0xff), (char)(n >> 16 & 0xff), (char)(n >> 8 & 0xff),
                                    (char)(n & 0xff) };
    text_append(out, head, sizeof head);
    text_append(out, text_str(message), n);
    if (message->status != 0) out->status = message->status;
    text_free(message);
}

void dm_grpc_worker_relay(struct text *out, int op, const char *source)
{
    struct text m = TEXT_INIT;
    put_int(&m, 1, (uint64_t)op);
    put_string(&m, 2, source);
    put_frame(out, &m);
}

void dm_grpc_relay(struct text *out, int op, const char *source, const char *worker)
{
    struct text m = TEXT_INIT;
    put_int(&m, 1, (uint64_t)op);
    put_string(&m, 2, source);
    if (*worker != '\0') put_string(&m, 3, worker);
    put_frame(out, &m);
}

void dm_grpc_start_validation(struct text *out, const char *source, const char *task, const char *mode)
{
    struct text m = TEXT_INIT;
    if (*mode != '\0') put_string(&m, 1, mode);
    put_string(&m, 3, source);
    put_string(&m, 4, task);
    put_frame(out, &m);
}

void dm_grpc_stop_validation(struct text *out, const char *source, const char *task)
{
    struct text m = TEXT_INIT;
    put_string(&m, 1, source);
    put_string(&m, 2, task);
    put_frame(out, &m);
}

void dm_grpc_ddl_locks(struct text *out, const char *source)
{
    struct text m = TEXT_INIT;
    put_string(&m, 2, source);
    put_frame(out, &m);
}

/* ---- reading ---- */

struct reader {
    const uint8_t *at, *end;
};

struct field {
    uint64_t number;
    unsigned wire;
    uint64_t value;       /* VARINT */
    struct reader inside; /* BYTES */
};

static bool get_varint(struct reader *r, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct reader *r, uint64_t count)
{
    if (count > (uint64_t)(r->end - r->at)) return false;
    r->at += count;
    return true;
}

/* The next field; false at the end, with |*ok| false where it is no message. */
static bool get_field(struct reader *r, struct field *out, bool *ok)
{
    uint64_t key = 0, len = 0;
    *ok = true;
    if (r->at == r->end) return false;
    *ok = get_varint(r, &key);
    if (!*ok) return false;
    *out = (struct field){ .number = key >> 3, .wire = (unsigned)(key & 7) };
    switch (out->wire) {
    case WIRE_VARINT: *ok = get_varint(r, &out->value); break;
    case WIRE_FIXED64: *ok = skip(r, 8); break;
    case WIRE_FIXED32: *ok = skip(r, 4); break;
    case WIRE_BYTES:
        *ok = get_varint(r, &len);
        out->inside.at = r->at;
        if (*ok) *ok = skip(r, len);
        out->inside.end = r->at;
        break;
    default: *ok = false;
    }
    return *ok;
}

static void take_text(const struct reader *r, char *out, size_t room)
{
    size_t len = (size_t)(r->end - r->at);
    if (len > room - 1) len = room - 1;
    memcpy(out, r->at, len);
    out[len] = '\0';
}

static int no_message(char *error)
{
    snprintf(error, DM_TEXT_LEN + 1, "DM's gRPC answer is no message of the kind that was asked for");
    return SLUICE_ERR_PROTOCOL;
}

/* The message of the one frame of a unary answer. */
static bool open_frame(const uint8_t *bytes, size_t len, struct reader *out)
{
    if (len < FRAME_HEAD || bytes[0] != 0) return false; /* 1: compressed, which nobody asked for */
    size_t n = (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
    if (n != len - FRAME_HEAD) return false;
    *out = (struct reader){ bytes + FRAME_HEAD, bytes + len };
    return true;
}

/* Result and msg; and of each source in |sources_field| the same, whose first failure is the one told. */
static int read_result(struct reader r, unsigned result_field, unsigned sources_field, char *error)
{
    struct field f;
    bool ok = true, result = false;
    char msg[DM_TEXT_LEN + 1] = "";
    int rv = 0;
    while (get_field(&r, &f, &ok)) {
        if (f.number == result_field && f.wire == WIRE_VARINT) result = f.value != 0;
        if (f.number == result_field + 1 && f.wire == WIRE_BYTES) take_text(&f.inside, msg, sizeof msg);
        if (sources_field != 0 && f.number == sources_field && f.wire == WIRE_BYTES && rv == 0)
            rv = read_result(f.inside, 1, 0, error);
    }
    if (!ok) return no_message(error);
    if (!result) snprintf(error, DM_TEXT_LEN + 1, "%s", *msg == '\0' ? "refused without a reason" : msg);
    return result ? rv : SLUICE_ERR_REFUSED;
}

int dm_grpc_operated(const uint8_t *bytes, size_t len, enum dm_grpc_shape shape, char *error)
{
    struct reader r;
    unsigned result = shape == DM_GRPC_RESULT_2 ? 2 : 1;
    if (!open_frame(bytes, len, &r)) return no_message(error);
    return read_result(r, result, result + 2, error);
}

static int read_lock(struct reader r, struct dm_lock *out)
{
    struct field f;
    bool ok;
    char id[200] = "", task[200] = "";
    while (get_field(&r, &f, &ok)) {
        if (f.number == 1 && f.wire == WIRE_BYTES) take_text(&f.inside, id, sizeof id);
        if (f.number == 2 && f.wire == WIRE_BYTES) take_text(&f.inside, task, sizeof task);
    }
    if (!ok) return SLUICE_ERR_PROTOCOL;
    out->id = mem_strdup(id);
    out->task = mem_strdup(task);
    return out->id == NULL || out->task == NULL ? SLUICE_ERR_NOMEM : 0;
}

int dm_grpc_read_locks(const uint8_t *bytes, size_t len, struct dm_facts *facts, char *error)
{
    struct reader r;
    struct field f;
    bool ok;
    if (!open_frame(bytes, len, &r)) return no_message(error);
    struct reader again = r;
    int rv = read_result(r, 1, 0, error);
    while (rv == 0 && get_field(&again, &f, &ok)) {
        if (f.number != 3 || f.wire != WIRE_BYTES) continue;
        struct dm_lock *locks = mem_realloc(facts->locks, (facts->lock_count + 1) * sizeof *locks);
        if (locks == NULL) return SLUICE_ERR_NOMEM;
        facts->locks = locks;
        locks[facts->lock_count] = (struct dm_lock){ 0 };
        rv = read_lock(f.inside, &locks[facts->lock_count++]);
    }
    if (rv == SLUICE_ERR_PROTOCOL) (void)no_message(error);
    facts->locks_are_known = rv == 0;
    return rv;
}
