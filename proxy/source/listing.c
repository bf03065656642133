/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The old server's own word: does its processlist show our legs, and is it empty of them (promise 1). One job on a probe
 * thread lists, looks which local sockets exist, judges, and kills; with nothing of ours left the same connection reads what
 * the old server has: the last stream had ended before.
 */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"
#include "upstream/local_sockets.h"

enum { LISTING_TEXT_LEN = 440, LOOK_AGAIN_MS = 20 };

struct listing {
    struct source *source;
    struct backend *backend;
    uint32_t op;
    bool is_live; /* listing_live() */
    listing_done_fn done;
    struct upstream_target target;
    char pin[FACTS_UUID_LEN + 1]; /* the backend's, for the probe thread */
    bool clients_are_told;        /* by PROXY headers */
    struct threads_leg *legs;     /* open (live) or closed by the drain */
    size_t leg_count;
    struct threads_leg *left_over;
    size_t left_over_count;
    uint32_t found; /* threads of ours */
    bool *seen;     /* live: one a leg */
    struct gtid_set *delivered;
    char text[LISTING_TEXT_LEN + 1];
};

struct leg_list {
    struct threads_leg *legs;
    size_t count, room;
    const char *server_uuid; /* left-overs: only of this server */
    uint32_t backend_index;  /* live: only of this backend */
};

static bool keep_leg(void *arg, const struct sessions_leg *leg)
{
    struct leg_list *list = arg;
    if (list->count == list->room) return false;
    if (leg->backend_index != list->backend_index) return true;
    struct threads_leg *to = &list->legs[list->count++];
    to->id = leg->thread_id;
    to->is_told = leg->is_told;
    snprintf(to->host, sizeof to->host, "%s", leg->host_port);
    snprintf(to->client, sizeof to->client, "%s", leg->peer);
    return true;
}

static bool keep_left_over(void *arg, uint32_t slot, const struct legs_record *record)
{
    struct leg_list *list = arg;
    (void)slot;
    if (list->count == list->room) return false;
    if (strcmp(record->server_uuid, list->server_uuid) != 0) return true;
    struct threads_leg *to = &list->legs[list->count++];
    to->id = record->thread_id;
    snprintf(to->host, sizeof to->host, "%s:%u", record->host, record->port);
    if (record->told.family == NETWORK_NONE) return true;
    char told[NETWORK_TEXT_LEN + 1];
    network_address_print(&record->told, told);
    to->is_told = true;
    snprintf(to->client, sizeof to->client, "%s:%u", told, record->told.port);
    return true;
}

int listing_collect_legs(struct source *s, const struct backend *b, struct threads_leg **out, size_t *out_count)
{
    struct leg_list list = { .room = sessions_leg_count(s->sessions), .backend_index = b->index };
    list.legs = mem_calloc(list.room, sizeof *list.legs);
    if (list.legs == NULL) return SLUICE_ERR_NOMEM;
    sessions_each_leg(s->sessions, keep_leg, &list);
    *out = list.legs;
    *out_count = list.count;
    return 0;
}

static int collect_left_over(struct source *s, const struct backend *b, struct threads_leg **out, size_t *out_count)
{
    struct leg_list list = { .room = legs_leftover_count(s->legs), .server_uuid = b->pin };
    list.legs = mem_calloc(list.room, sizeof *list.legs);
    if (list.legs == NULL) return SLUICE_ERR_NOMEM;
    legs_each_leftover(s->legs, keep_left_over, &list);
    *out = list.legs;
    *out_count = list.count;
    return 0;
}

int listing_keep_legs(struct source *s)
{
    mem_free(s->run.drained);
    s->run.drained = NULL;
    s->run.drained_count = 0;
    return listing_collect_legs(s, s->run.from, &s->run.drained, &s->run.drained_count);
}

/* ---- on a probe thread ---- */

static const struct threads_socket *socket_of(const struct threads_row *row, const struct threads_socket *sockets,
                                              size_t count)
{
    uint16_t port = threads_host_port(row->host);
    for (size_t i = 0; i < count; i++) {
        if (sockets[i].local_port == port) return &sockets[i];
    }
    return NULL;
}

/*
 * From our address, and another process's. Its name is known and it is no Sluice: then it was not made for a client of ours, it
 * merely shares the host with us, and is left alone. Another Sluice, or one that cannot be looked at: refused.
 */
static bool foreign_is_harmless(const struct threads_socket *socket)
{
    return socket != NULL && socket->owner == THREADS_OWNER_OTHER && !socket->is_sluice && socket->pid != 0;
}

/* There since the last look, so it is no connection that was just closing. */
static int judge_unclear(const struct processlist *list, const struct threads_verdict *verdict,
                         struct upstream_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        if (verdict->classes[i] != THREADS_UNCLEAR) continue;
        const struct threads_row *row = &list->rows[i];
        return upstream_error_set(error, SLUICE_ERR_REFUSED, 0,
                                  "thread %llu of '%s' from %s has our address and no socket here: a client of another "
                                  "proxy, or left by a dead "
                                  "Sluice that has no record of it; see whose it is, and end it: KILL %llu",
                                  (unsigned long long)row->id, row->user, row->host, (unsigned long long)row->id);
    }
    return 0;
}

static int judge_foreign(const struct processlist *list, const struct threads_verdict *verdict,
                         const struct threads_socket *sockets, size_t socket_count, struct upstream_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        if (verdict->classes[i] != THREADS_FOREIGN) continue;
        const struct threads_row *row = &list->rows[i];
        const struct threads_socket *socket = socket_of(row, sockets, socket_count);
        if (foreign_is_harmless(socket)) continue;
        bool is_sluice = socket != NULL && socket->is_sluice;
        return upstream_error_set(
            error, SLUICE_ERR_REFUSED, 0, "thread %llu of '%s' from %s comes from our address and is not ours%s%s; %s",
            (unsigned long long)row->id, row->user, row->host, is_sluice ? ": pid of another sluice " : "",
            socket == NULL ? "" : socket->comm,
            is_sluice ? "stop that process" : "end it, or give Sluice an address of its own (source-address)");
    }
    return 0;
}

static int kill_ours(struct listing *l, struct connector *c, const struct processlist *list,
                     const struct threads_verdict *verdict, struct upstream_error *error)
{
    struct kill_order *orders = mem_calloc(list->count, sizeof *orders);
    size_t count = 0;
    if (orders == NULL) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    for (size_t i = 0; i < list->count; i++) {
        if (!threads_is_ours(verdict->classes[i])) continue;
        orders[count].id = list->rows[i].id;
        snprintf(orders[count].host, sizeof orders[count].host, "%s", list->rows[i].host);
        count++;
    }
    int rv = kill_threads(c, orders, count, error);
    for (size_t i = 0; i < count && rv == 0; i++) {
        if (orders[i].result == KILL_DENIED) {
            rv = upstream_error_set(
                error, SLUICE_ERR_ACCESS_DENIED, 1095,
                "KILL %llu of account '%s' was denied to '%s': %s; GRANT SYSTEM_USER, CONNECTION_ADMIN ON *.*",
                (unsigned long long)orders[i].id, orders[i].user, l->target.user, orders[i].error_text);
        } else if (orders[i].result == KILL_FAILED) {
            rv = upstream_error_set(error, SLUICE_ERR_QUERY, 0, "KILL %llu: %s", (unsigned long long)orders[i].id,
                                    orders[i].error_text);
        }
    }
    l->found = (uint32_t)count;
    snprintf(l->text, sizeof l->text, "threads of ours on the old server: %zu, killed by id", count);
    mem_free(orders);
    return rv;
}

static int read_delivered(struct listing *l, struct connector *c, struct upstream_error *error)
{
    struct gtids g;
    int rv = gtids_read(c, &g, error);
    if (rv != 0) return rv;
    if (gtid_set_union(g.executed, g.owned, &l->delivered) != 0)
        rv = upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    gtids_free(&g);
    snprintf(l->text, sizeof l->text, "threads of ours on the old server: 0");
    return rv;
}

static bool is_suspect(enum threads_class class)
{
    return class == THREADS_DEAD_SLUICE || class == THREADS_UNCLEAR;
}

/* Threads that looked like a dead Sluice's when they were first looked at. */
struct suspects {
    uint64_t *ids;
    size_t count;
};

static int suspects_take(struct suspects *s, const struct processlist *list, const struct threads_verdict *verdict)
{
    s->ids = mem_calloc(list->count, sizeof *s->ids);
    if (s->ids == NULL) return SLUICE_ERR_NOMEM;
    for (size_t i = 0; i < list->count; i++) {
        if (is_suspect(verdict->classes[i])) s->ids[s->count++] = list->rows[i].id;
    }
    return 0;
}

static int act_on(struct listing *l, struct connector *c, const struct processlist *list,
                  const struct threads_verdict *verdict, struct upstream_error *error)
{
    if (l->is_live) {
        memcpy(l->seen, verdict->live_seen, l->leg_count * sizeof *l->seen);
        return 0;
    }
    bool has_ours = verdict->class_count[THREADS_LEG] + verdict->class_count[THREADS_LEFT_OVER] +
                        verdict->class_count[THREADS_DEAD_SLUICE] >
                    0;
    return has_ours ? kill_ours(l, c, list, verdict, error) : read_delivered(l, c, error);
}

/* With suspects found for the first time nothing is done yet: |suspects| is filled, and the caller looks again. */
static int judge_listing(struct listing *l, struct connector *c, const struct processlist *list,
                         const struct threads_socket *sockets, size_t socket_count, struct suspects *suspects,
                         struct upstream_error *error)
{
    struct threads_verdict verdict;
    const struct threads_input in = { .rows = list->rows,
                                      .row_count = list->count,
                                      .own_id = list->own_id,
                                      .own_host = list->own_host,
                                      .own_user = list->own_user,
                                      .live = l->legs,
                                      .live_count = l->leg_count,
                                      .left_over = l->left_over,
                                      .left_over_count = l->left_over_count,
                                      .sockets = sockets,
                                      .socket_count = socket_count,
                                      .clients_are_told = l->clients_are_told };
    if (threads_judge(&in, &verdict) != 0) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    bool is_first = suspects->ids == NULL;
    if (!is_first) threads_spare_newcomers(&in, suspects->ids, suspects->count, &verdict);
    int rv = 0;
    size_t suspect_count = verdict.class_count[THREADS_DEAD_SLUICE] + verdict.class_count[THREADS_UNCLEAR];
    if (is_first && !l->is_live && suspect_count > 0) {
        rv = suspects_take(suspects, list, &verdict);
        if (rv != 0) upstream_error_set(error, rv, 0, "memory ran out");
    } else {
        rv = judge_foreign(list, &verdict, sockets, socket_count, error);
        if (rv == 0 && !l->is_live) rv = judge_unclear(list, &verdict, error);
        if (rv == 0) rv = act_on(l, c, list, &verdict, error);
    }
    threads_verdict_free(&verdict);
    return rv;
}

/*
 * Whose thread it is goes by HOST = address and port of a socket here (promise 1). Behind a relay or address translation that is not
 * so: every client that comes the same way would look like one of a dead Sluice, and be killed.
 */
static int refuse_translation(const struct processlist *list, const struct connector *c, struct upstream_error *error)
{
    char local[CONNECTOR_END_LEN];
    connector_local_end(c, local);
    if (!threads_is_translated(list->own_host, local)) return 0;
    return upstream_error_set(
        error, SLUICE_ERR_REFUSED, 0,
        "the server sees our connection %s as %s: a relay or address translation lies between, and its "
        "processlist cannot tell whose threads it shows; give the server's own address",
        local, list->own_host);
}

static int look(struct listing *l, struct connector *c, struct suspects *suspects, struct upstream_error *error)
{
    struct processlist list;
    struct threads_socket *sockets = NULL;
    size_t socket_count = 0;
    int rv = processlist_read(c, &list, error);
    if (rv != 0) return rv;
    if (strcmp(list.server_uuid, l->pin) != 0) {
        rv = upstream_error_set(error, SLUICE_ERR_WRONG_SERVER, 0, "server_uuid is %s, pinned is %s", list.server_uuid,
                                l->pin);
    }
    if (rv == 0) rv = refuse_translation(&list, c, error);
    if (rv == 0) rv = local_sockets_read((const struct sockaddr *)&l->target.addr, &sockets, &socket_count);
    if (rv == SLUICE_ERR_IO) upstream_error_set(error, rv, 0, "/proc/net/tcp cannot be read");
    if (rv == 0) rv = judge_listing(l, c, &list, sockets, socket_count, suspects, error);
    mem_free(sockets);
    processlist_free(&list);
    return rv;
}

static int run_listing(void *arg, struct connector *c, struct upstream_error *error)
{
    struct listing *l = arg;
    struct suspects suspects = { 0 };
    int rv = look(l, c, &suspects, error);
    if (rv == 0 && suspects.count > 0) rv = connector_pause(c, LOOK_AGAIN_MS, error);
    if (rv == 0 && suspects.count > 0) rv = look(l, c, &suspects, error);
    mem_free(suspects.ids);
    return rv;
}

/* ---- on the loop ---- */

static void listing_del(struct listing *l)
{
    upstream_target_free(&l->target);
    mem_free(l->legs);
    mem_free(l->left_over);
    mem_free(l->seen);
    gtid_set_del(l->delivered);
    mem_free(l);
}

static bool is_still_open(struct source *s, const struct listing *l, size_t i)
{
    struct threads_leg *now = NULL;
    size_t count = 0;
    bool is_open = false;
    if (listing_collect_legs(s, l->backend, &now, &count) != 0) return true;
    for (size_t j = 0; j < count && !is_open; j++)
        is_open = now[j].id == l->legs[i].id && strcmp(now[j].host, l->legs[i].host) == 0;
    mem_free(now);
    return is_open;
}

/* Legs that have a greeting, were open when the list was asked for and still are: each must have been shown. */
static int judge_live(struct source *s, struct listing *l)
{
    uint32_t seen = 0;
    for (size_t i = 0; i < l->leg_count; i++) {
        if (l->legs[i].id == 0) continue;
        if (l->seen[i]) {
            seen++;
        } else if (is_still_open(s, l, i)) {
            snprintf(l->text, sizeof l->text,
                     "the old server's processlist does not show our session %llu from %.60s: PROCESS is missing, or "
                     "addresses are translated between Sluice and the server; it could not prove itself empty",
                     (unsigned long long)l->legs[i].id, l->legs[i].host);
            return SLUICE_ERR_REFUSED;
        }
    }
    snprintf(l->text, sizeof l->text, "the old server's processlist shows all %u sessions", seen);
    return 0;
}

static void on_listed(void *arg, int status, const struct upstream_error *error)
{
    struct listing *l = arg;
    struct source *s = l->source;
    s->jobs--;
    if (status != 0) snprintf(l->text, sizeof l->text, "%s: %.400s", l->backend->config->name, error->text);
    if (s->is_closing) status = SLUICE_ERR_CANCELED; /* the sessions may be gone, and nobody waits for the answer */
    if (status == 0 && l->is_live) status = judge_live(s, l);
    if (status == 0 && !l->is_live && l->found == 0) legs_forget_leftovers_of(s->legs, l->backend->pin);
    struct gtid_set *delivered = l->delivered;
    l->delivered = NULL;
    l->done(s, l->op, status, l->found, l->text, delivered);
    listing_del(l);
    source_job_ended(s);
}

static void start(struct source *s, struct listing *l, struct backend *old, uint32_t op, uint32_t timeout_ms,
                  listing_done_fn done)
{
    l->source = s;
    l->backend = old;
    memcpy(l->pin, old->pin, sizeof l->pin);
    l->clients_are_told = s->config->proxy_protocol.send != CONFIG_PROXY_SEND_OFF;
    l->op = op;
    l->done = done;
    const struct upstream_job job = { .target = &l->target,
                                      .key = old->config->name,
                                      .lane = UPSTREAM_LANE_RESERVED,
                                      .timeout_ms = timeout_ms,
                                      .run = run_listing,
                                      .done = on_listed,
                                      .arg = l,
                                      .mailbox = s->host.mailbox };
    static const char lost_text[] =
        "the file of open connections was damaged, and with proxy-protocol.send a dead Sluice's "
        "threads look like clients'; see that none is left there, then restart Sluice";
    int rv = s->is_legs_file_lost ? SLUICE_ERR_REFUSED : upstream_target_copy(&old->target, &l->target);
    if (rv == 0) rv = collect_left_over(s, old, &l->left_over, &l->left_over_count);
    l->seen = mem_calloc(l->leg_count, sizeof *l->seen);
    if (l->seen == NULL) rv = SLUICE_ERR_NOMEM;
    if (rv == 0) rv = upstream_pool_submit(s->host.pool, &job, NULL);
    s->jobs++;
    if (rv != 0) {
        struct upstream_error error;
        upstream_error_set(&error, rv, 0, "%s", s->is_legs_file_lost ? lost_text : "the list could not be asked for");
        on_listed(l, rv, &error);
    }
}

void listing_live(struct source *s, struct backend *old, uint32_t op, uint32_t timeout_ms, listing_done_fn done)
{
    struct listing *l = mem_calloc(1, sizeof *l);
    if (l == NULL || listing_collect_legs(s, old, &l->legs, &l->leg_count) != 0) {
        mem_free(l);
        done(s, op, SLUICE_ERR_NOMEM, 0, "memory ran out", NULL);
        return;
    }
    l->is_live = true;
    start(s, l, old, op, timeout_ms, done);
}

void listing_empty(struct source *s, struct backend *old, uint32_t op, uint32_t timeout_ms, listing_done_fn done)
{
    size_t count = s->run.drained_count;
    struct listing *l = mem_calloc(1, sizeof *l);
    struct threads_leg *legs = mem_calloc(count, sizeof *legs);
    if (l == NULL || legs == NULL) {
        mem_free(l);
        mem_free(legs);
        done(s, op, SLUICE_ERR_NOMEM, 0, "memory ran out", NULL);
        return;
    }
    if (count > 0) memcpy(legs, s->run.drained, count * sizeof *legs);
    l->legs = legs;
    l->leg_count = count;
    start(s, l, old, op, timeout_ms, done);
}
