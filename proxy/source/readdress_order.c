/* SPDX-License-Identifier: Apache-2.0 */
/* An operator's order to change the address: what is in it, whether it can be begun, and how one that was left is gone on with. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/log.h"
#include "config/dm_file.h"
#include "consumer/dm_bodies.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/readdress_run.h"

enum { CODE_DONE = 0, CODE_FAILED = 1, CODE_USAGE = 2, CODE_REFUSED = 3, TEXT_LEN = 700 };

static void reply_text(struct source_call *call, int http, int code, const char *fmt, ...) SLUICE_PRINTF(4, 5);

static void reply_text(struct source_call *call, int http, int code, const char *fmt, ...)
{
    char text[TEXT_LEN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    call->done(call, http, json_pack("{s:b,s:s,s:i}", "result", code == CODE_DONE, "msg", text, "code", code));
}

/* ---- addresses ---- */

void readdress_side_free(struct readdress_side *side)
{
    mem_free(side->address.host);
    mem_free(side->name);
    *side = (struct readdress_side){ 0 };
}

static bool is_same_address(const struct config_address *a, const struct config_address *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

/* This source's own listener, by any of its names; where it is bound to all addresses they are not known one by one. */
static bool is_listener(const struct source *s, const struct config_address *address)
{
    bool is_it = is_same_address(address, &s->config->listen);
    for (size_t i = 0; i < s->config->advertise_count; i++)
        is_it = is_it || is_same_address(address, &s->config->advertise[i]);
    return is_it;
}

int readdress_side_set(struct readdress_run *run, struct readdress_side *side, const char *text)
{
    struct text name = TEXT_INIT;
    struct readdress_side made = { .run = run };
    int rv = config_parse_address(text, &made.address);
    if (rv != 0) return rv;
    config_print_address(&made.address, &name);
    made.name = text_take(&name);
    made.is_listener = is_listener(run->source, &made.address);
    struct sockaddr_storage *addr = &made.addr;
    made.is_resolved = uv_ip4_addr(made.address.host, made.address.port, (struct sockaddr_in *)addr) == 0 ||
                       uv_ip6_addr(made.address.host, made.address.port, (struct sockaddr_in6 *)addr) == 0;
    if (made.name == NULL) {
        readdress_side_free(&made);
        return SLUICE_ERR_NOMEM;
    }
    readdress_side_free(side);
    *side = made;
    return 0;
}

/* ---- files ---- */

static void secret_free(char *text)
{
    if (text != NULL) explicit_bzero(text, strlen(text));
    mem_free(text);
}

void readdress_files_free(struct readdress_files *f)
{
    for (size_t i = 0; i < f->task_count; i++) {
        mem_free((char *)(uintptr_t)f->tasks[i].name); /* made by add_task(); dm_mover borrows them as const */
        secret_free((char *)(uintptr_t)f->tasks[i].text);
    }
    mem_free(f->tasks);
    secret_free(f->old_text);
    secret_free(f->new_text);
    mem_free(f->user);
    mem_free(f->bad_tasks);
    json_decref(f->digests);
    *f = (struct readdress_files){ 0 };
}

static int add_digest(json_t *object, const char *name, const char *text)
{
    char digest[DIGEST_TEXT_LEN + 1];
    int rv = digest_sha256(text, strlen(text), digest);
    return rv != 0 || json_object_set_new(object, name, json_string(digest)) != 0 ? SLUICE_ERR_NOMEM : 0;
}

/* A file that is no YAML is an error; one that cannot be used here is a line of the check. */
static int judge_task(const struct readdress_run *run, const struct dm_task_file *file, struct text *bad)
{
    const char *id = run->source->config->source_id;
    if (!dm_task_file_has(file, id))
        text_printf(bad, "%sthe file of task %s does not name source %s", bad->len == 0 ? "" : "; ", file->name, id);
    if (file->removes_meta)
        text_printf(bad, "%sthe file of task %s says remove-meta: true, by which its checkpoint would be lost",
                    bad->len == 0 ? "" : "; ", file->name);
    for (size_t i = 0; i < run->files.task_count; i++) {
        if (strcmp(run->files.tasks[i].name, file->name) == 0)
            text_printf(bad, "%stwo files were given for task %s", bad->len == 0 ? "" : "; ", file->name);
    }
    return bad->status;
}

static int add_task(struct readdress_run *run, const char *text, size_t number, json_t *digests, struct text *bad,
                    struct text *error)
{
    struct readdress_files *f = &run->files;
    struct dm_task_file file;
    struct text why = TEXT_INIT;
    int rv = dm_file_read_task(text, strlen(text), &file, &why);
    if (rv == SLUICE_ERR_SYNTAX) text_printf(error, "task file %zu: %s", number, text_str(&why));
    text_free(&why);
    if (rv != 0) return rv;
    rv = judge_task(run, &file, bad);
    if (rv == 0) rv = add_digest(digests, file.name, text);
    char *name = rv == 0 ? mem_strdup(file.name) : NULL, *copy = rv == 0 ? mem_strdup(text) : NULL;
    dm_task_file_free(&file);
    if (name == NULL || copy == NULL) {
        mem_free(name);
        secret_free(copy);
        return SLUICE_ERR_NOMEM;
    }
    f->tasks[f->task_count++] = (struct dm_mover_task){ .name = name, .text = copy };
    return 0;
}

static int take_tasks(struct readdress_run *run, const json_t *list, struct text *error)
{
    struct readdress_files *f = &run->files;
    struct text bad = TEXT_INIT;
    json_t *digests = json_object();
    f->tasks = mem_calloc(json_array_size(list) + 1, sizeof *f->tasks);
    int rv = f->tasks == NULL || digests == NULL ? SLUICE_ERR_NOMEM : 0;
    for (size_t i = 0; rv == 0 && i < json_array_size(list); i++)
        rv = add_task(run, json_string_value(json_array_get(list, i)), i + 1, digests, &bad, error);
    json_object_set_new(f->digests, "tasks", digests);
    f->bad_tasks = bad.len == 0 ? mem_strdup("") : text_take(&bad);
    text_free(&bad);
    return rv == 0 && f->bad_tasks == NULL ? SLUICE_ERR_NOMEM : rv;
}

/* The source's file: where DM reads now, and the same with the new address. */
static int take_source(struct readdress_run *run, const char *text, struct text *error)
{
    struct readdress_files *f = &run->files;
    struct dm_source_file file;
    struct text why = TEXT_INIT, from = TEXT_INIT;
    size_t len = 0;
    int rv = dm_file_read_source(text, strlen(text), &file, &why);
    if (rv == SLUICE_ERR_SYNTAX) text_printf(error, "source file: %s", text_str(&why));
    text_free(&why);
    if (rv != 0) return rv;
    const char *id = run->source->config->source_id;
    const struct config_address now = { .host = file.host, .port = (uint16_t)file.port };
    config_print_address(&now, &from);
    if (strcmp(file.source_id, id) != 0) {
        text_printf(error, "source file: its source-id is not %s: give the file of this source", id);
        rv = SLUICE_ERR_SYNTAX;
    } else {
        rv = readdress_side_set(run, &run->from, text_str(&from));
        if (rv == SLUICE_ERR_SYNTAX) text_puts(error, "source file: from.host is neither a name nor an address");
    }
    if (rv == 0) {
        f->enable_gtid = file.enable_gtid;
        f->old_text = mem_strdup(text);
        f->user = mem_strdup(file.user);
        rv = f->old_text == NULL || f->user == NULL ? SLUICE_ERR_NOMEM : add_digest(f->digests, "source", text);
    }
    if (rv == 0)
        rv =
            dm_file_readdress(text, strlen(text), run->to.address.host, run->to.address.port, &f->new_text, &len, &why);
    if (rv == SLUICE_ERR_SYNTAX && why.len > 0) text_printf(error, "source file: %s", text_str(&why));
    text_free(&why);
    text_free(&from);
    dm_source_file_free(&file);
    return rv;
}

int readdress_files_take(struct readdress_run *run, const json_t *body, struct text *error)
{
    readdress_files_free(&run->files);
    run->files.digests = json_object();
    int rv = run->files.digests == NULL ? SLUICE_ERR_NOMEM : 0;
    if (rv == 0) rv = take_source(run, json_string_value(json_object_get(body, "source-file")), error);
    if (rv == 0) rv = take_tasks(run, json_object_get(body, "task-files"), error);
    return rv;
}

/* ---- how to go on ---- */

void readdress_command(const struct readdress_run *run, struct text *out)
{
    text_printf(out, "sluice readdress %s --resume --source-file FILE", run->source->config->source_id);
    for (size_t i = 0; i < run->plan.task_count; i++) {
        if (!run->plan.tasks[i].is_finished) text_printf(out, " --task-file FILE-OF-%s", run->plan.tasks[i].name);
    }
}

/* ---- what would be called ---- */

static char *masked(const char *text)
{
    struct text error = TEXT_INIT;
    char *shown = NULL;
    int rv = dm_file_mask(text, strlen(text), &shown, &error);
    text_free(&error);
    return rv == 0 ? shown : NULL;
}

json_t *readdress_calls(const struct readdress_run *run)
{
    const struct readdress_files *f = &run->files;
    char **shown = mem_calloc(f->task_count + 1, sizeof *shown);
    const char **names = mem_calloc(f->task_count + 1, sizeof *names);
    char *new_file = masked(f->new_text), *text = NULL;
    bool ok = shown != NULL && names != NULL && new_file != NULL;
    for (size_t i = 0; ok && i < f->task_count; i++) {
        names[i] = f->tasks[i].name;
        shown[i] = masked(f->tasks[i].text);
        ok = shown[i] != NULL;
    }
    if (ok) {
        const struct dm_move_files files = { .new_file = new_file,
                                             .task_names = names,
                                             .task_files = (const char *const *)shown,
                                             .task_count = f->task_count };
        text = dm_move_calls(&run->plan, run->source->config->source_id, &files);
    }
    json_t *calls = text == NULL ? NULL : json_loads(text, 0, NULL);
    for (size_t i = 0; shown != NULL && i < f->task_count; i++)
        mem_free(shown[i]);
    mem_free(shown);
    mem_free(names);
    mem_free(new_file);
    mem_free(text);
    return calls;
}

/* ---- an order ---- */

/* Only what may be kept: the files are not. */
static json_t *options_body(const json_t *body)
{
    static const char *const keys[] = { "wait-catchup", "accept-loss", "accept-errant" };
    json_t *kept = json_object();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        json_t *value = json_object_get(body, keys[i]);
        if (value != NULL) json_object_set(kept, keys[i], value);
    }
    return kept;
}

static int take_options(struct readdress_run *run, const json_t *body, struct text *error)
{
    json_t *kept = options_body(body);
    int rv = kept == NULL ? SLUICE_ERR_NOMEM
                          : switch_options_parse(kept, &run->source->config->limits, &run->options, error);
    json_decref(kept);
    if (rv == 0 && run->options.accepts_unknown) {
        text_puts(error, "accept-loss: what was delivered is always known here: give a GTID set");
        rv = SLUICE_ERR_SYNTAX;
    }
    if (rv == 0) {
        json_object_set_new(run->options.json, "kind", json_string("readdress"));
        json_object_set_new(run->options.json, "to", json_string(run->to.name));
        json_object_set(run->options.json, "files", run->files.digests);
    }
    return rv;
}

static void on_numbered(void *arg, int status, uint64_t number)
{
    struct readdress_run *run = arg;
    struct source *s = run->source;
    struct source_call *call = run->call;
    s->jobs--;
    run->call = NULL;
    if (status != 0) {
        reply_text(call, 500, CODE_FAILED,
                   "the address change could not be written to state-dir (%s): nothing was begun", error_name(status));
        readdress_run_empty(run);
    } else {
        call->done(call, 202, json_pack("{s:b,s:s,s:I}", "result", 1, "msg", "", "switch", (json_int_t)number));
        run->is_unfinished = false;
        readdress_begin(run, number);
    }
    source_job_ended(s);
}

static void begin_fields(struct readdress_run *run, struct source_call *call)
{
    run->is_open = true;
    run->call = call;
    run->started_ms = source_now(run->source);
    run->started_unix_ms = source_unix_ms();
    json_decref(run->steps);
    run->steps = json_array();
    run->machine.limits.catchup_timeout_ms = run->options.catchup_ms;
}

static void fail_order(struct readdress_run *run, struct source_call *call, int rv, const struct text *error)
{
    bool is_usage = rv == SLUICE_ERR_SYNTAX || rv == SLUICE_ERR_INVALID;
    reply_text(call, is_usage ? 400 : 500, is_usage ? CODE_USAGE : CODE_FAILED, "%s",
               error->len > 0 ? text_str(error) : error_text(rv));
    readdress_run_empty(run);
}

static void begin_new(struct readdress_run *run, struct source_call *call)
{
    struct source *s = run->source;
    struct text error = TEXT_INIT;
    const char *to = json_string_value(json_object_get(call->body, "to"));
    int rv = 0;
    if (to == NULL) {
        text_puts(&error, "to is missing: HOST:PORT of the new address");
        rv = SLUICE_ERR_INVALID;
    }
    if (rv == 0) rv = readdress_side_set(run, &run->to, to);
    if (rv == SLUICE_ERR_SYNTAX) text_puts(&error, "to is no address: HOST:PORT, IPv6 in brackets");
    if (rv == 0) rv = readdress_files_take(run, call->body, &error);
    if (rv == 0) rv = take_options(run, call->body, &error);
    if (rv == 0) {
        begin_fields(run, call);
        rv = readdress_fill_record(run, "begun");
    }
    run->is_dry = json_is_true(json_object_get(call->body, "dry-run"));
    if (rv != 0) {
        run->call = NULL;
        fail_order(run, call, rv, &error);
    } else if (run->is_dry) {
        run->dry_deadline_ms = source_now(s) + (run->options.catchup_ms > 500 ? run->options.catchup_ms : 500);
        readdress_read(run, READDRESS_READ_CHECK, 0);
    } else {
        s->jobs++;
        run->record.number = 0;
        journal_switch_begin(s->host.journal, &run->record, s->host.mailbox, on_numbered, run);
    }
    text_free(&error);
}

/* The same files: by their digests, as they may not be kept themselves. */
static bool files_are_the_same(const struct readdress_run *run, const json_t *options)
{
    return json_equal(json_object_get(options, "files"), run->files.digests) == 1;
}

/* The record that was left is ended, and a new one goes on from where it stood: each run has a number and events of its own. */
static int hand_over(struct readdress_run *run, struct journal_txn *txn)
{
    struct record_switch old = { 0 };
    int rv = record_switch_copy(&old, &run->record);
    if (rv != 0) return rv;
    old.state = RECORD_SWITCH_FAILED;
    old.exit_code = CUTOVER_EXIT_UNKNOWN;
    old.ended_unix_ms = source_unix_ms();
    rv = record_set(&old.msg, "it was left unfinished; a later one of the history goes on from there");
    if (rv == 0) journal_txn_switch_put(txn, &old);
    record_switch_free(&old);
    run->record.started_unix_ms = run->started_unix_ms;
    if (rv == 0) journal_txn_switch_begin(txn, &run->record);
    return rv;
}

/* Files that do not fit said another address than the journal does. */
static void put_back(struct readdress_run *run)
{
    if (readdress_side_set(run, &run->from, run->record.from) != 0)
        log_warn("memory ran out", LOG_STR("source", run->source->config->source_id));
}

static void resume_left(struct readdress_run *run, struct source_call *call)
{
    struct source *s = run->source;
    struct journal_txn txn = JOURNAL_TXN_INIT;
    struct text error = TEXT_INIT;
    json_t *options = json_loads(run->record.options, 0, NULL);
    int rv = readdress_files_take(run, call->body, &error);
    if (rv == 0 && !files_are_the_same(run, options)) {
        reply_text(call, 409, CODE_REFUSED,
                   "these are not the files with which readdress %llu was begun (their SHA-256 differs): give the same",
                   (unsigned long long)run->record.number);
        readdress_files_free(&run->files);
        put_back(run);
        json_decref(options);
        text_free(&error);
        return;
    }
    if (rv == 0) {
        switch_options_free(&run->options);
        json_object_del(options, "kind");
        json_t *kept = options_body(options);
        rv = switch_options_parse(kept, &s->config->limits, &run->options, &error);
        json_decref(kept);
        json_object_set_new(options, "kind", json_string("readdress"));
        json_decref(run->options.json);
        run->options.json = json_incref(options);
    }
    json_decref(options);
    if (rv == 0) {
        begin_fields(run, call);
        run->is_dry = false;
        run->is_back = json_is_true(json_object_get(call->body, "undo"));
        rv = hand_over(run, &txn);
    }
    if (rv != 0) {
        journal_txn_free(&txn);
        run->call = NULL;
        fail_order(run, call, rv, &error);
        put_back(run);
    } else {
        s->jobs++;
        journal_commit(s->host.journal, &txn, s->host.mailbox, on_numbered, run);
    }
    text_free(&error);
}

void readdress_order(struct readdress_run *run, struct source_call *call)
{
    struct source *s = run->source;
    bool is_resume = json_is_true(json_object_get(call->body, "resume"));
    bool is_undo = json_is_true(json_object_get(call->body, "undo"));
    if (is_undo && !is_resume) {
        reply_text(call, 400, CODE_USAGE,
                   "undo goes with resume; one that is in progress is undone by: sluice abort %s",
                   s->config->source_id);
    } else if (is_resume && !run->is_unfinished) {
        reply_text(call, 409, CODE_FAILED, "no readdress of source %s is unfinished; see: sluice status %s",
                   s->config->source_id, s->config->source_id);
    } else if (is_resume) {
        resume_left(run, call);
    } else {
        begin_new(run, call);
    }
}
