/* SPDX-License-Identifier: Apache-2.0 */
/* A source's life: listen, open, start, stop; and the one place that tells the sessions what to do with new clients. */
#include "source/source.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "net/tls_mbedtls.h"
#include "source/state.h"

uint64_t source_now(const struct source *s)
{
    return uv_now(s->host.loop);
}

uint64_t source_unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *source_id(const struct source *s)
{
    return s->config->source_id;
}

struct backend *source_backend(struct source *s, const char *name)
{
    for (size_t i = 0; name != NULL && i < s->backend_count; i++) {
        if (strcmp(s->backends[i].config->name, name) == 0) return &s->backends[i];
    }
    return NULL;
}

struct backend *source_active(struct source *s)
{
    return s->record.has_record ? source_backend(s, s->record.active) : NULL;
}

struct gtid_set *source_accepted_loss(const struct source *s)
{
    struct gtid_set *set = NULL;
    const char *text = s->record.accepted_loss == NULL ? "" : s->record.accepted_loss;
    if (gtid_set_parse(text, strlen(text), &set, NULL) != 0) return NULL;
    return set;
}

void source_take_record(struct source *s, struct record_source *next)
{
    if (s->latch_is_dirty) {
        char *latch = next->latch, *backend = next->latch_backend;
        next->latch = s->record.latch;
        next->latch_backend = s->record.latch_backend;
        s->record.latch = latch;
        s->record.latch_backend = backend;
    }
    bool is_another = s->record.active == NULL || next->active == NULL || strcmp(s->record.active, next->active) != 0;
    if (is_another) delivered_new_server(&s->delivered);
    record_source_free(&s->record);
    s->record = *next;
    *next = (struct record_source){ 0 };
}

static void on_latch_written(void *arg, int status, uint64_t number)
{
    struct source *s = arg;
    (void)number;
    s->is_writing = false;
    if (status != 0) {
        s->latch_is_dirty = true; /* tried again with the next probe */
        log_error("a latch could not be written; until it is, it holds in memory alone",
                  LOG_STR("source", s->config->source_id), LOG_STR("error", error_name(status)));
    }
    s->jobs--;
    source_job_ended(s);
}

void source_write_latch(struct source *s)
{
    /* A flip has a copy of the record on its way; it takes the latch along, and so does what settles an unknown one. */
    bool is_flipping = s->cutover.state == CUTOVER_STATE_FLIP || s->cutover.state == CUTOVER_STATE_FLIP_UNKNOWN;
    if (!s->latch_is_dirty || s->is_writing || is_flipping || s->is_closing) return;
    s->latch_is_dirty = false;
    s->is_writing = true;
    s->jobs++;
    journal_source_put(s->host.journal, &s->record, s->host.mailbox, on_latch_written, s);
}

static void route_to(struct source *s, const struct backend *b)
{
    struct sessions_mode mode = { .kind = SESSIONS_ROUTE };
    struct sessions_route *route = &mode.as.route;
    route->address = b->target.addr;
    route->address_len = b->target.addr.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    route->backend_index = b->index;
    route->epoch = s->record.epoch;
    route->host = b->config->address.host;
    memcpy(route->server_uuid, b->pin, sizeof route->server_uuid);
    sessions_set_mode(s->sessions, &mode);
}

void source_admit(struct source *s)
{
    struct backend *active = source_active(s);
    struct admission admission;
    const char *latch = s->record.latch == NULL ? "" : s->record.latch;
    bool is_latched = active != NULL && *latch != '\0' && strcmp(s->record.latch_backend, active->config->name) == 0;
    const struct admission_input in = { .is_stopping = s->is_stopping,
                                        .has_record = s->record.has_record,
                                        .is_held = s->record.is_held,
                                        .is_settled = s->settling == SOURCE_SETTLED,
                                        .is_confirmed = active != NULL && active->is_confirmed,
                                        .cutover = &s->cutover,
                                        .active = active == NULL ? "" : active->config->name,
                                        .latch = is_latched ? latch : "",
                                        .waiting_for = active == NULL ? s->waiting_for : active->probe_error };
    if (s->is_closing || !s->is_started) return;
    streams_settle(s);
    admission_decide(&in, &admission);
    struct sessions_mode mode = { .kind = SESSIONS_HOLD };
    if (is_latched) sessions_end_streams(s->sessions);
    switch (admission.mode) {
    case ADMISSION_ROUTE:
        assert(active != NULL);
        s->is_ready = true;
        route_to(s, active);
        return;
    case ADMISSION_HOLD:
        if (is_latched || s->record.is_held) s->is_ready = true;
        mode.as.hold.phase = admission.text;
        break;
    case ADMISSION_REFUSE:
        mode.kind = SESSIONS_REFUSE;
        mode.as.refuse.code = admission.code;
        mode.as.refuse.message = admission.text;
        break;
    }
    sessions_set_mode(s->sessions, &mode);
}

static void on_legs_gone(void *arg)
{
    struct source *s = arg;
    const struct cutover_event ev = { .type = CUTOVER_EV_LEGS, .count = sessions_leg_count(s->sessions) };
    if (s->cutover.state == CUTOVER_STATE_DRAIN || s->cutover.state == CUTOVER_STATE_KILL) switch_event(s, &ev);
    source_job_ended(s);
}

static void on_leg_lost(void *arg, const struct sessions_loss *loss)
{
    struct source *s = arg;
    assert(loss->backend_index < s->backend_count);
    struct backend *b = &s->backends[loss->backend_index];
    log_info("a server ended a connection by itself: it is probed before anybody is routed there again",
             LOG_STR("source", s->config->source_id), LOG_STR("backend", b->config->name),
             LOG_U64("count", loss->count));
    if (!s->is_closing) backend_lost_leg(b);
    source_admit(s);
}

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    struct source *s = arg;
    sessions_accept(s->sessions, fd, peer, peer_len);
}

int source_listen(const struct config_source *config, uv_loop_t *loop, struct source **out, struct text *out_error)
{
    struct source *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return SLUICE_ERR_NOMEM;
    s->config = config;
    s->host.loop = loop;
    if (delivered_init(&s->delivered) != 0) {
        mem_free(s);
        return SLUICE_ERR_NOMEM;
    }
    const struct listener_config listener = { .loop = loop,
                                              .source_id = config->source_id,
                                              .host = config->listen.host,
                                              .port = config->listen.port,
                                              .on_accept = on_accept,
                                              .arg = s };
    int rv = listener_new(&listener, &s->listener, out_error);
    if (rv != 0) {
        delivered_free(&s->delivered);
        mem_free(s);
        return rv;
    }
    *out = s;
    return 0;
}

unsigned source_proxy_version(const struct config_source *config)
{
    switch (config->proxy_protocol.send) {
    case CONFIG_PROXY_SEND_OFF: return 0;
    case CONFIG_PROXY_SEND_V1: return 1;
    case CONFIG_PROXY_SEND_V2: return 2;
    }
    return 0;
}

unsigned source_own_proxy_version(const struct config_source *config)
{
    return config->proxy_protocol.send_own ? source_proxy_version(config) : 0;
}

static int open_sessions(struct source *s, struct text *out_error)
{
    const struct config_limits *l = &s->config->limits;
    struct text why = TEXT_INIT;
    int rv = source_tls_load(s->config, &s->tls, &why);
    if (rv != 0) {
        text_puts(out_error, text_str(&why));
        text_free(&why);
        return rv;
    }
    text_free(&why);
    const struct sessions_config config = { .loop = s->host.loop,
                                            .source_id = s->config->source_id,
                                            .hold_timeout_ms = l->hold_timeout_ms,
                                            .hold_clients_max = l->hold_clients_max,
                                            .sessions_max = l->sessions_max,
                                            .connect_timeout_ms = l->connect_timeout_ms,
                                            .source_address = s->config->source_address,
                                            .tls = tls_sessions_mode(s->config),
                                            .tls_context = s->tls,
                                            .allow_compression = s->config->allow_compression,
                                            .accept_from = s->config->proxy_protocol.accept_from,
                                            .accept_from_count = s->config->proxy_protocol.accept_from_count,
                                            .proxy_send = source_proxy_version(s->config),
                                            .legs = s->legs,
                                            .callbacks = { on_legs_gone, on_leg_lost },
                                            .streams = streams_hooks(),
                                            .arg = s };
    rv = sessions_new(&config, &s->sessions);
    if (rv == SLUICE_ERR_CONFIG)
        text_printf(out_error, "source %s: source-address: not a numeric address", s->config->source_id);
    return rv;
}

static int open_legs(struct source *s, struct text *out_error)
{
    struct text path = TEXT_INIT;
    enum legs_found found;
    text_printf(&path, "%s/legs.%s", s->host.state_dir, s->config->source_id);
    int rv = path.status != 0 ? path.status
                              : legs_open(text_str(&path), s->config->limits.sessions_max, &s->legs, &found, out_error);
    if (rv == 0 && found == LEGS_FOUND_UNREADABLE) {
        log_warn("the file of open connections was damaged: what a dead process left is found by its address alone",
                 LOG_STR("source", s->config->source_id), LOG_STR("path", text_str(&path)));
    }
    s->is_legs_file_lost = rv == 0 && found == LEGS_FOUND_UNREADABLE && source_proxy_version(s->config) != 0;
    if (s->is_legs_file_lost) {
        log_error(
            "servers show such connections under the clients' own addresses: no switch until this is restarted",
            LOG_STR("source", s->config->source_id),
            LOG_STR("hint", "end what a dead process left on the backends, binlog readers above all, then restart"));
    }
    if (rv == 0 && found == LEGS_FOUND_LEFTOVERS) {
        log_info("a process that did not stop in order left connections", LOG_STR("source", s->config->source_id),
                 LOG_U64("count", legs_leftover_count(s->legs)));
    }
    text_free(&path);
    return rv;
}

static int open_record(struct source *s, const struct journal_state *state, struct text *out_error)
{
    const struct record_source *found = journal_state_source(state, s->config->source_id);
    int rv = 0;
    if (found != NULL) {
        rv = record_source_copy(&s->record, found);
    } else {
        rv = record_set(&s->record.source_id, s->config->source_id);
        if (rv == 0) rv = record_set(&s->record.active, "");
        if (rv == 0) rv = record_set(&s->record.latch, "");
        if (rv == 0) rv = record_set(&s->record.latch_backend, "");
        if (rv == 0) rv = record_set(&s->record.accepted_loss, "");
        snprintf(s->waiting_for, sizeof s->waiting_for,
                 "no record in state-dir; the configured backend %s is being judged", s->config->active);
    }
    if (rv == 0 && s->record.has_record && source_backend(s, s->record.active) == NULL) {
        text_printf(out_error,
                    "source %s: the active backend is %s (epoch %llu), and the configuration has none of that name; "
                    "put it back, switch away from it first",
                    s->config->source_id, s->record.active, (unsigned long long)s->record.epoch);
        rv = SLUICE_ERR_CONFIG;
    }
    return rv;
}

static int open_consumer(struct source *s)
{
    const struct config_consumer *c = &s->config->consumer;
    const struct consumer_settings settings = { .type = c->type,
                                                .target = { .host = c->address.host,
                                                            .user = c->account.user,
                                                            .password = c->account.password,
                                                            .tls = c->account.tls_mode,
                                                            .tls_ca = c->account.tls_ca },
                                                .channel = c->channel,
                                                .pool = s->host.pool,
                                                .mailbox = s->host.mailbox,
                                                .dm = { .source_id = s->config->source_id,
                                                        .loop = s->host.loop,
                                                        .masters = c->masters,
                                                        .master_count = c->master_count,
                                                        .ssl_ca = c->ssl_ca,
                                                        .ssl_cert = c->ssl_cert,
                                                        .ssl_key = c->ssl_key } };
    return consumer_new(&settings, &s->consumer);
}

int source_open(struct source *s, const struct source_host *host, const struct journal_state *state,
                struct text *out_error)
{
    const struct config_limits *l = &s->config->limits;
    s->host = *host;
    s->backends = mem_calloc(s->config->backend_count, sizeof *s->backends);
    if (s->backends == NULL) return SLUICE_ERR_NOMEM;
    for (uint32_t i = 0; i < s->config->backend_count; i++) {
        const char *name = s->config->backends[i].name;
        int rv = backend_init(&s->backends[i], s, i, journal_state_pin(state, s->config->source_id, name));
        if (rv != 0) return rv;
        s->backend_count++;
    }
    int rv = open_record(s, state, out_error);
    if (rv == 0) rv = open_legs(s, out_error);
    if (rv == 0) rv = open_sessions(s, out_error);
    if (rv == 0) rv = open_consumer(s);
    if (rv != 0) return rv;
    const struct cutover_limits limits = { .catchup_timeout_ms = l->catchup_timeout_ms,
                                           .park_timeout_ms = l->park_timeout_ms,
                                           .hold_timeout_ms = l->hold_timeout_ms,
                                           .drain_timeout_ms = l->drain_timeout_ms,
                                           .flip_reserve_ms = CONFIG_FLIP_RESERVE_MS,
                                           .verify_timeout_ms = l->verify_timeout_ms };
    cutover_init(&s->cutover, &limits);
    const struct record_switch *left = journal_state_open_switch(state, s->config->source_id);
    bool is_readdress = left != NULL && readdress_is_record(left);
    if (is_readdress && s->config->consumer.type != CONFIG_CONSUMER_DM) {
        text_printf(out_error,
                    "source %s: readdress %llu is unfinished, and its consumer is of type dm no more; put it back, and "
                    "finish it with sluice readdress --resume",
                    s->config->source_id, (unsigned long long)left->number);
        return SLUICE_ERR_CONFIG;
    }
    if (s->config->consumer.type == CONFIG_CONSUMER_DM) {
        rv = readdress_new(s, is_readdress ? left : NULL, &s->readdress);
        if (rv != 0) return rv;
    }
    return left == NULL || is_readdress ? 0 : record_switch_copy(&s->run.record, left);
}

static void on_consumer_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct source *s = req->data;
    const struct config_consumer *c = &s->config->consumer;
    s->jobs--;
    s->consumer_is_resolving = false;
    if (status == 0 && !s->is_closing) {
        struct upstream_target target = { .host = c->address.host,
                                          .user = c->account.user,
                                          .password = c->account.password,
                                          .tls = c->account.tls_mode,
                                          .tls_ca = c->account.tls_ca };
        memcpy(&target.addr, list->ai_addr, list->ai_addrlen);
        if (consumer_set_target(s->consumer, &target) == 0) {
            bool is_first = !s->consumer_is_resolved;
            s->consumer_is_resolved = true;
            if (is_first) status_ask_consumer(s);
        }
    } else if (status != UV_ECANCELED) {
        log_warn("the consumer's name cannot be resolved", LOG_STR("source", s->config->source_id),
                 LOG_STR("host", c->address.host), LOG_STR("error", uv_strerror(status)));
    }
    if (list != NULL) uv_freeaddrinfo(list);
    source_job_ended(s);
}

static void resolve_consumer(struct source *s)
{
    char port[8];
    const struct config_consumer *c = &s->config->consumer;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    if (c->type != CONFIG_CONSUMER_REPLICA || s->consumer_is_resolving) return;
    snprintf(port, sizeof port, "%u", c->address.port);
    s->consumer_resolve.data = s;
    if (uv_getaddrinfo(s->host.loop, &s->consumer_resolve, on_consumer_resolved, c->address.host, port, &hints) != 0)
        return;
    s->consumer_is_resolving = true;
    s->jobs++;
}

static void on_source_handle_closed(uv_handle_t *handle)
{
    struct source *s = handle->data;
    s->handles--;
    source_job_ended(s);
}

static void on_cutover_timer(uv_timer_t *timer)
{
    struct source *s = timer->data;
    const struct cutover_event ev = { .type = CUTOVER_EV_TIME };
    const struct cutover_event legs = { .type = CUTOVER_EV_LEGS, .count = sessions_leg_count(s->sessions) };
    if (s->cutover.state == CUTOVER_STATE_DRAIN) switch_event(s, &legs); /* how many the deadline is going to cut */
    switch_event(s, &ev);
}

/* Names of consumers are looked up again now and then; a first start that was not passed is judged again. */
static void on_retry_timer(uv_timer_t *timer)
{
    struct source *s = timer->data;
    resolve_consumer(s);
    status_ask_consumer(s);
}

static void init_timer(struct source *s, uv_timer_t *timer)
{
    uv_timer_init(s->host.loop, timer);
    timer->data = s;
    s->handles++;
}

void source_start(struct source *s)
{
    s->is_started = true;
    init_timer(s, &s->cutover_timer);
    init_timer(s, &s->retry_timer);
    init_timer(s, &s->stop_timer);
    init_timer(s, &s->check_timer);
    init_timer(s, &s->settle_timer);
    init_timer(s, &s->dump_gate.timer);
    s->cutover_timer.timer_cb = on_cutover_timer;
    resolve_consumer(s);
    uv_timer_start(&s->retry_timer, on_retry_timer, 10000, 10000);
    for (size_t i = 0; i < s->backend_count; i++)
        backend_start(&s->backends[i]);
    if (s->run.record.number != 0) switch_recover(s, &s->run.record);
    if (s->readdress != NULL) readdress_start(s->readdress);
    source_admit(s);
    log_info("source started", LOG_STR("source", s->config->source_id), LOG_U64("port", listener_port(s->listener)),
             LOG_STR("active", s->record.has_record ? s->record.active : NULL), LOG_U64("epoch", s->record.epoch));
}

static void on_consumer_closed(void *arg)
{
    struct source *s = arg;
    s->consumer_is_closed = true;
    source_job_ended(s);
}

static void on_sessions_closed(void *arg)
{
    struct source *s = arg;
    s->sessions_are_closed = true;
    source_job_ended(s);
}

static void on_listener_closed(void *arg)
{
    struct source *s = arg;
    s->listener_is_closed = true;
    source_job_ended(s);
}

static void on_last_pins_written(void *arg, int status, uint64_t number)
{
    struct source *s = arg;
    (void)number;
    if (status != 0) log_warn("the last pins were not written", LOG_STR("source", s->config->source_id));
    s->jobs--;
    source_job_ended(s);
}

/* Everything that is still to come has been asked to end: listeners close last of what clients see. */
static void close_all(struct source *s)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    if (s->is_closing) return;
    s->is_closing = true;
    for (size_t i = 0; i < s->backend_count; i++) {
        backend_write_pin(&s->backends[i], &txn);
        backend_close(&s->backends[i]);
    }
    s->jobs++;
    journal_commit(s->host.journal, &txn, s->host.mailbox, on_last_pins_written, s);
    if (s->consumer_is_resolving) uv_cancel((uv_req_t *)&s->consumer_resolve);
    consumer_close(s->consumer, on_consumer_closed, s);
    listener_close(s->listener, on_listener_closed, s);
    sessions_close(s->sessions, on_sessions_closed, s);
    uv_close((uv_handle_t *)&s->cutover_timer, on_source_handle_closed);
    uv_close((uv_handle_t *)&s->retry_timer, on_source_handle_closed);
    uv_close((uv_handle_t *)&s->stop_timer, on_source_handle_closed);
    uv_close((uv_handle_t *)&s->check_timer, on_source_handle_closed);
    uv_close((uv_handle_t *)&s->settle_timer, on_source_handle_closed);
    uv_close((uv_handle_t *)&s->dump_gate.timer, on_source_handle_closed);
    if (s->readdress != NULL) readdress_close(s->readdress);
    commands_close(s);
}

/* A switch is where it may be left: undone, done, or flipped with its resume begun and the rest in the journal. */
static bool switch_may_be_left(const struct source *s)
{
    switch (s->cutover.state) {
    case CUTOVER_STATE_IDLE:
    case CUTOVER_STATE_VERIFY: return true;
    case CUTOVER_STATE_RESUME:
    case CUTOVER_STATE_UNDO_RESUME: return s->has_tried_resume;
    case CUTOVER_STATE_CHECK:
    case CUTOVER_STATE_CATCHUP:
    case CUTOVER_STATE_RECORD:
    case CUTOVER_STATE_PARK:
    case CUTOVER_STATE_PAUSE:
    case CUTOVER_STATE_PAUSE_ENDING:
    case CUTOVER_STATE_GATE:
    case CUTOVER_STATE_SEE:
    case CUTOVER_STATE_HOLD:
    case CUTOVER_STATE_DRAIN:
    case CUTOVER_STATE_KILL:
    case CUTOVER_STATE_EMPTY:
    case CUTOVER_STATE_GATE_AGAIN:
    case CUTOVER_STATE_FLIP:
    case CUTOVER_STATE_FLIP_UNKNOWN:
    case CUTOVER_STATE_RELEASE:
    case CUTOVER_STATE_UNDO_RELEASE:
    case CUTOVER_STATE_END:
    case CUTOVER_STATE_COUNT: return false;
    }
    return false;
}

static void stop_step(struct source *s)
{
    if (!s->is_stopping || s->is_closing) return;
    if (s->cutover.state == CUTOVER_STATE_FLIP) return; /* a write in flight is waited for, however long */
    bool is_over = source_now(s) >= s->stop_deadline_ms;
    if ((!switch_may_be_left(s) || !readdress_may_be_left(s->readdress)) && !is_over) return;
    if (sessions_leg_count(s->sessions) > 0 && !is_over) return;
    if (is_over && sessions_leg_count(s->sessions) > 0) sessions_drain_kill(s->sessions);
    close_all(s);
}

void source_job_ended(struct source *s)
{
    stop_step(s);
    if (!s->is_closing || s->on_stopped == NULL) return;
    if (s->jobs > 0 || s->handles > 0 || !s->consumer_is_closed || !s->sessions_are_closed || !s->listener_is_closed)
        return;
    void (*on_stopped)(void *arg) = s->on_stopped;
    s->on_stopped = NULL;
    on_stopped(s->stopped_arg);
}

static void on_stop_timer(uv_timer_t *timer)
{
    stop_step(timer->data);
}

void source_stop(struct source *s, uint32_t stop_timeout_ms, void (*on_stopped)(void *arg), void *arg)
{
    assert(!s->is_stopping && s->is_started);
    s->is_stopping = true;
    s->on_stopped = on_stopped;
    s->stopped_arg = arg;
    s->stop_deadline_ms = source_now(s) + stop_timeout_ms;
    uv_timer_start(&s->stop_timer, on_stop_timer, 20, 20);
    if (cutover_can_abort(&s->cutover) && s->cutover.state != CUTOVER_STATE_RESUME &&
        s->cutover.state != CUTOVER_STATE_UNDO_RESUME) {
        const struct cutover_event ev = { .type = CUTOVER_EV_ABORT, .text = "Sluice is being stopped" };
        switch_event(s, &ev);
    }
    source_admit(s);
    sessions_drain_begin(s->sessions);
    /* The last, as it may end at once, and all else with it. What cannot be taken back now goes on, or is found in the journal. */
    const char *why = NULL;
    if (readdress_is_open(s->readdress)) readdress_abort(s->readdress, "Sluice is being stopped", &why);
}

void source_abandon(struct source *s)
{
    listener_close(s->listener, NULL, NULL);
    if (s->sessions != NULL) sessions_close(s->sessions, NULL, NULL);
    if (s->consumer != NULL) consumer_close(s->consumer, NULL, NULL);
}

void source_del(struct source *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->backend_count; i++)
        backend_free(&s->backends[i]);
    mem_free(s->backends);
    reading_free(&s->reading);
    reading_free(&s->check);
    switch_options_free(&s->check_options);
    switch_run_free(&s->run);
    readdress_del(s->readdress);
    record_source_free(&s->record);
    json_decref(s->consumer_seen);
    delivered_free(&s->delivered);
    dump_gate_free(&s->dump_gate);
    legs_close(s->legs);
    tls_context_unref(s->tls);
    mem_free(s);
}
