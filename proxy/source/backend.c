/* SPDX-License-Identifier: Apache-2.0 */
/* One server: names resolved, probed, pinned, confirmed. Which of them is active is not known here. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

enum { PIN_WRITE_MS = 10000 };

static void probe_begin(struct backend *b);

void backend_address_text(const struct backend *b, char *out, size_t room)
{
    struct text t = TEXT_INIT;
    config_print_address(&b->config->address, &t);
    snprintf(out, room, "%s", text_str(&t));
    text_free(&t);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct backend *b = handle->data;
    b->source->handles--;
    source_job_ended(b->source); /* looks whether that was the last */
}

static void on_timer(uv_timer_t *timer)
{
    struct backend *b = timer->data;
    if (b->activity == BACKEND_IDLE) probe_begin(b);
}

static void schedule(struct backend *b, uint64_t in_ms)
{
    if (!b->source->is_closing) uv_timer_start(&b->timer, on_timer, in_ms, 0);
}

static void note_error(struct backend *b, int status, const char *text)
{
    bool is_news = b->is_reachable || b->probe_status != status;
    b->is_reachable = false;
    b->probe_status = status;
    snprintf(b->probe_error, sizeof b->probe_error, "%s", text);
    if (is_news) {
        log_warn("backend does not answer", LOG_STR("source", b->source->config->source_id),
                 LOG_STR("backend", b->config->name), LOG_STR("error", error_name(status)), LOG_STR("text", text),
                 LOG_STR("hint", "see: sluice status"));
    }
    source_admit(b->source); /* what held clients are told */
}

static void on_pin_written(void *arg, int status, uint64_t number)
{
    struct backend *b = arg;
    struct source *s = b->source;
    (void)number;
    b->is_pinning = false;
    if (status != 0) b->pin_is_behind = true;
    if (status == 0 && *b->pin == '\0') {
        memcpy(b->pin, b->pinning, sizeof b->pin);
        log_info("backend pinned", LOG_STR("source", s->config->source_id), LOG_STR("backend", b->config->name),
                 LOG_STR("server_uuid", b->pin));
        backend_probe_now(b);
    }
    s->jobs--;
    source_job_ended(s);
}

static int pin_record(struct backend *b, const char *uuid, const struct gtid_set *executed, struct record_pin *out)
{
    char *text = gtid_set_print(executed, GTID_SEPARATOR_COMMA, NULL);
    if (text == NULL) return SLUICE_ERR_NOMEM;
    *out = (struct record_pin){ .updated_unix_ms = source_unix_ms() };
    int rv = record_set(&out->source_id, b->source->config->source_id);
    if (rv == 0) rv = record_set(&out->backend, b->config->name);
    if (rv == 0) rv = record_set(&out->server_uuid, uuid);
    if (rv == 0) rv = record_set(&out->executed, text);
    gtid_free(text);
    if (rv != 0) record_pin_free(out);
    return rv;
}

static void write_pin(struct backend *b, const char *uuid, const struct gtid_set *executed)
{
    struct record_pin pin;
    if (b->is_pinning || pin_record(b, uuid, executed, &pin) != 0) return;
    b->is_pinning = true;
    b->pin_is_behind = false;
    snprintf(b->pinning, sizeof b->pinning, "%s", uuid);
    b->pin_written_ms = source_now(b->source);
    b->source->jobs++;
    journal_pin_put(b->source->host.journal, &pin, b->source->host.mailbox, on_pin_written, b);
    record_pin_free(&pin);
}

void backend_write_pin(struct backend *b, struct journal_txn *txn)
{
    struct record_pin pin;
    if (*b->pin == '\0' || b->executed == NULL || pin_record(b, b->pin, b->executed, &pin) != 0) return;
    journal_txn_pin_put(txn, &pin);
    record_pin_free(&pin);
}

/* A backend's E never shrinks. If it does, what was delivered from it may be gone, and its numbers may be used again. */
void backend_latch(struct backend *b, const struct gtid_set *missing, const char *which)
{
    struct source *s = b->source;
    char ranges[400];
    struct text text = TEXT_INIT;
    gtid_set_describe(missing, ranges, sizeof ranges);
    text_printf(&text, "rewound: it no longer has %s, %s", ranges, which);
    /* There is one latch: that of the active backend stays until a person clears it, and the other one is found again. */
    struct backend *active = source_active(s);
    b->is_confirmed = false;
    if (active != NULL && active != b && backend_is_latched(active)) {
        text_free(&text);
        return;
    }
    if (*s->record.latch == '\0') {
        log_error("backend was set back: no stream and no switch until a person clears it",
                  LOG_STR("source", s->config->source_id), LOG_STR("backend", b->config->name),
                  LOG_STR("missing", ranges), LOG_STR("hint", "rebuild it, then: sluice repin SOURCE BACKEND"));
    }
    if (record_set(&s->record.latch, text_str(&text)) == 0 &&
        record_set(&s->record.latch_backend, b->config->name) == 0)
        s->latch_is_dirty = true;
    text_free(&text);
}

bool backend_is_latched(const struct backend *b)
{
    return *b->source->record.latch != '\0' && strcmp(b->source->record.latch_backend, b->config->name) == 0;
}

/* Also within the time between two probes a server can lose what it sent, and use the numbers again: then E alone shows nothing. */
static bool has_what_it_sent(struct backend *b)
{
    struct gtid_set *missing = NULL;
    if (b->sent == NULL || gtid_set_subtract(b->sent, b->facts.executed, &missing) != 0) return true;
    bool has_all = gtid_set_remove_set(missing, b->facts.owned) != 0 || gtid_set_is_empty(missing);
    if (!has_all) backend_latch(b, missing, "which it had sent to readers");
    gtid_set_del(missing);
    return has_all;
}

/* Its E against the largest ever seen. Returns false when it was set back. */
static bool executed_has_grown(struct backend *b)
{
    struct gtid_set *missing = NULL;
    if (backend_is_latched(b) || !has_what_it_sent(b)) return false;
    if (b->executed != NULL && !gtid_set_contains(b->facts.executed, b->executed)) {
        if (gtid_set_subtract(b->executed, b->facts.executed, &missing) == 0)
            backend_latch(b, missing, "which it had before");
        gtid_set_del(missing);
        return false;
    }
    struct gtid_set *copy = gtid_set_copy(b->facts.executed);
    if (copy == NULL) return true;
    if (b->executed == NULL || !gtid_set_equal(copy, b->executed)) b->pin_is_behind = true;
    gtid_set_del(b->executed);
    b->executed = copy;
    if (b->pin_is_behind && source_now(b->source) - b->pin_written_ms >= PIN_WRITE_MS)
        write_pin(b, b->pin, b->executed);
    return true;
}

static const struct backend *other_with_uuid(const struct backend *b, const char *uuid)
{
    for (size_t i = 0; i < b->source->backend_count; i++) {
        const struct backend *other = &b->source->backends[i];
        if (other != b && strcmp(other->pin, uuid) == 0) return other;
    }
    return NULL;
}

static void alarm_wrong_server(struct backend *b, const char *text)
{
    if (!b->is_wrong) {
        log_error("another server answers under a backend's address: nobody is routed there",
                  LOG_STR("source", b->source->config->source_id), LOG_STR("backend", b->config->name),
                  LOG_STR("text", text), LOG_STR("hint", "see: sluice status"));
    }
    b->is_wrong = true;
    b->is_confirmed = false;
    b->probe_status = SLUICE_ERR_WRONG_SERVER;
    snprintf(b->probe_error, sizeof b->probe_error, "%s", text);
}

/* Promise 1: which server is it? A greeting carries no uuid, so only a probe can tell. */
static void identify(struct backend *b)
{
    const char *uuid = b->facts.server_uuid;
    char text[BACKEND_ERROR_LEN];
    const struct backend *twin = other_with_uuid(b, uuid);
    if (*b->pin == '\0' && twin != NULL) {
        snprintf(text, sizeof text, "%s is the server that backend %s is: correct the addresses", uuid,
                 twin->config->name);
        alarm_wrong_server(b, text);
    } else if (*b->pin == '\0') {
        write_pin(b, uuid, b->facts.executed);
    } else if (strcmp(b->pin, uuid) != 0) {
        snprintf(text, sizeof text, "server_uuid is %s, pinned is %s; if that is meant: sluice repin %.64s %.64s", uuid,
                 b->pin, b->source->config->source_id, b->config->name);
        alarm_wrong_server(b, text);
    } else {
        b->is_wrong = false;
        if (executed_has_grown(b) && !b->wants_probe) b->is_confirmed = true;
    }
    source_admit(b->source);
}

static void on_probed(void *arg, int status, const struct upstream_error *error)
{
    struct backend *b = arg;
    struct source *s = b->source;
    b->activity = BACKEND_IDLE;
    if (s->is_closing) {
        facts_free(&b->incoming);
    } else if (status != 0) {
        facts_free(&b->incoming);
        if (b->address_count > 1) b->address_at = (b->address_at + 1) % b->address_count;
        note_error(b, status, error->text);
    } else {
        if (!b->is_reachable) {
            log_info("backend answers", LOG_STR("source", s->config->source_id), LOG_STR("backend", b->config->name),
                     LOG_STR("version", b->incoming.version), LOG_STR("server_uuid", b->incoming.server_uuid));
        }
        b->is_reachable = true;
        b->probe_status = 0;
        b->probe_error[0] = '\0';
        facts_free(&b->facts);
        b->facts = b->incoming;
        b->incoming = (struct facts){ 0 };
        b->facts.probed_ms = source_now(s);
        b->has_facts = true;
        identify(b);
    }
    bool is_urgent = b->wants_probe;
    b->wants_probe = false;
    schedule(b, is_urgent ? 1 : s->config->limits.probe_interval_ms);
    s->jobs--;
    source_write_latch(s);
    if (!s->is_closing && !s->record.has_record) first_start_judge(s);
    source_job_ended(s);
}

static int run_probe(void *arg, struct connector *c, struct upstream_error *error)
{
    struct backend *b = arg; /* |incoming| is the job's while it runs */
    return facts_read(c, &b->incoming, error);
}

static void probe_submit(struct backend *b)
{
    struct source *s = b->source;
    char key[64];
    const struct sockaddr_storage *next = &b->addresses[b->address_at];
    /* Only an address under which the pinned uuid was seen is confirmed: of a name with several, the next one is not yet. */
    if (memcmp(&b->target.addr, next, sizeof *next) != 0) b->is_confirmed = false;
    b->target.addr = *next;
    upstream_target_text(&b->target, key, sizeof key);
    gtid_set_del(b->sent);
    b->sent = b == source_active(s) ? gtid_set_copy(s->delivered.sent) : NULL;
    const struct upstream_job job = { .target = &b->target,
                                      .key = key,
                                      .lane = UPSTREAM_LANE_ORDINARY,
                                      .timeout_ms = s->config->limits.probe_timeout_ms,
                                      .run = run_probe,
                                      .done = on_probed,
                                      .arg = b,
                                      .mailbox = s->host.mailbox };
    int rv = upstream_pool_submit(s->host.pool, &job, NULL);
    if (rv != 0) {
        b->activity = BACKEND_IDLE;
        note_error(b, rv, "the probe could not be started");
        schedule(b, s->config->limits.probe_interval_ms);
        return;
    }
    b->activity = BACKEND_PROBING;
    s->jobs++;
}

/* The address in use stays first as long as the name still has it. */
static void take_addresses(struct backend *b, const struct addrinfo *list)
{
    size_t count = 0, at = 0;
    const struct sockaddr_storage in_use = b->addresses[b->address_at];
    for (const struct addrinfo *a = list; a != NULL && count < BACKEND_ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
        struct sockaddr_storage addr = { 0 };
        memcpy(&addr, a->ai_addr, a->ai_addrlen);
        if (b->address_count > 0 && memcmp(&addr, &in_use, sizeof addr) == 0) at = count;
        b->addresses[count++] = addr;
    }
    if (count == 0) return;
    b->address_count = count;
    b->address_at = at;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct backend *b = req->data;
    struct source *s = b->source;
    s->jobs--;
    b->activity = BACKEND_IDLE;
    if (!s->is_closing && status != 0) {
        char text[BACKEND_ERROR_LEN];
        snprintf(text, sizeof text, "the name %s cannot be resolved: %s", b->config->address.host, uv_strerror(status));
        note_error(b, SLUICE_ERR_UNREACHABLE, text);
        schedule(b, s->config->limits.probe_interval_ms);
    } else if (!s->is_closing) {
        struct sockaddr_storage in_use = b->addresses[b->address_at];
        take_addresses(b, list);
        if (b->is_confirmed && memcmp(&in_use, &b->addresses[b->address_at], sizeof in_use) != 0)
            b->is_confirmed = false;
        if (b->address_count > 0) probe_submit(b);
    }
    if (list != NULL) uv_freeaddrinfo(list);
    source_job_ended(s);
}

static void probe_begin(struct backend *b)
{
    char port[8];
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    if (b->source->is_closing) return;
    snprintf(port, sizeof port, "%u", b->config->address.port);
    if (b->address_count > 0 && b->resolve.data == NULL) { /* a numeric address does not change */
        probe_submit(b);
        return;
    }
    b->resolve.data = b;
    if (uv_getaddrinfo(b->source->host.loop, &b->resolve, on_resolved, b->config->address.host, port, &hints) != 0) {
        note_error(b, SLUICE_ERR_NOMEM, "the name could not be looked up");
        schedule(b, b->source->config->limits.probe_interval_ms);
        return;
    }
    b->activity = BACKEND_RESOLVING;
    b->source->jobs++;
}

int backend_init(struct backend *b, struct source *s, uint32_t index, const struct record_pin *pin)
{
    const struct config_source *config = s->config;
    *b = (struct backend){ .source = s, .config = &config->backends[index], .index = index };
    const struct upstream_target target = { .host = b->config->address.host,
                                            .user = config->account.user,
                                            .password = config->account.password,
                                            .tls = config->account.tls_mode,
                                            .tls_ca = config->account.tls_ca,
                                            .bind = config->source_address,
                                            .proxy_version = source_own_proxy_version(config) };
    int rv = upstream_target_copy(&target, &b->target);
    if (rv != 0) return rv;
    struct sockaddr_storage *first = &b->addresses[0];
    if (uv_ip4_addr(b->config->address.host, b->config->address.port, (struct sockaddr_in *)first) == 0 ||
        uv_ip6_addr(b->config->address.host, b->config->address.port, (struct sockaddr_in6 *)first) == 0)
        b->address_count = 1;
    if (pin != NULL) {
        snprintf(b->pin, sizeof b->pin, "%s", pin->server_uuid);
        struct gtid_set *executed = NULL;
        if (gtid_set_parse(pin->executed, strlen(pin->executed), &executed, NULL) == 0) b->executed = executed;
    }
    snprintf(b->probe_error, sizeof b->probe_error, "not probed yet");
    return 0;
}

void backend_start(struct backend *b)
{
    uv_timer_init(b->source->host.loop, &b->timer);
    b->timer.data = b;
    b->source->handles++;
    probe_begin(b);
}

void backend_probe_now(struct backend *b)
{
    if (b->activity == BACKEND_IDLE) {
        schedule(b, 0);
    } else {
        b->wants_probe = true;
    }
}

void backend_lost_leg(struct backend *b)
{
    b->is_confirmed = false;
    backend_probe_now(b);
}

void backend_confirm(struct backend *b, const struct upstream_target *at)
{
    b->target.addr = at->addr;
    b->is_confirmed = true;
    b->is_wrong = false;
}

void backend_close(struct backend *b)
{
    uv_close((uv_handle_t *)&b->timer, on_handle_closed);
    if (b->activity == BACKEND_RESOLVING) uv_cancel((uv_req_t *)&b->resolve);
}

void backend_free(struct backend *b)
{
    upstream_target_free(&b->target);
    facts_free(&b->facts);
    facts_free(&b->incoming);
    gtid_set_del(b->executed);
    gtid_set_del(b->sent);
}
