/* SPDX-License-Identifier: Apache-2.0 */
#include "core/threads.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "core/error.h"
#include "core/mem.h"

enum { PORTS = 65536 };

/* Items by port: head[port] and next[] hold an index + 1, 0 is none. So a long list is judged in linear time. */
struct port_index {
    uint32_t *head;
    uint32_t *next;
};

static void port_index_free(struct port_index *x)
{
    mem_free(x->head);
    mem_free(x->next);
    *x = (struct port_index){ 0 };
}

static int port_index_init(struct port_index *x, size_t count)
{
    x->head = mem_calloc(PORTS, sizeof *x->head);
    x->next = mem_calloc(count, sizeof *x->next);
    if (x->head != NULL && x->next != NULL) return 0;
    port_index_free(x);
    return SLUICE_ERR_NOMEM;
}

static void port_index_add(struct port_index *x, uint16_t port, size_t item)
{
    x->next[item] = x->head[port];
    x->head[port] = (uint32_t)item + 1;
}

/* A leg is two items: 2 i by its own port, 2 i + 1 by the one that the server was told. */
static int index_legs(struct port_index *x, const struct threads_leg *legs, size_t count)
{
    int rv = port_index_init(x, 2 * count);
    if (rv != 0) return rv;
    for (size_t i = 0; i < count; i++) {
        port_index_add(x, threads_host_port(legs[i].host), 2 * i);
        if (legs[i].is_told) port_index_add(x, threads_host_port(legs[i].client), 2 * i + 1);
    }
    return 0;
}

static int index_sockets(struct port_index *x, const struct threads_socket *sockets, size_t count)
{
    int rv = port_index_init(x, count);
    if (rv != 0) return rv;
    for (size_t i = 0; i < count; i++)
        port_index_add(x, sockets[i].local_port, i);
    return 0;
}

/* ---- HOST texts ---- */

/* The host part: what is in front of the last ':', or all of it; an IPv4-mapped address is the address. */
static const char *host_part(const char *host, size_t *out_len)
{
    static const char mapped[] = "::ffff:";
    const char *colon = strrchr(host, ':');
    const char *begin = host;
    if (strncasecmp(host, mapped, sizeof mapped - 1) == 0 && strchr(host, '.') != NULL) begin += sizeof mapped - 1;
    *out_len = colon == NULL || colon < begin ? strlen(begin) : (size_t)(colon - begin);
    return begin;
}

static bool host_part_same(const char *a, const char *b)
{
    size_t a_len, b_len;
    const char *a_part = host_part(a, &a_len);
    const char *b_part = host_part(b, &b_len);
    return a_len == b_len && strncasecmp(a_part, b_part, a_len) == 0;
}

uint16_t threads_host_port(const char *host)
{
    const char *colon = strrchr(host, ':');
    if (colon == NULL || colon[1] == '\0') return 0;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    return *end != '\0' || port >= PORTS || colon[1] < '0' || colon[1] > '9' ? 0 : (uint16_t)port;
}

bool threads_host_same(const char *a, const char *b)
{
    return threads_host_port(a) == threads_host_port(b) && host_part_same(a, b);
}

static bool is_numeric(const char *part, size_t len)
{
    return memchr(part, ':', len) != NULL || strspn(part, "0123456789.") >= len;
}

bool threads_is_translated(const char *shown, const char *local)
{
    size_t len;
    const char *part = host_part(shown, &len);
    if (threads_host_port(shown) != threads_host_port(local)) return true;
    return is_numeric(part, len) && !host_part_same(shown, local);
}

bool threads_is_dump(const struct threads_row *row)
{
    return strcmp(row->command, "Binlog Dump") == 0 || strcmp(row->command, "Binlog Dump GTID") == 0;
}

/* ---- judging ---- */

struct judge {
    const struct threads_input *in;
    struct threads_verdict *out;
    struct port_index live, left_over, sockets;
};

static bool is_from_us(const struct judge *j, const struct threads_row *row)
{
    return host_part_same(row->host, j->in->own_host);
}

/* Thread ids start again when a server does: where the leg has one, id and HOST must both match (design, promise 1). */
static bool leg_matches(const struct judge *j, const struct threads_leg *leg, const struct threads_row *row)
{
    if (leg->id != 0 && leg->id != row->id) return false;
    return host_part_same(leg->host, row->host) || is_from_us(j, row);
}

static bool is_nobody(const struct threads_row *row)
{
    return strcmp(row->user, "unauthenticated user") == 0;
}

/* By what the server was told. A server that resolves names shows one in the place of the address. */
static bool leg_is_told_as(const struct threads_leg *leg, const struct threads_row *row)
{
    size_t len;
    const char *part = host_part(row->host, &len);
    if (leg->id == 0 ? !is_nobody(row) : leg->id != row->id) return false;
    return host_part_same(leg->client, row->host) || !is_numeric(part, len);
}

static bool find_leg(struct judge *j, const struct port_index *x, const struct threads_leg *legs,
                     const struct threads_row *row, size_t *out)
{
    for (uint32_t at = x->head[threads_host_port(row->host)]; at != 0; at = x->next[at - 1]) {
        const struct threads_leg *leg = &legs[(at - 1) / 2];
        bool is_by_told = (at - 1) % 2 == 1;
        if (!(is_by_told ? leg_is_told_as(leg, row) : leg_matches(j, leg, row))) continue;
        *out = (at - 1) / 2;
        return true;
    }
    return false;
}

/*
 * From our address, and no socket here has its port. Where servers are told whose a connection is, that is no proof: a client on this
 * host that reaches the server by another proxy looks the same. What has no account, or our own, is no client's.
 */
static enum threads_class judge_without_socket(const struct judge *j, const struct threads_row *row)
{
    if (!j->in->clients_are_told || is_nobody(row) || strcmp(row->user, j->in->own_user) == 0)
        return THREADS_DEAD_SLUICE;
    return THREADS_UNCLEAR;
}

static enum threads_class judge_by_socket(const struct judge *j, const struct threads_row *row)
{
    uint32_t at = j->sockets.head[threads_host_port(row->host)];
    if (at == 0) return judge_without_socket(j, row);
    for (; at != 0; at = j->sockets.next[at - 1]) {
        if (j->in->sockets[at - 1].owner != THREADS_OWNER_US) continue;
        return strcmp(row->user, j->in->own_user) == 0 ? THREADS_PROBE : THREADS_OTHER_SOURCE;
    }
    return THREADS_FOREIGN;
}

static enum threads_class judge_row(struct judge *j, const struct threads_row *row)
{
    size_t leg;
    if (threads_host_port(row->host) == 0) return THREADS_SERVER;
    if (row->id == j->in->own_id) return THREADS_PROBE;
    if (find_leg(j, &j->live, j->in->live, row, &leg)) {
        j->out->live_seen[leg] = true;
        return THREADS_LEG;
    }
    if (find_leg(j, &j->left_over, j->in->left_over, row, &leg)) return THREADS_LEFT_OVER;
    if (!is_from_us(j, row)) return THREADS_ELSEWHERE;
    return judge_by_socket(j, row);
}

static void judge_rows(struct judge *j)
{
    const struct threads_input *in = j->in;
    struct threads_verdict *v = j->out;
    for (size_t i = 0; i < in->row_count; i++) {
        enum threads_class class = judge_row(j, &in->rows[i]);
        v->classes[i] = class;
        v->class_count[class]++;
        if (threads_is_ours(class) && threads_is_dump(&in->rows[i])) v->dump_count++;
    }
    for (size_t i = 0; i < in->live_count; i++)
        v->live_unseen_count += !v->live_seen[i];
}

int threads_judge(const struct threads_input *in, struct threads_verdict *out)
{
    struct threads_verdict v = { 0 };
    struct judge j = { .in = in, .out = &v };
    assert(in->own_host != NULL && in->own_user != NULL);
    v.classes = mem_calloc(in->row_count, sizeof *v.classes);
    v.live_seen = mem_calloc(in->live_count, sizeof *v.live_seen);
    int rv = v.classes == NULL || v.live_seen == NULL ? SLUICE_ERR_NOMEM : 0;
    if (rv == 0) rv = index_legs(&j.live, in->live, in->live_count);
    if (rv == 0) rv = index_legs(&j.left_over, in->left_over, in->left_over_count);
    if (rv == 0) rv = index_sockets(&j.sockets, in->sockets, in->socket_count);
    if (rv == 0) judge_rows(&j);
    port_index_free(&j.live);
    port_index_free(&j.left_over);
    port_index_free(&j.sockets);
    if (rv != 0) {
        threads_verdict_free(&v);
        return rv;
    }
    *out = v;
    return 0;
}

static bool is_among(uint64_t id, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id) return true;
    }
    return false;
}

void threads_spare_newcomers(const struct threads_input *in, const uint64_t *earlier, size_t earlier_count,
                             struct threads_verdict *verdict)
{
    for (size_t i = 0; i < in->row_count; i++) {
        enum threads_class class = verdict->classes[i];
        bool is_suspect = class == THREADS_DEAD_SLUICE || class == THREADS_UNCLEAR;
        if (!is_suspect || is_among(in->rows[i].id, earlier, earlier_count)) continue;
        verdict->classes[i] = THREADS_OTHER_SOURCE;
        verdict->class_count[class]--;
        verdict->class_count[THREADS_OTHER_SOURCE]++;
        if (threads_is_ours(class) && threads_is_dump(&in->rows[i])) verdict->dump_count--;
    }
}

void threads_verdict_free(struct threads_verdict *v)
{
    mem_free(v->classes);
    mem_free(v->live_seen);
    *v = (struct threads_verdict){ 0 };
}

bool threads_is_ours(enum threads_class class)
{
    return class == THREADS_LEG || class == THREADS_LEFT_OVER || class == THREADS_DEAD_SLUICE;
}

const char *threads_class_name(enum threads_class class)
{
    switch (class) {
    case THREADS_SERVER: return "server";
    case THREADS_ELSEWHERE: return "elsewhere";
    case THREADS_PROBE: return "probe";
    case THREADS_LEG: return "leg";
    case THREADS_LEFT_OVER: return "left-over";
    case THREADS_DEAD_SLUICE: return "dead-sluice";
    case THREADS_UNCLEAR: return "unclear";
    case THREADS_OTHER_SOURCE: return "other-source";
    case THREADS_FOREIGN: return "foreign";
    }
    return "?";
}
