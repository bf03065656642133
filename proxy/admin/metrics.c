/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/metrics.h"
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "core/attr.h"
#include "core/text.h"

struct family;
/* Append the samples of |family| that |source| has. */
typedef void (*samples_fn)(struct text *out, const struct family *family, const json_t *source);

struct family {
    const char *name;
    const char *type;
    const char *help;
    samples_fn samples;
    const char *member; /* the JSON member that |samples| reads, where there is one */
};

/* A member of "counters", and the sample it becomes. Those of one family stand together. */
struct counter {
    const char *key; /* without "-total" */
    const char *family;
    const char *type;
    const char *help;
    const char *label; /* `name="value"`, or NULL */
    bool is_ms;        /* shown in seconds */
};

#define ENDED_HELP      "Client connections that Sluice ended, by how."
#define CUTOVERS_HELP   "Switches that ended, by result."
#define TLS_FAILED_HELP "TLS handshakes that failed, by side."
#define KILLS_HELP      "KILLs of connection ids that Sluice gave out, by what became of them."
#define BYTES_HELP      "Bytes relayed, by where they went."

static const struct counter counters[] = {
    { "sessions", "sluice_sessions_total", "counter", "Clients accepted, refused ones included.", NULL, false },
    { "closed-idle", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"closed-idle\"", false },
    { "closed-boundary", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"closed-boundary\"", false },
    { "killed", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"killed\"", false },
    { "hold-expired", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"hold-expired\"", false },
    { "hold-full", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"hold-full\"", false },
    { "hold-hangup", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"hold-hangup\"", false },
    { "refused", "sluice_sessions_ended_total", "counter", ENDED_HELP, "how=\"refused\"", false },
    { "held", "sluice_hold_clients_total", "counter", "Clients that began to wait.", NULL, false },
    { "released", "sluice_hold_released_total", "counter", "Held clients that were given a backend.", NULL, false },
    { "hold-wait-ms", "sluice_hold_wait_seconds_total", "counter", "Time that clients waited, all waits together.",
      NULL, true },
    { "longest-wait-ms", "sluice_hold_wait_longest_seconds", "gauge", "The longest wait of a client ever.", NULL,
      true },
    { "legs-opened", "sluice_backend_connections_opened_total", "counter", "Connections made for clients.", NULL,
      false },
    { "legs-lost", "sluice_backend_connections_lost_total", "counter",
      "Connections made for clients that ended without their or Sluice's doing.", NULL, false },
    { "protocol-errors", "sluice_protocol_errors_total", "counter", "Peers that did not speak the MySQL protocol.",
      NULL, false },
    { "proxy-headers", "sluice_proxy_headers_total", "counter", "PROXY headers read from clients.", NULL, false },
    { "proxy-headers-refused", "sluice_proxy_headers_refused_total", "counter",
      "Clients turned away because a PROXY header had to come and none that is valid did.", NULL, false },
    { "tls-sessions", "sluice_tls_sessions_total", "counter", "Sessions that began TLS with client and backend.", NULL,
      false },
    { "tls-resumed", "sluice_tls_resumed_total", "counter",
      "Of these, those that went on from an earlier TLS session with the backend.", NULL, false },
    { "tls-client-failed", "sluice_tls_failed_total", "counter", TLS_FAILED_HELP, "side=\"client\"", false },
    { "tls-backend-failed", "sluice_tls_failed_total", "counter", TLS_FAILED_HELP, "side=\"backend\"", false },
    { "tls-required", "sluice_tls_required_total", "counter", "Plain clients refused because TLS is required.", NULL,
      false },
    { "unknown-commands", "sluice_unknown_commands_total", "counter",
      "Commands that are not known; their sessions end at the drain's deadline.", NULL, false },
    { "kills-translated", "sluice_kills_total", "counter", KILLS_HELP, "result=\"translated\"", false },
    { "kills-refused", "sluice_kills_total", "counter", KILLS_HELP, "result=\"refused\"", false },
    { "dumps-refused", "sluice_dumps_refused_total", "counter", "Binlog dumps that were refused.", NULL, false },
    { "streams-cut", "sluice_streams_cut_total", "counter", "Binlog streams that ended inside a transaction.", NULL,
      false },
    { "parks-expired", "sluice_parks_expired_total", "counter",
      "Parked binlog streams that were closed at their boundary after 20 s.", NULL, false },
    { "emfile", "sluice_descriptors_exhausted_total", "counter", "Clients without a backend for want of a descriptor.",
      NULL, false },
    { "nomem", "sluice_memory_exhausted_total", "counter", "Clients ended for want of memory.", NULL, false },
    { "invariant-violations", "sluice_invariant_violations_total", "counter",
      "Times that connections to two backends would have existed; stays 0.", NULL, false },
    { "bytes-to-server", "sluice_relayed_bytes_total", "counter", BYTES_HELP, "to=\"server\"", false },
    { "bytes-to-client", "sluice_relayed_bytes_total", "counter", BYTES_HELP, "to=\"client\"", false },
    { "buffered-bytes", "sluice_buffered_bytes", "gauge", "Memory held for bytes that a peer has not taken.", NULL,
      false },
    { "buffered-bytes-max", "sluice_buffered_bytes_max", "gauge", "The most that was ever held for slow peers.", NULL,
      false },
    { "switches-done", "sluice_cutovers_total", "counter", CUTOVERS_HELP, "result=\"done\"", false },
    { "switches-undone", "sluice_cutovers_total", "counter", CUTOVERS_HELP, "result=\"undone\"", false },
    { "switches-failed", "sluice_cutovers_total", "counter", CUTOVERS_HELP, "result=\"failed\"", false },
};

static void put_head(struct text *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `key="value"` with the value escaped; |before| is what stands in front of it, "{" or ",". */
static void put_label(struct text *out, const char *before, const char *key, const char *value)
{
    text_printf(out, "%s%s=\"", before, key);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\n') {
            text_puts(out, "\\n");
            continue;
        }
        if (*p == '"' || *p == '\\') text_puts(out, "\\");
        text_append(out, p, 1);
    }
    text_puts(out, "\"");
}

static const char *string_of(const json_t *object, const char *member)
{
    const char *s = json_string_value(json_object_get(object, member));
    return s == NULL ? "" : s;
}

static void put_source(struct text *out, const char *name, const json_t *source)
{
    text_puts(out, name);
    put_label(out, "{", "source", string_of(source, "source-id"));
}

static void put_number(struct text *out, double value)
{
    text_printf(out, "%.15g\n", value);
}

/* A number that may be a sample's value, from a member of |object|. */
static bool number_of(const json_t *object, const char *member, double *value)
{
    const json_t *j = json_object_get(object, member);
    if (!json_is_number(j)) return false;
    *value = json_number_value(j);
    return isfinite(*value);
}

/* --- one value a source --- */

static void sample_number(struct text *out, const struct family *family, const json_t *source)
{
    double value;
    if (!number_of(source, family->member, &value)) return;
    put_source(out, family->name, source);
    text_puts(out, "} ");
    put_number(out, value);
}

/* A state is the label of a sample that is always 1. */
static void sample_state(struct text *out, const struct family *family, const json_t *source)
{
    const char *state = json_string_value(json_object_get(source, family->member));
    if (state == NULL || *state == '\0') return;
    put_source(out, family->name, source);
    put_label(out, ",", family->member, state);
    text_puts(out, "} 1\n");
}

static void sample_phase(struct text *out, const struct family *family, const json_t *source)
{
    const char *phase = string_of(json_object_get(source, "switch"), "phase");
    put_source(out, family->name, source);
    put_label(out, ",", "phase", *phase == '\0' ? "idle" : phase);
    text_puts(out, "} 1\n");
}

static void sample_switch_elapsed(struct text *out, const struct family *family, const json_t *source)
{
    double elapsed_ms = 0;
    (void)number_of(json_object_get(source, "switch"), "elapsed-ms", &elapsed_ms); /* no switch: 0 */
    put_source(out, family->name, source);
    text_puts(out, "} ");
    put_number(out, elapsed_ms / 1000);
}

static void sample_latched(struct text *out, const struct family *family, const json_t *source)
{
    const json_t *latch = json_object_get(source, "latch");
    if (latch == NULL) return;
    put_source(out, family->name, source);
    if (json_is_object(latch)) put_label(out, ",", "backend", string_of(latch, "backend"));
    text_printf(out, "} %d\n", json_is_object(latch));
}

/* --- one value a backend --- */

static void sample_backends(struct text *out, const struct family *family, const json_t *source)
{
    size_t i;
    const json_t *backend;
    json_array_foreach(json_object_get(source, "backends"), i, backend)
    {
        const char *name = json_string_value(json_object_get(backend, "name"));
        double value = 0;
        if (name == NULL) continue;
        if (family->member == NULL) {
            value = strcmp(name, string_of(source, "active")) == 0;
        } else if (json_is_boolean(json_object_get(backend, family->member))) {
            value = json_is_true(json_object_get(backend, family->member));
        } else if (!number_of(backend, family->member, &value)) {
            continue;
        }
        put_source(out, family->name, source);
        put_label(out, ",", "backend", name);
        text_puts(out, "} ");
        put_number(out, value);
    }
}

/* --- the histogram of waits --- */

static void put_bucket(struct text *out, const char *name, const json_t *source, const char *le, double count)
{
    put_source(out, name, source);
    text_printf(out, ",le=\"%s\"} ", le);
    put_number(out, count);
}

static bool numbers_only(const json_t *array)
{
    size_t i;
    const json_t *value;
    if (!json_is_array(array)) return false;
    json_array_foreach(array, i, value)
    {
        if (!json_is_number(value) || !isfinite(json_number_value(value))) return false;
    }
    return true;
}

static void sample_histogram(struct text *out, const struct family *family, const json_t *source)
{
    const json_t *histogram = json_object_get(source, family->member);
    const json_t *bounds = json_object_get(histogram, "bounds-ms");
    const json_t *counts = json_object_get(histogram, "counts");
    size_t n = json_array_size(bounds);
    double sum_ms;
    if (!numbers_only(bounds) || !numbers_only(counts) || !number_of(histogram, "sum-ms", &sum_ms)) return;
    if (json_array_size(counts) != n && json_array_size(counts) != n + 1) return;
    double total = 0;
    char le[32];
    for (size_t i = 0; i < n; i++) {
        total += json_number_value(json_array_get(counts, i));
        snprintf(le, sizeof le, "%.15g", json_number_value(json_array_get(bounds, i)) / 1000);
        put_bucket(out, "sluice_hold_seconds_bucket", source, le, total);
    }
    if (json_array_size(counts) > n) total += json_number_value(json_array_get(counts, n));
    put_bucket(out, "sluice_hold_seconds_bucket", source, "+Inf", total);
    put_source(out, "sluice_hold_seconds_sum", source);
    text_puts(out, "} ");
    put_number(out, sum_ms / 1000);
    put_source(out, "sluice_hold_seconds_count", source);
    text_puts(out, "} ");
    put_number(out, total);
}

static const struct family families[] = {
    { "sluice_cutover_phase", "gauge", "1 for the phase that the source's switch is in, idle without one.",
      sample_phase, NULL },
    { "sluice_cutover_elapsed_seconds", "gauge", "Time since the switch in progress began, 0 without one.",
      sample_switch_elapsed, NULL },
    { "sluice_source_mode", "gauge", "1 for what new clients meet: routing, holding or refusing.", sample_state,
      "mode" },
    { "sluice_epoch", "gauge", "Raised by one at every switch.", sample_number, "epoch" },
    { "sluice_held_connections", "gauge", "Clients that wait now.", sample_number, "held" },
    { "sluice_session_connections", "gauge", "Sessions that are open now.", sample_number, "sessions" },
    { "sluice_stream_connections", "gauge", "Those of them that carry a binlog.", sample_number, "streams" },
    { "sluice_hold_seconds", "histogram", "How long held clients waited.", sample_histogram, "hold-histogram" },
    { "sluice_backend_up", "gauge", "1 when the last probe reached the backend.", sample_backends, "reachable" },
    { "sluice_backend_active", "gauge", "1 for the backend that clients are routed to.", sample_backends, NULL },
    { "sluice_backend_connections", "gauge", "Connections made for clients that are open now.", sample_backends,
      "connections" },
    { "sluice_source_latched", "gauge", "1 when a person must clear a latch before anything passes.", sample_latched,
      NULL },
};

/* --- counters --- */

static bool key_is(const char *key, const char *name)
{
    static const char suffix[] = "-total";
    size_t len = strlen(name);
    if (strncmp(key, name, len) != 0) return false;
    return key[len] == '\0' || strcmp(key + len, suffix) == 0;
}

static void put_counter(struct text *out, const struct counter *counter, const json_t *source)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(source, "counters"), key, value)
    {
        if (!key_is(key, counter->key) || !json_is_number(value)) continue;
        put_source(out, counter->family, source);
        if (counter->label != NULL) text_printf(out, ",%s", counter->label);
        text_puts(out, "} ");
        put_number(out, counter->is_ms ? json_number_value(value) / 1000 : json_number_value(value));
        return;
    }
}

static void put_known_counters(struct text *out, const json_t *sources)
{
    for (size_t first = 0, end; first < ARRAY_LEN(counters); first = end) {
        const struct counter *counter = &counters[first];
        for (end = first + 1; end < ARRAY_LEN(counters); end++) {
            if (strcmp(counters[end].family, counter->family) != 0) break;
        }
        put_head(out, counter->family, counter->type, counter->help);
        size_t s;
        const json_t *source;
        json_array_foreach(sources, s, source)
        {
            for (size_t i = first; i < end; i++)
                put_counter(out, &counters[i], source);
        }
    }
}

/* A name that this table does not know yet, and that can be made a metric's. */
static bool is_stray(const char *key, const json_t *value)
{
    if (!json_is_number(value) || *key == '\0' || key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0') {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        if (key_is(key, counters[i].key)) return false;
    }
    return true;
}

static void put_stray(struct text *out, const char *key, const json_t *sources)
{
    struct text name = TEXT_INIT;
    size_t i;
    const json_t *source;
    text_puts(&name, "sluice_source_");
    for (const char *p = key; *p != '\0'; p++)
        text_append(&name, *p == '-' ? "_" : p, 1);
    put_head(out, text_str(&name), "untyped", "A counter of the source that has no name of its own here yet.");
    json_array_foreach(sources, i, source)
    {
        double value;
        if (!number_of(json_object_get(source, "counters"), key, &value)) continue;
        put_source(out, text_str(&name), source);
        text_puts(out, "} ");
        put_number(out, value);
    }
    if (name.status != 0) out->status = name.status;
    text_free(&name);
}

static void put_stray_counters(struct text *out, const json_t *sources)
{
    json_t *seen = json_object();
    size_t i;
    const json_t *source;
    json_array_foreach(sources, i, source)
    {
        const char *key;
        json_t *value;
        json_object_foreach(json_object_get(source, "counters"), key, value)
        {
            if (!is_stray(key, value) || json_object_get(seen, key) != NULL) continue;
            if (json_object_set_new(seen, key, json_true()) != 0) continue; /* no memory: rather none than twice */
            put_stray(out, key, sources);
        }
    }
    json_decref(seen);
}

void admin_metrics_render(const json_t *doc, struct text *out)
{
    const json_t *sources = json_object_get(doc, "sources");
    size_t s;
    const json_t *source;
    put_head(out, "sluice_build_info", "gauge", "1, labelled with what was built.");
    text_puts(out, "sluice_build_info");
    put_label(out, "{", "version", SLUICE_VERSION);
    put_label(out, ",", "compiler", __VERSION__);
    text_puts(out, "} 1\n");
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        put_head(out, families[i].name, families[i].type, families[i].help);
        json_array_foreach(sources, s, source) families[i].samples(out, &families[i], source);
    }
    put_known_counters(out, sources);
    put_stray_counters(out, sources);
    admin_metrics_process(out);
}
