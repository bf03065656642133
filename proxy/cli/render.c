/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/render.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/output.h"
#include "sluice/gtid.h"

/* How many transactions a set has: the figure to compare at a glance. "-" when it is unknown. */
static void add_count(struct table *t, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    struct gtid_set *set = NULL;
    if (text == NULL || gtid_set_parse(text, strlen(text), &set, NULL) != 0)
        table_add(t, "-");
    else
        table_add(t, "%" PRIu64, gtid_set_count(set));
    gtid_set_del(set);
}

static void add_uuid(struct table *t, const json_t *backend)
{
    const char *shown = field_str(backend, "server-uuid", ""), *pinned = field_str(backend, "pinned-uuid", "");
    bool is_wrong = shown[0] != '\0' && pinned[0] != '\0' && strcmp(shown, pinned) != 0;
    table_add(t, "%.8s%s", shown[0] != '\0' ? shown : pinned[0] != '\0' ? pinned : "-", is_wrong ? " NOT ITS PIN" : "");
}

static void render_backends(const json_t *source)
{
    static const char *const heads[] = { "",     "BACKEND",   "ADDRESS", "STATE", "VERSION",
                                         "UUID", "READ-ONLY", "E",       "P",     "CONN" };
    struct table t = { .columns = ARRAY_LEN(heads) };
    const char *active = field_str(source, "active", "");
    const json_t *backends = json_object_get(source, "backends"), *b;
    size_t i;
    for (i = 0; i < ARRAY_LEN(heads); i++)
        table_add(&t, "%s", heads[i]);
    json_array_foreach(backends, i, b)
    {
        const char *name = field_str(b, "name", "?");
        table_add(&t, "%s", strcmp(name, active) == 0 ? "*" : "");
        table_add(&t, "%s", name);
        table_add(&t, "%s", field_str(b, "address", "?"));
        table_add(&t, "%s", json_is_true(json_object_get(b, "reachable")) ? "up" : "unreachable");
        table_add(&t, "%s", field_str(b, "version", "-"));
        add_uuid(&t, b);
        table_add(&t, "%s", field_str(b, "read-only", "-"));
        add_count(&t, b, "gtid-executed");
        add_count(&t, b, "gtid-purged");
        table_add(&t, "%s", field_str(b, "connections", "-"));
    }
    table_print(&t, "  ");
    json_array_foreach(backends, i, b)
    {
        const char *error = field_str(b, "error", "");
        if (error[0] != '\0') output_text("  %s: %s\n", field_str(b, "name", "?"), error);
    }
}

static void render_consumer(const json_t *consumer)
{
    struct table t = { .columns = 3 };
    const json_t *task;
    size_t i;
    if (!json_is_object(consumer)) return;
    const char *error = field_str(consumer, "error", "");
    output_text("  consumer %s%s%s%s\n", field_str(consumer, "type", "?"),
                json_is_true(json_object_get(consumer, "quiet")) ? ", quiet" : "", error[0] == '\0' ? "" : ": ", error);
    json_array_foreach(json_object_get(consumer, "tasks"), i, task)
    {
        table_add(&t, "%s", field_str(task, "name", "?"));
        table_add(&t, "%s", field_str(task, "stage", "?"));
        table_add(&t, "S %s", field_str(task, "gtid-s", "-"));
    }
    table_print(&t, "    ");
}

static void render_alarms(const json_t *source)
{
    const json_t *latch = json_object_get(source, "latch"), *warning;
    size_t i;
    const char *loss = field_str(source, "accepted-loss", "");
    if (json_is_object(latch)) {
        char *text = json_dumps(latch, JSON_COMPACT);
        output_text("  LATCHED: %s; when you know which backend is right: sluice adopt %s BACKEND\n",
                    text == NULL ? "" : text, field_str(source, "source-id", "SOURCE"));
        free(text);
    } else if (json_is_string(latch) && json_string_value(latch)[0] != '\0') {
        output_text("  LATCHED: %s\n", json_string_value(latch));
    }
    if (loss[0] != '\0') output_text("  accepted as lost: %s\n", loss);
    json_array_foreach(json_object_get(source, "warnings"), i, warning)
        output_text("  ! %s\n", json_string_value(warning));
}

/* TLS where there is some, and what cannot work with it. */
static void render_tls(const json_t *tls)
{
    const json_t *limits = json_object_get(tls, "limits"), *limit;
    const char *mode = field_str(tls, "mode", "off");
    size_t i;
    if (strcmp(mode, "off") != 0) output_text("  tls %s\n", mode);
    json_array_foreach(limits, i, limit) output_text("  ! %s\n", json_string_value(limit));
}

/* Only there where one source alone was asked for. */
static void render_clients(const json_t *clients)
{
    static const char *const heads[] = { "SESSION", "CLIENT", "VIA", "PHASE", "BACKEND", "EPOCH", "THREAD", "USER" };
    static const char *const keys[] = { "session", "client", "via", "phase", "backend", "epoch", "thread", "user" };
    struct table t = { .columns = ARRAY_LEN(heads) };
    const json_t *client;
    size_t i;
    if (json_array_size(clients) == 0) return;
    for (i = 0; i < ARRAY_LEN(heads); i++)
        table_add(&t, "%s", heads[i]);
    json_array_foreach(clients, i, client)
    {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            table_add(&t, "%s", field_str(client, keys[k], "-"));
    }
    table_print(&t, "  ");
}

static void render_readdress(const json_t *change)
{
    const char *command = field_str(change, "command", ""), *phase = field_str(change, "phase", "");
    if (!json_is_object(change)) return;
    output_text("  readdress %s: %s -> %s, %s%s\n", field_str(change, "number", "?"), field_str(change, "from", "?"),
                field_str(change, "to", "?"), field_str(change, "phase", "?"),
                command[0] == '\0' ? "" : ", UNFINISHED: DM may not run");
    if (command[0] != '\0')
        output_text("    %s %s\n",
                    strcmp(phase, "undoing") == 0 ? "it is being taken back; to go on:" : "to go on:        ", command);
    if (command[0] != '\0' && strcmp(phase, "undoing") != 0) output_text("    to take it back:  %s --undo\n", command);
}

void render_source(const json_t *source)
{
    const json_t *change = json_object_get(source, "switch");
    output_text("%s  active %s  epoch %s  %s  listen %s  sessions %s  held %s\n", field_str(source, "source-id", "?"),
                field_str(source, "active", "unknown"), field_str(source, "epoch", "-"), field_str(source, "mode", "?"),
                field_str(source, "listen", "?"), field_str(source, "sessions", "0"), field_str(source, "held", "0"));
    const char *why = field_str(source, "phase", "");
    if (why[0] != '\0') output_text("  clients wait: %s\n", why);
    render_tls(json_object_get(source, "tls"));
    render_backends(source);
    render_consumer(json_object_get(source, "consumer"));
    render_alarms(source);
    render_clients(json_object_get(source, "clients"));
    render_readdress(json_object_get(source, "readdress"));
    if (json_is_object(change)) {
        const char *waiting = field_str(change, "waiting-for", "");
        output_text("  switch %s: %s -> %s, %s for %.1f s\n", field_str(change, "number", "?"),
                    field_str(change, "from", "?"), field_str(change, "to", "?"), field_str(change, "phase", "?"),
                    (double)field_int(change, "elapsed-ms") / 1000);
        if (waiting[0] != '\0') output_text("    %s\n", waiting);
    }
}

void render_checks(const json_t *checks, bool all)
{
    struct table t = { .columns = 4 };
    const json_t *check;
    size_t i;
    json_array_foreach(checks, i, check)
    {
        const char *state = field_str(check, "state", "?"), *todo = field_str(check, "todo", "");
        if (!all && strcmp(state, "ok") == 0) continue;
        table_add(&t, "%s", state);
        table_add(&t, "%s", field_str(check, "id", ""));
        table_add(&t, "%s", field_str(check, "name", ""));
        table_add(&t, "%s", field_str(check, "detail", ""));
        if (todo[0] == '\0') continue;
        table_add(&t, "%s", "");
        table_add(&t, "%s", "");
        table_add(&t, "%s", "");
        table_add(&t, "-> %s", todo);
    }
    table_print(&t, "");
}

void render_step(const json_t *step, const char *phase)
{
    output_text("[%9.3f] %-12s %s\n", (double)field_int(step, "at-ms") / 1000, phase, field_str(step, "text", ""));
}

void render_end(const json_t *outcome, int code)
{
    static const char *const words[] = {
        [CLI_EXIT_DONE] = "done",
        [CLI_EXIT_FAILED] = "undone",
        [CLI_EXIT_USAGE] = "not begun",
        [CLI_EXIT_REFUSED] = "refused",
        [CLI_EXIT_LIMIT] = "a limit ran out",
        [CLI_EXIT_UNKNOWN] = "state unknown, look at it",
    };
    const char *kind = field_str(json_object_get(outcome, "options"), "kind", "switch");
    output_text("%s %s of %s to %s: %s\n", kind, field_str(outcome, "number", "?"),
                field_str(outcome, "source-id", "?"), field_str(outcome, "to", "?"), words[code]);
    if (json_object_get(outcome, "hold-ms") == NULL || field_int(outcome, "hold-ms") <= 0) return;
    output_text("clients: held %lld, the longest %lld ms; sessions closed: idle %lld, at a boundary %lld, killed %lld; "
                "hold window %lld ms\n",
                field_int(outcome, "held"), field_int(outcome, "longest-wait-ms"), field_int(outcome, "closed-idle"),
                field_int(outcome, "closed-boundary"), field_int(outcome, "killed"), field_int(outcome, "hold-ms"));
}

static void add_time(struct table *t, json_int_t unix_ms)
{
    char text[32];
    struct tm tm;
    time_t seconds = (time_t)(unix_ms / 1000);
    if (unix_ms > 0 && localtime_r(&seconds, &tm) != NULL && strftime(text, sizeof text, "%F %T", &tm) > 0)
        table_add(t, "%s", text);
    else
        table_add(t, "-");
}

void render_history(const json_t *switches)
{
    static const char *const heads[] = { "SWITCH", "STARTED", "FROM", "TO",    "STATE",
                                         "PHASE",  "HOLD-MS", "HELD", "KILLED" };
    static const char *const keys[] = { "from", "to", "state", "phase", "hold-ms", "held", "killed" };
    struct table t = { .columns = ARRAY_LEN(heads) };
    const json_t *change;
    size_t i;
    for (i = 0; i < ARRAY_LEN(heads); i++)
        table_add(&t, "%s", heads[i]);
    json_array_foreach(switches, i, change)
    {
        table_add(&t, "%s", field_str(change, "number", "?"));
        add_time(&t, field_int(change, "started-unix-ms"));
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            table_add(&t, "%s", field_str(change, keys[k], "-"));
    }
    table_print(&t, "");
}
