/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asked for by COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID, kept until the server has answered by an event. */
#include <assert.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/tracker_internal.h"

bool dump_begin(struct tracker *t)
{
    if (t->dump.is_asked) {
        tracker_become_opaque(t, TRACKER_OPAQUE_LOST);
        return false;
    }
    t->dump.is_asked = true;
    t->dump.is_kept = t->options.hooks.on_request != NULL || t->options.ask_dump;
    t->dump.is_asking = t->options.ask_dump;
    return true;
}

int dump_payload(struct tracker *t, const uint8_t *bytes, size_t len)
{
    struct dump *d = &t->dump;
    if (d->is_lost || len > DUMP_REQUEST_LEN_MAX - d->len) {
        d->is_lost = true;
        return 0;
    }
    if (len > d->room - d->len) {
        size_t room = d->room == 0 ? 256 : d->room;
        while (room - d->len < len)
            room *= 2;
        uint8_t *grown = mem_realloc(d->bytes, room);
        if (grown == NULL) return SLUICE_ERR_NOMEM;
        d->bytes = grown;
        d->room = room;
    }
    memcpy(d->bytes + d->len, bytes, len);
    d->len += len;
    return 0;
}

void dump_end(struct tracker *t)
{
    t->dump.is_kept = false;
    t->dump.is_asking = false; /* a request that is nothing but its command */
}

static void file_keep(struct tracker_dump_request *r, const uint8_t *name, size_t len)
{
    size_t kept = len < sizeof r->file - 1 ? len : sizeof r->file - 1;
    memcpy(r->file, name, kept);
    r->file[kept] = '\0';
}

/* Command 1, position 4, flags 2, server id 4, file name up to the end. */
static bool parse_by_position(const struct dump *d, struct tracker_dump_request *r)
{
    if (d->len < 11) return false;
    r->position = packet_u32(d->bytes + 1);
    r->flags = packet_u16(d->bytes + 5);
    r->server_id = packet_u32(d->bytes + 7);
    file_keep(r, d->bytes + 11, d->len - 11);
    return true;
}

/* Command 1, flags 2, server id 4, name length 4, name, position 8, set length 4, set. */
static bool parse_by_gtid(const struct dump *d, struct tracker_dump_request *r)
{
    if (d->len < 11) return false;
    r->is_gtid = true;
    r->flags = packet_u16(d->bytes + 1);
    r->server_id = packet_u32(d->bytes + 3);
    size_t name_len = packet_u32(d->bytes + 7);
    size_t rest = d->len - 11;
    if (rest < 12 || name_len > rest - 12) return false;
    file_keep(r, d->bytes + 11, name_len);
    const uint8_t *p = d->bytes + 11 + name_len;
    r->position = packet_u64(p);
    r->set_len = packet_u32(p + 8);
    if (r->set_len > rest - 12 - name_len) return false;
    r->set = p + 12;
    return true;
}

bool dump_parse(const struct dump *d, struct tracker_dump_request *out_request)
{
    struct tracker_dump_request request = { 0 };
    if (d->is_lost || d->len == 0) return false;
    bool is_parsed =
        d->bytes[0] == PACKET_COM_BINLOG_DUMP ? parse_by_position(d, &request) : parse_by_gtid(d, &request);
    if (is_parsed) *out_request = request;
    return is_parsed;
}

bool dump_answered(struct tracker *t)
{
    struct dump *d = &t->dump;
    struct tracker_dump_request request;
    if (t->options.hooks.on_request == NULL) return true;
    bool is_parsed = !d->is_kept && dump_parse(d, &request);
    if (is_parsed) t->options.hooks.on_request(t->options.hooks.arg, &request);
    dump_free(d);
    d->is_asked = true; /* until the stream ends */
    return is_parsed;
}

void dump_free(struct dump *d)
{
    mem_free(d->bytes);
    *d = (struct dump){ 0 };
}
