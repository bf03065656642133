/* SPDX-License-Identifier: Apache-2.0 */
/* What a source says of itself, as JSON: conf/openapi.yaml describes the shapes. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "source/state.h"

static json_t *gtid_json(const struct gtid_set *set)
{
    char *text = set == NULL ? NULL : gtid_set_print(set, GTID_SEPARATOR_COMMA, NULL);
    json_t *j = text == NULL ? json_null() : json_string(text);
    gtid_free(text);
    return j;
}

static json_t *text_or_null(const char *text)
{
    return text == NULL || *text == '\0' ? json_null() : json_string(text);
}

struct leg_count {
    uint32_t backend_index;
    json_int_t count;
};

static bool count_leg(void *arg, const struct sessions_leg *leg)
{
    struct leg_count *c = arg;
    if (leg->backend_index == c->backend_index) c->count++;
    return true;
}

static json_t *backend_json(struct source *s, const struct backend *b)
{
    char address[300];
    struct leg_count legs = { .backend_index = b->index };
    const struct facts *f = b->has_facts ? &b->facts : NULL;
    backend_address_text(b, address, sizeof address);
    sessions_each_leg(s->sessions, count_leg, &legs);
    return json_pack("{s:s,s:s,s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I}", "name", b->config->name, "address", address,
                     "reachable", b->is_reachable, "confirmed", b->is_confirmed, "server-uuid",
                     text_or_null(f == NULL ? NULL : f->server_uuid), "pinned-uuid", text_or_null(b->pin), "version",
                     text_or_null(f == NULL ? NULL : f->version), "read-only",
                     f == NULL ? json_null() : json_boolean(strcmp(f->read_only, "ON") == 0), "gtid-executed",
                     gtid_json(f == NULL ? NULL : f->executed), "gtid-purged", gtid_json(f == NULL ? NULL : f->purged),
                     "error", text_or_null(b->probe_error), "connections", legs.count);
}

static const char *consumer_type_name(enum config_consumer_type type)
{
    switch (type) {
    case CONFIG_CONSUMER_NONE: return "none";
    case CONFIG_CONSUMER_MANUAL: return "manual";
    case CONFIG_CONSUMER_REPLICA: return "replica";
    case CONFIG_CONSUMER_DM: return "dm";
    }
    return "";
}

static json_t *part_json(const struct consumer_part *p)
{
    if (!p->is_present) return json_null();
    return json_pack("{s:s,s:s,s:o}", "stage", consumer_stage_name(p->stage), "detail",
                     p->detail == NULL ? "" : p->detail, "gtid", gtid_json(p->position));
}

void status_take_consumer(struct source *s, const struct consumer_status *found, const char *error)
{
    json_t *tasks = json_array();
    for (size_t i = 0; found != NULL && i < found->task_count; i++) {
        const struct consumer_task *t = &found->tasks[i];
        json_array_append_new(tasks,
                              json_pack("{s:s,s:s,s:s,s:o}", "name", t->name, "stage", consumer_stage_name(t->stage),
                                        "detail", t->detail == NULL ? "" : t->detail, "gtid-s", gtid_json(t->s)));
    }
    const char *text = found == NULL ? error : found->refusal;
    json_decref(s->consumer_seen);
    s->consumer_seen = json_pack(
        "{s:o,s:o,s:o,s:o,s:o}", "quiet", found == NULL ? json_null() : json_boolean(consumer_status_is_quiet(found)),
        "tasks", tasks, "relay", found == NULL ? json_null() : part_json(&found->relay), "validator",
        found == NULL ? json_null() : part_json(&found->validator), "error", text_or_null(text));
}

static void on_status(void *arg, int status, const struct upstream_error *error, const struct consumer_status *found)
{
    struct source *s = arg;
    s->jobs--;
    s->is_asking_consumer = false;
    status_take_consumer(s, status == 0 ? found : NULL, status == 0 ? NULL : error->text);
    source_job_ended(s);
}

void status_ask_consumer(struct source *s)
{
    if (s->is_asking_consumer || s->is_closing || s->run.is_open || readdress_is_open(s->readdress)) return;
    if (s->config->consumer.type == CONFIG_CONSUMER_REPLICA && !s->consumer_is_resolved) return;
    s->is_asking_consumer = true;
    s->jobs++;
    streams_tell_consumer(s);
    consumer_status(s->consumer, s->config->limits.probe_timeout_ms, on_status, s);
}

/* What it said when it was last asked; a status itself asks nobody. */
static json_t *consumer_json(const struct source *s)
{
    json_t *j = json_pack("{s:s,s:n,s:[],s:n,s:n,s:n}", "type", consumer_type_name(s->config->consumer.type), "quiet",
                          "tasks", "relay", "validator", "error");
    if (s->consumer_seen != NULL) json_object_update(j, s->consumer_seen);
    return j;
}

static json_t *histogram_json(const struct source *s)
{
    const struct sessions_counters *c = sessions_counters(s->sessions);
    json_t *bounds = json_array(), *counts = json_array();
    for (size_t i = 0; i < SESSIONS_HOLD_BOUNDS; i++)
        json_array_append_new(bounds, json_integer(sessions_hold_bounds_ms[i]));
    for (size_t i = 0; i < SESSIONS_HOLD_BUCKETS; i++)
        json_array_append_new(counts, json_integer((json_int_t)c->hold_waits[i]));
    return json_pack("{s:o,s:o,s:I}", "bounds-ms", bounds, "counts", counts, "sum-ms",
                     (json_int_t)c->hold_wait_ms_total);
}

static json_t *delivered_json(const struct source *s)
{
    const struct delivered *d = &s->delivered;
    struct gtid_set *part = delivered_part(d);
    json_t *j = json_pack("{s:b,s:s,s:o,s:o}", "known", d->is_known, "reason", d->reason, "gtid-d", gtid_json(d->all),
                          "sent-in-part", gtid_json(part));
    gtid_set_del(part);
    return j;
}

static json_t *counters_json(const struct source *s)
{
    const struct sessions_counters *c = sessions_counters(s->sessions);
    const struct listener_counters *l = listener_counters(s->listener);
    json_t *j = json_object();
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        { "sessions", c->sessions_total },
        { "held", c->held_total },
        { "released", c->released_total },
        { "closed-idle", c->closed_idle_total },
        { "closed-boundary", c->closed_boundary_total },
        { "killed", c->killed_total },
        { "hold-expired", c->hold_expired_total },
        { "hold-full", c->hold_full_total },
        { "hold-hangup", c->hold_hangup_total },
        { "refused", c->refused_total },
        { "legs-opened", c->legs_opened_total },
        { "legs-lost", c->legs_lost_total },
        { "protocol-errors", c->protocol_errors_total },
        { "proxy-headers", c->proxy_headers_total },
        { "proxy-headers-refused", c->proxy_headers_refused_total },
        { "tls-sessions", c->tls_sessions_total },
        { "tls-resumed", c->tls_resumed_total },
        { "tls-client-failed", c->tls_client_failed_total },
        { "tls-backend-failed", c->tls_backend_failed_total },
        { "tls-required", c->tls_required_total },
        { "unknown-commands", c->unknown_commands_total },
        { "emfile", c->emfile_total + l->emfile_total },
        { "nomem", c->nomem_total },
        { "kills-translated", c->kills_translated_total },
        { "kills-refused", c->kills_refused_total },
        { "dumps-refused", c->dumps_refused_total },
        { "streams-cut", c->streams_cut_total },
        { "parks-expired", c->parks_expired_total },
        { "invariant-violations", c->invariant_violations_total },
        { "bytes-to-server", c->bytes_to_server_total },
        { "bytes-to-client", c->bytes_to_client_total },
        { "hold-wait-ms", c->hold_wait_ms_total },
        { "longest-wait-ms", c->hold_wait_ms_longest },
        { "buffered-bytes", c->buffered_bytes },
        { "buffered-bytes-max", c->buffered_bytes_max },
        { "switches-done", s->switches_done },
        { "switches-undone", s->switches_undone },
        { "switches-failed", s->switches_failed },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        json_object_set_new(j, rows[i].name, json_integer((json_int_t)rows[i].value));
    return j;
}

struct client_list {
    const struct source *source;
    json_t *items;
    uint32_t left;
};

/* What a client calls itself is its own bytes, which need be no text. */
static json_t *user_json(const char *user)
{
    json_t *j = text_or_null(user);
    return j == NULL ? json_string("(not UTF-8)") : j;
}

/* Who a client is, by the PROXY header that it came with where there was one, and where it is. */
static bool add_client(void *arg, const struct sessions_client *client)
{
    struct client_list *list = arg;
    const struct source *s = list->source;
    bool has_leg = client->has_leg;
    assert(!has_leg || client->backend_index < s->backend_count);
    if (list->left-- == 0) return false;
    json_array_append_new(
        list->items,
        json_pack("{s:I,s:s,s:o,s:s,s:o,s:o,s:o,s:b,s:o,s:I}", "session", (json_int_t)client->session_id, "client",
                  client->peer, "via", text_or_null(client->via), "phase", client->phase, "backend",
                  has_leg ? json_string(s->backends[client->backend_index].config->name) : json_null(), "epoch",
                  has_leg ? json_integer((json_int_t)client->epoch) : json_null(), "thread",
                  client->thread_id != 0 ? json_integer((json_int_t)client->thread_id) : json_null(), "stream",
                  client->is_stream, "user", user_json(client->user), "age-ms",
                  (json_int_t)(source_now(s) - client->accepted_ms)));
    return true;
}

static json_t *clients_json(const struct source *s, uint32_t client_max)
{
    struct client_list list = { .source = s, .items = json_array(), .left = client_max };
    sessions_each_client(s->sessions, add_client, &list);
    return list.items;
}

static const char *send_name(enum config_proxy_send send)
{
    switch (send) {
    case CONFIG_PROXY_SEND_OFF: return "off";
    case CONFIG_PROXY_SEND_V1: return "v1";
    case CONFIG_PROXY_SEND_V2: return "v2";
    }
    return "";
}

static const char *mode_name(const struct source *s)
{
    switch (sessions_mode_kind(s->sessions)) {
    case SESSIONS_HOLD: return "holding";
    case SESSIONS_ROUTE: return "routing";
    case SESSIONS_REFUSE: return "refusing";
    }
    return "";
}

static json_t *running_json(const struct source *s)
{
    const struct switch_run *run = &s->run;
    if (!run->is_open) return json_null();
    return json_pack("{s:I,s:s,s:s,s:s,s:I,s:I,s:s}", "number", (json_int_t)run->number, "from",
                     run->from->config->name, "to", run->to->config->name, "phase",
                     cutover_state_name(s->cutover.state), "started", (json_int_t)run->started_unix_ms, "elapsed-ms",
                     (json_int_t)(source_now(s) - run->started_ms), "waiting-for", run->waiting);
}

/* Why clients are not routed, in words; "" when they are. */
static void waiting_text(struct source *s, char *out, size_t room)
{
    const struct backend *active = source_active(s);
    *out = '\0';
    if (sessions_mode_kind(s->sessions) == SESSIONS_ROUTE) return;
    if (s->run.is_open && cutover_is_holding(&s->cutover)) {
        snprintf(out, room, "switch %llu: %s", (unsigned long long)s->run.number, cutover_state_name(s->cutover.state));
    } else if (!s->record.has_record) {
        snprintf(out, room, "%s", s->waiting_for);
    } else if (*s->record.latch != '\0') {
        snprintf(out, room, "latched: %s", s->record.latch);
    } else if (s->record.is_held) {
        snprintf(out, room, "held by hand");
    } else if (active != NULL) {
        snprintf(out, room, "backend %s: %s", active->config->name, active->probe_error);
    }
}

json_t *status_source(struct source *s, uint32_t client_max)
{
    char listen[300], waiting[SOURCE_WAITING_LEN + 100];
    struct text t = TEXT_INIT;
    struct config_address bound = s->config->listen;
    json_t *backends = json_array();
    bound.port = listener_port(s->listener);
    config_print_address(&bound, &t);
    snprintf(listen, sizeof listen, "%s", text_str(&t));
    text_free(&t);
    waiting_text(s, waiting, sizeof waiting);
    for (size_t i = 0; i < s->backend_count; i++)
        json_array_append_new(backends, backend_json(s, &s->backends[i]));
    json_t *latch = *s->record.latch == '\0'
                        ? json_null()
                        : json_pack("{s:s,s:s}", "backend", s->record.latch_backend, "reason", s->record.latch);
    const struct {
        const char *key;
        json_t *value; /* its reference passes */
    } members[] = {
        { "source-id", json_string(s->config->source_id) },
        { "listen", json_string(listen) },
        { "active", s->record.has_record ? json_string(s->record.active) : json_null() },
        { "epoch", json_integer((json_int_t)s->record.epoch) },
        { "mode", json_string(mode_name(s)) },
        { "phase", json_string(waiting) },
        { "held-by-hand", json_boolean(s->record.is_held) },
        { "held", json_integer(sessions_held_count(s->sessions)) },
        { "sessions", json_integer(sessions_leg_count(s->sessions)) },
        { "streams", json_integer(sessions_stream_count(s->sessions)) },
        { "delivered", delivered_json(s) },
        { "backends", backends },
        { "consumer", consumer_json(s) },
        { "tls", tls_json(s) },
        { "proxy-protocol", json_pack("{s:b,s:s}", "accepted", s->config->proxy_protocol.accept_from_count > 0, "sent",
                                      send_name(s->config->proxy_protocol.send)) },
        { "latch", latch },
        { "warnings", twins_warnings(s) },
        { "accepted-loss", json_string(s->record.accepted_loss) },
        { "counters", counters_json(s) },
        { "hold-histogram", histogram_json(s) },
        { "switch", running_json(s) },
        { "readdress", readdress_status(s->readdress) },
    };
    json_t *j = json_object();
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        json_object_set_new(j, members[i].key, members[i].value);
    if (client_max > 0) json_object_set_new(j, "clients", clients_json(s, client_max));
    return j;
}

static void append_checks(json_t *list, const struct check_list *checks)
{
    for (size_t i = 0; i < checks->count; i++) {
        const struct check *c = &checks->items[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", c->id, "name", c->name, "state",
                                              check_state_name(c->state), "detail", c->detail, "todo", c->todo));
    }
}

json_t *status_checks(const struct reading *r)
{
    json_t *list = json_array();
    append_checks(list, &r->server_checks);
    append_checks(list, &r->list_checks);
    append_checks(list, &r->gate_checks);
    return list;
}

static const char *run_state_name(const struct source *s)
{
    return record_switch_state_name(s->run.record.state);
}

json_t *switch_run_json(struct source *s)
{
    const struct switch_run *run = &s->run;
    const struct sessions_counters *now = sessions_counters(s->sessions), *then = &run->before;
    uint64_t hold_end = run->hold_ended_ms != 0 ? run->hold_ended_ms : source_now(s);
    bool has_held = run->hold_began_ms != 0;
    const struct sessions_counters none = { 0 };
    if (!has_held) now = then = &none;
    json_t *steps = json_deep_copy(run->steps);
    return json_pack(
        "{s:I,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "number",
        (json_int_t)run->number, "source-id", s->config->source_id, "from", run->from->config->name, "to",
        run->to->config->name, "state", run_state_name(s), "phase",
        run->is_open ? cutover_state_name(s->cutover.state) : (run->record.phase == NULL ? "" : run->record.phase),
        "epoch-from", (json_int_t)run->epoch_from, "epoch-to", (json_int_t)run->epoch_to, "started-unix-ms",
        (json_int_t)run->started_unix_ms, "ended-unix-ms", (json_int_t)run->record.ended_unix_ms, "steps", steps,
        "checks", status_checks(&s->reading), "gtid-d", text_or_null(run->delivered_text), "hold-ms",
        has_held ? (json_int_t)(hold_end - run->hold_began_ms) : 0, "held",
        (json_int_t)(now->held_total - then->held_total), "longest-wait-ms",
        has_held ? (json_int_t)now->window_wait_ms_longest : 0, "closed-idle",
        (json_int_t)(now->closed_idle_total - then->closed_idle_total), "closed-boundary",
        (json_int_t)(now->closed_boundary_total - then->closed_boundary_total), "killed",
        (json_int_t)(now->killed_total - then->killed_total), "threads-killed", (json_int_t)run->thread_kills,
        "options", run->options.json == NULL ? json_object() : json_deep_copy(run->options.json));
}

/* A switch of the past: the report that was written with its end, and over it what the record itself says. */
json_t *status_switch_record(const struct record_switch *r)
{
    json_t *j = r->report == NULL || *r->report == '\0' ? NULL : json_loads(r->report, 0, NULL);
    if (j == NULL) {
        j = json_pack("{s:[],s:[],s:n,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:{}}", "steps", "checks", "gtid-d", "hold-ms", 0,
                      "held", 0, "longest-wait-ms", 0, "closed-idle", 0, "closed-boundary", 0, "killed", 0,
                      "threads-killed", 0, "options");
    }
    json_t *own =
        json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I}", "number", (json_int_t)r->number, "source-id",
                  r->source_id, "from", r->from, "to", r->to, "state", record_switch_state_name(r->state), "phase",
                  r->phase, "epoch-from", (json_int_t)r->epoch_from, "epoch-to", (json_int_t)r->epoch_to,
                  "started-unix-ms", (json_int_t)r->started_unix_ms, "ended-unix-ms", (json_int_t)r->ended_unix_ms);
    json_object_update(j, own);
    json_decref(own);
    return j;
}
