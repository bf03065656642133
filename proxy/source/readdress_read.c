/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read DM and the servers behind both addresses, and judge. As in reading.c: S before E of the new server, E of the new one before that
 * of the old one, P last. An address that is this source's own listener has the active backend behind it, and is asked there.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "core/checks_dm.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/readdress_run.h"

enum { TEXT_LEN = CUTOVER_TEXT_LEN };

/* One question, to DM or to a server. Its own object: an answer that nobody waits for any more finds no run changed by it. */
struct question {
    struct readdress_run *run;
    struct readdress_side *side; /* NULL: to DM */
    enum readdress_reading_kind kind;
    uint32_t op;
    uv_getaddrinfo_t resolve;
    struct upstream_target target;
    struct facts facts;
    struct gtids gtids;
    char *account; /* LIST: whose threads are counted */
    uint32_t thread_count;
    struct text threads; /* which they are */
};

static void ask_server(struct readdress_run *run, struct readdress_side *side, enum readdress_reading_kind kind,
                       uint32_t op);

void readdress_reading_free(struct readdress_run *run)
{
    gtid_set_del(run->delivered);
    facts_free(&run->new_facts);
    facts_free(&run->old_facts);
    gtids_free(&run->new_gtids);
    gtids_free(&run->old_gtids);
    check_list_free(&run->checks);
    check_list_free(&run->gate_checks);
    run->delivered = NULL;
    run->delivered_is_final = run->has_read_check = run->new_replicates = run->old_replicates = false;
}

static void out_of_memory(struct readdress_run *run, uint32_t op, enum readdress_reading_kind kind)
{
    if (kind == READDRESS_READ_LIST) {
        readdress_listed(run, op, SLUICE_ERR_NOMEM, 0, "memory ran out");
    } else {
        readdress_judged(run, op, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
    }
}

/* ---- judging ---- */

/* The sets of the plan, as the gate takes them. */
struct sets {
    struct gtid_gate_set *readers, validator;
    char (*names)[160];
    struct gtid_set **owned;
    size_t reader_count, validator_count, owned_count;
};

static void sets_free(struct sets *s)
{
    for (size_t i = 0; i < s->owned_count; i++)
        gtid_set_del(s->owned[i]);
    mem_free(s->owned);
    mem_free(s->readers);
    mem_free(s->names);
}

static int add_set(struct sets *s, const char *what, const char *of, const char *text, struct gtid_gate_set *to,
                   size_t *count)
{
    struct gtid_set *set = NULL;
    char *name = s->names[s->owned_count];
    if (text == NULL || *text == '\0') return 0; /* DM has shown none, or nothing at all */
    int rv = gtid_set_parse(text, strlen(text), &set, NULL);
    if (rv != 0) return rv == GTID_ERR_NOMEM ? SLUICE_ERR_NOMEM : 0; /* CHECK has said that S cannot be read */
    s->owned[s->owned_count++] = set;
    snprintf(name, sizeof s->names[0], "%s%s%.130s%s", what, *of == '\0' ? "" : "(", of, *of == '\0' ? "" : ")");
    *to = (struct gtid_gate_set){ .name = name, .set = set };
    *count += 1;
    return 0;
}

static int sets_take(const struct dm_move_plan *plan, struct sets *s)
{
    size_t room = plan->task_count + 2;
    *s = (struct sets){ .readers = mem_calloc(room, sizeof *s->readers),
                        .names = mem_calloc(room, sizeof *s->names),
                        .owned = mem_calloc(room, sizeof *s->owned) };
    int rv = s->readers == NULL || s->names == NULL || s->owned == NULL ? SLUICE_ERR_NOMEM : 0;
    for (size_t i = 0; rv == 0 && i < plan->task_count; i++) {
        const struct dm_move_task *t = &plan->tasks[i];
        if (t->is_finished) continue;
        rv = add_set(s, "gtid-S", t->name, t->gtid, &s->readers[s->reader_count], &s->reader_count);
    }
    if (rv == 0 && plan->has_relay)
        rv = add_set(s, "gtid-W", "", plan->relay_gtid, &s->readers[s->reader_count], &s->reader_count);
    if (rv == 0) rv = add_set(s, "gtid-V", "", plan->validator_gtid, &s->validator, &s->validator_count);
    return rv;
}

static struct gtid_set *accepted_loss(const struct readdress_run *run)
{
    struct gtid_set *loss = source_accepted_loss(run->source);
    if (loss != NULL && run->options.accept_loss != NULL && gtid_set_add_set(loss, run->options.accept_loss) != 0) {
        gtid_set_del(loss);
        return NULL;
    }
    return loss;
}

static bool is_one_server(const struct readdress_run *run)
{
    return *run->from.uuid != '\0' && strcmp(run->from.uuid, run->to.uuid) == 0;
}

static void fill_errant(const struct readdress_run *run, const struct gtid_set *old_known, struct gtid_gate_input *in)
{
    in->accepted_errant = run->options.accept_errant;
    in->accepted_errant_uuids = (const uint8_t(*)[GTID_UUID_BYTES])run->options.accept_errant_uuids;
    in->accepted_errant_uuid_count = run->options.accept_errant_uuid_count;
    if (old_known == NULL || is_one_server(run)) {
        in->errant_rule = GTID_GATE_ERRANT_SKIP;
    } else {
        in->errant_rule = GTID_GATE_ERRANT_OLD_ALIVE;
        in->old_known = old_known;
        in->old_follows = run->old_replicates;
    }
}

/* Against |purged| and |executed| of one server; |old_known| NULL: errant transactions are not asked for. */
static int judge_gate(struct readdress_run *run, const struct gtid_set *purged, const struct gtid_set *executed,
                      const struct gtid_set *owned, const char *uuid, const struct gtid_set *old_known,
                      bool with_delivered)
{
    uint8_t uuid_bytes[GTID_UUID_BYTES];
    struct sets sets;
    struct gtid_set *loss = accepted_loss(run);
    int rv = sets_take(&run->plan, &sets);
    if (loss == NULL) rv = SLUICE_ERR_NOMEM;
    struct gtid_gate_input in = { .purged = purged,
                                  .executed = executed,
                                  .readers = sets.readers,
                                  .reader_count = sets.reader_count,
                                  .validators = &sets.validator,
                                  .validator_count = sets.validator_count,
                                  .accepted_loss = loss };
    /* One server that is read twice has more the second time: it was not set back. */
    bool may_be_rewound = gtid_set_is_empty(owned) && !is_one_server(run);
    if (may_be_rewound && gtid_uuid_parse(uuid, strlen(uuid), uuid_bytes) == 0) in.executed_uuid = uuid_bytes;
    if (with_delivered && run->delivered != NULL) {
        in.delivered_rule = GTID_GATE_DELIVERED_KNOWN;
        in.delivered = run->delivered;
    }
    fill_errant(run, old_known, &in);
    struct gtid_gate_result result;
    if (rv == 0) rv = gtid_gate_check(&in, &result) == 0 ? 0 : SLUICE_ERR_NOMEM;
    if (rv == 0) {
        check_list_free(&run->gate_checks);
        checks_add_gate(&run->gate_checks, &result, run->new_replicates);
        gtid_gate_result_free(&result);
    }
    sets_free(&sets);
    gtid_set_del(loss);
    return rv;
}

static void describe(const struct readdress_run *run, enum cutover_verdict verdict, char *out, size_t room)
{
    const struct check *a = check_worst(&run->checks), *b = check_worst(&run->gate_checks);
    const struct check *worst = a == NULL || (b != NULL && b->state > a->state) ? b : a;
    if (verdict == CUTOVER_VERDICT_PASS || worst == NULL) {
        snprintf(out, room, "%zu conditions hold", run->checks.count + run->gate_checks.count);
    } else if (verdict == CUTOVER_VERDICT_LAGGING) {
        snprintf(out, room, "waiting: %.420s", worst->detail);
    } else {
        snprintf(out, room, "%.90s: %.250s%s%.130s", worst->name, worst->detail, *worst->todo == '\0' ? "" : "; ",
                 worst->todo);
    }
}

static void conclude(struct readdress_run *run, uint32_t op)
{
    char text[TEXT_LEN];
    enum cutover_verdict a = check_verdict(&run->checks), b = check_verdict(&run->gate_checks);
    enum cutover_verdict verdict = a > b ? a : b; /* PASS < LAGGING < REFUSED < FAILED */
    int status = 0;
    if (verdict == CUTOVER_VERDICT_LAGGING)
        status = run->new_replicates || is_one_server(run) ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_REFUSED;
    if (verdict == CUTOVER_VERDICT_FAILED) status = SLUICE_ERR_NOMEM;
    describe(run, verdict, text, sizeof text);
    readdress_judged(run, op, verdict, status, text);
}

/* What the old server has now, executed and owned; and D, where it was not read before. */
static struct gtid_set *take_old_known(struct readdress_run *run, const struct gtid_set *executed,
                                       const struct gtid_set *owned)
{
    struct gtid_set *sum = NULL;
    if (gtid_set_union(executed, owned, &sum) != 0) return NULL;
    if (run->delivered == NULL) run->delivered = gtid_set_copy(sum);
    return sum;
}

/* ---- the preconditions ---- */

static void add_dm_checks(struct readdress_run *run, const struct consumer_status *found)
{
    const struct checks_dm in = { .source_id = run->source->config->source_id,
                                  .listen = { run->from.address.host, run->from.address.port },
                                  .listen_name = "what the source file says",
                                  .listen_todo =
                                      "give the file by which DM has the source now; see get-config source" };
    checks_add_consumer(&run->checks, found);
    checks_add_dm(&run->checks, &in, found);
}

static bool has_file(const struct readdress_run *run, const char *task)
{
    for (size_t i = 0; i < run->files.task_count; i++) {
        if (strcmp(run->files.tasks[i].name, task) == 0) return true;
    }
    return false;
}

static void add_task_files(struct readdress_run *run)
{
    struct text missing = TEXT_INIT;
    for (size_t i = 0; i < run->plan.task_count; i++) {
        const struct dm_move_task *t = &run->plan.tasks[i];
        if (t->is_finished) {
            check_add(&run->checks, "C13", "dm-finished", CHECK_WARN,
                      "what it has written stays; start it again yourself if it is to be seen in query-status",
                      "task %s has finished: it is taken from this source, and not started again", t->name);
        } else if (!has_file(run, t->name)) {
            text_printf(&missing, "%s%s", missing.len == 0 ? "" : ", ", t->name);
        }
        if (t->was_paused)
            check_add(&run->checks, "C13", "dm-paused", CHECK_WARN, "DM can start a task only running",
                      "task %s is paused: it is started at the new address, and paused again at once", t->name);
    }
    bool has_all = missing.len == 0;
    check_add(&run->checks, "C13", "task-files", has_all ? CHECK_OK : CHECK_FAIL,
              "give each with --task-file: DM masks passwords, so it can be started only from your own file",
              has_all ? "a file for each task that is to be started%s" : "no file for task %s",
              has_all ? "" : text_str(&missing));
    if (*run->files.bad_tasks != '\0')
        check_add(&run->checks, "C13", "task-files", CHECK_FAIL, "correct the file", "%.1000s", run->files.bad_tasks);
    text_free(&missing);
}

static void add_own_checks(struct readdress_run *run)
{
    struct source *s = run->source;
    bool is_same =
        run->from.address.port == run->to.address.port && strcmp(run->from.address.host, run->to.address.host) == 0;
    check_add(&run->checks, "C10", "address", is_same ? CHECK_FAIL : CHECK_OK, "give another one with --to",
              "from %s to %s", run->from.name, run->to.name);
    check_add(&run->checks, "C13", "file-enable-gtid", run->files.enable_gtid ? CHECK_OK : CHECK_FAIL,
              "set enable-gtid: true in the file: by file and position nothing can be carried to another address",
              "enable-gtid in the source file: %s", run->files.enable_gtid ? "true" : "false");
    bool is_own = strcmp(run->files.user, s->config->account.user) == 0;
    check_add(&run->checks, "C14", "account", is_own ? CHECK_FAIL : CHECK_OK,
              "give Sluice an account of its own: whose threads are left on the old server could not be told",
              "DM's account on the servers: %s%s", run->files.user, is_own ? ", which is Sluice's too" : "");
    if (run->has_plan) add_task_files(run);
    if (!run->from.is_listener && !run->to.is_listener) return;
    const struct backend *active = source_active(s);
    bool routes = active != NULL && active->is_confirmed && !s->record.is_held && !backend_is_latched(active);
    check_add(&run->checks, "C10", "listener", routes ? CHECK_OK : CHECK_FAIL,
              "see sluice status: the source must route its clients",
              "%s is this source's own listener; active backend: %s%s",
              run->to.is_listener ? run->to.name : run->from.name, active == NULL ? "unknown" : active->config->name,
              routes ? "" : ", and clients are not routed");
}

static void add_server_checks(struct readdress_run *run)
{
    const struct checks_servers in = { .old_name = run->from.name,
                                       .new_name = run->to.name,
                                       .old_facts = &run->old_facts,
                                       .new_facts = &run->new_facts,
                                       .old_uuid = run->old_facts.server_uuid,
                                       .new_pin = "",
                                       .latch = "",
                                       .may_be_one = true };
    checks_add_servers(&run->checks, &in);
    checks_add_dm_server(&run->checks, run->to.name, &run->new_facts);
}

/* ---- answers ---- */

static void add_unreachable(struct readdress_run *run, const struct readdress_side *side, const char *text)
{
    check_list_free(&run->gate_checks);
    check_add(&run->gate_checks, "C10", "reachable", CHECK_FAIL,
              "see that it runs, and that Sluice's account may log in", "%s: %.900s", side->name, text);
}

static void unreachable(struct readdress_run *run, const struct question *q, int status, const char *text)
{
    char full[TEXT_LEN];
    snprintf(full, sizeof full, "%.120s: %.330s", q->side->name, text);
    if (q->kind == READDRESS_READ_LIST) {
        readdress_listed(run, q->op, status, 0, full);
        return;
    }
    add_unreachable(run, q->side, text);
    bool is_check = q->kind == READDRESS_READ_CHECK;
    readdress_judged(run, q->op, is_check ? CUTOVER_VERDICT_REFUSED : CUTOVER_VERDICT_FAILED,
                     is_check ? SLUICE_ERR_REFUSED : status, full);
}

/* The server that answers must be the one that answered before: its sets say nothing of another one. */
static bool is_same_server(struct readdress_run *run, const struct question *q, const char *uuid)
{
    struct readdress_side *side = q->side;
    char text[TEXT_LEN];
    if (*side->uuid == '\0') snprintf(side->uuid, sizeof side->uuid, "%s", uuid);
    if (strcmp(side->uuid, uuid) == 0) return true;
    snprintf(text, sizeof text, "another server answers at %.200s than before: %s, it was %s", side->name, uuid,
             side->uuid);
    if (q->kind == READDRESS_READ_LIST) {
        readdress_listed(run, q->op, SLUICE_ERR_WRONG_SERVER, 0, text);
    } else {
        readdress_judged(run, q->op, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_WRONG_SERVER, text);
    }
    return false;
}

static void judge_check(struct readdress_run *run, uint32_t op)
{
    const struct facts *n = &run->new_facts, *o = &run->old_facts;
    run->new_replicates = facts_replicates_from(n, o->server_uuid);
    run->old_replicates = facts_replicates(o);
    add_server_checks(run);
    add_own_checks(run);
    struct gtid_set *sum = take_old_known(run, o->executed, o->owned);
    int rv = sum == NULL || run->delivered == NULL
                 ? SLUICE_ERR_NOMEM
                 : judge_gate(run, n->purged, n->executed, n->owned, n->server_uuid, sum, true);
    gtid_set_del(sum);
    if (rv != 0) {
        out_of_memory(run, op, READDRESS_READ_CHECK);
    } else {
        conclude(run, op);
    }
}

static void judge_sets(struct readdress_run *run, uint32_t op, enum readdress_reading_kind kind)
{
    const struct gtids *n = kind == READDRESS_READ_OLD ? &run->old_gtids : &run->new_gtids;
    struct gtid_set *sum = NULL;
    int rv = 0;
    if (kind == READDRESS_READ_GATE) {
        sum = take_old_known(run, run->old_gtids.executed, run->old_gtids.owned);
        if (sum == NULL || run->delivered == NULL) rv = SLUICE_ERR_NOMEM;
    }
    if (rv == 0)
        rv = judge_gate(run, n->purged, n->executed, n->owned, n->server_uuid, sum, kind != READDRESS_READ_OLD);
    gtid_set_del(sum);
    if (rv != 0) {
        out_of_memory(run, op, kind);
    } else {
        conclude(run, op);
    }
}

static void take_list(struct readdress_run *run, struct question *q)
{
    char text[TEXT_LEN];
    if (q->thread_count > 0) {
        snprintf(text, sizeof text, "threads of DM's account '%.80s' on %.120s: %u: %.200s", q->account, q->side->name,
                 q->thread_count, text_str(&q->threads));
        readdress_listed(run, q->op, 0, q->thread_count, text);
        return;
    }
    struct gtid_set *sum = NULL;
    if (gtid_set_union(q->gtids.executed, q->gtids.owned, &sum) != 0) {
        out_of_memory(run, q->op, q->kind);
        return;
    }
    gtid_set_del(run->delivered);
    run->delivered = sum;
    run->delivered_is_final = true;
    snprintf(text, sizeof text, "threads of DM's account '%.80s' on %.120s: 0", q->account, q->side->name);
    readdress_listed(run, q->op, 0, 0, text);
}

static void keep_answer(struct readdress_run *run, struct question *q, bool is_new)
{
    struct facts *facts = is_new ? &run->new_facts : &run->old_facts;
    struct gtids *gtids = is_new ? &run->new_gtids : &run->old_gtids;
    facts_free(facts);
    gtids_free(gtids);
    *facts = q->facts;
    *gtids = q->gtids;
    q->facts = (struct facts){ 0 };
    q->gtids = (struct gtids){ 0 };
}

static void take_answer(struct readdress_run *run, struct question *q)
{
    bool is_new = q->side == &run->to;
    if (!is_same_server(run, q, q->kind == READDRESS_READ_CHECK ? q->facts.server_uuid : q->gtids.server_uuid)) return;
    if (q->kind == READDRESS_READ_LIST) {
        take_list(run, q);
        return;
    }
    keep_answer(run, q, is_new);
    bool wants_old = is_new && (q->kind == READDRESS_READ_CHECK || q->kind == READDRESS_READ_GATE);
    if (wants_old) {
        ask_server(run, &run->from, q->kind, q->op);
    } else if (q->kind == READDRESS_READ_CHECK) {
        judge_check(run, q->op);
    } else {
        judge_sets(run, q->op, q->kind);
    }
}

/* ---- asking a server ---- */

static void question_del(struct question *q)
{
    facts_free(&q->facts);
    gtids_free(&q->gtids);
    upstream_target_free(&q->target);
    text_free(&q->threads);
    mem_free(q->account);
    mem_free(q);
}

static void on_answer(void *arg, int status, const struct upstream_error *error)
{
    struct question *q = arg;
    struct readdress_run *run = q->run;
    struct source *s = run->source;
    s->jobs--;
    if (readdress_is_awaited(run, q->op)) {
        if (status != 0) {
            unreachable(run, q, status, error->text);
        } else {
            take_answer(run, q);
        }
    }
    question_del(q);
    source_job_ended(s);
}

/* On a probe thread. */
static int count_threads(struct question *q, struct connector *c, struct upstream_error *error)
{
    struct processlist list;
    int rv = processlist_read(c, &list, error);
    if (rv != 0) return rv;
    for (size_t i = 0; i < list.count; i++) {
        const struct threads_row *row = &list.rows[i];
        if (strcmp(row->user, q->account) != 0 || row->id == list.own_id) continue;
        q->thread_count++;
        text_printf(&q->threads, "%s%llu from %s (%s)", q->threads.len == 0 ? "" : ", ", (unsigned long long)row->id,
                    row->host, row->command);
    }
    processlist_free(&list);
    return 0;
}

/* On a probe thread. The sets are read after the list: what a stream carried before it ended is in them. */
static int run_question(void *arg, struct connector *c, struct upstream_error *error)
{
    struct question *q = arg;
    if (q->kind == READDRESS_READ_CHECK) return facts_read(c, &q->facts, error);
    int rv = q->kind == READDRESS_READ_LIST ? count_threads(q, c, error) : 0;
    return rv == 0 ? gtids_read(c, &q->gtids, error) : rv;
}

static void submit(struct question *q)
{
    struct source *s = q->run->source;
    char key[64];
    upstream_target_text(&q->target, key, sizeof key);
    const struct upstream_job job = { .target = &q->target,
                                      .key = key,
                                      .lane = UPSTREAM_LANE_RESERVED,
                                      .timeout_ms = s->config->limits.probe_timeout_ms,
                                      .run = run_question,
                                      .done = on_answer,
                                      .arg = q,
                                      .mailbox = s->host.mailbox };
    int rv = upstream_pool_submit(s->host.pool, &job, NULL);
    if (rv == 0) {
        s->jobs++;
        return;
    }
    unreachable(q->run, q, rv, error_text(rv));
    question_del(q);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct question *q = req->data;
    struct readdress_run *run = q->run;
    struct source *s = run->source;
    s->jobs--;
    if (!readdress_is_awaited(run, q->op)) {
        question_del(q);
    } else if (status != 0) {
        char text[200];
        snprintf(text, sizeof text, "the name %.100s cannot be resolved: %s", q->side->address.host,
                 uv_strerror(status));
        unreachable(run, q, SLUICE_ERR_UNREACHABLE, text);
        question_del(q);
    } else {
        memcpy(&q->side->addr, list->ai_addr, list->ai_addrlen);
        q->side->is_resolved = true;
        q->target.addr = q->side->addr;
        submit(q);
    }
    if (list != NULL) uv_freeaddrinfo(list);
    source_job_ended(s);
}

static void resolve(struct question *q)
{
    struct source *s = q->run->source;
    char port[8];
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    snprintf(port, sizeof port, "%u", q->side->address.port);
    q->resolve.data = q;
    if (uv_getaddrinfo(s->host.loop, &q->resolve, on_resolved, q->side->address.host, port, &hints) != 0) {
        unreachable(q->run, q, SLUICE_ERR_NOMEM, "the name could not be looked up");
        question_del(q);
        return;
    }
    s->jobs++;
}

/* Sluice's own account on the server; of the listener's, the active backend as it is probed. */
static int fill_target(const struct readdress_run *run, const struct readdress_side *side, struct upstream_target *out)
{
    const struct config_source *config = run->source->config;
    const struct backend *active = side->is_listener ? source_active(run->source) : NULL;
    if (active != NULL && active->address_count > 0) {
        int rv = upstream_target_copy(&active->target, out);
        if (rv == 0) out->addr = active->addresses[active->address_at];
        return rv;
    }
    if (side->is_listener) return SLUICE_ERR_NO_RECORD;
    const struct upstream_target target = { .addr = side->addr,
                                            .host = side->address.host,
                                            .user = config->account.user,
                                            .password = config->account.password,
                                            .tls = config->account.tls_mode,
                                            .tls_ca = config->account.tls_ca,
                                            .bind = config->source_address };
    return upstream_target_copy(&target, out);
}

static void ask_server(struct readdress_run *run, struct readdress_side *side, enum readdress_reading_kind kind,
                       uint32_t op)
{
    struct question *q = mem_calloc(1, sizeof *q);
    if (q == NULL) {
        out_of_memory(run, op, kind);
        return;
    }
    q->run = run;
    q->side = side;
    q->kind = kind;
    q->op = op;
    q->account = mem_strdup(run->files.user == NULL ? "" : run->files.user);
    int rv = q->account == NULL ? SLUICE_ERR_NOMEM : fill_target(run, side, &q->target);
    if (rv != 0) {
        unreachable(run, q, rv, error_text(rv));
        question_del(q);
    } else if (side->is_listener || side->is_resolved) {
        submit(q);
    } else {
        resolve(q);
    }
}

/* ---- asking DM ---- */

struct dm_question {
    struct readdress_run *run;
    enum readdress_reading_kind kind;
    uint32_t op;
};

static void consumer_failed(struct readdress_run *run, uint32_t op, const char *text)
{
    char full[TEXT_LEN];
    snprintf(full, sizeof full, "DM: %.400s", text);
    check_list_free(&run->gate_checks);
    check_add(&run->gate_checks, "C13", "consumer", CHECK_FAIL, "see that a DM master answers", "%.900s", text);
    readdress_judged(run, op, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_REFUSED, full);
}

/* The plan is made once; while a server catches up S stays as it was first read. GATE reads it anew. */
static int take_plan(struct readdress_run *run, enum readdress_reading_kind kind, const struct consumer_status *found)
{
    if (kind == READDRESS_READ_GATE) return dm_move_plan_take(&run->plan, &found->dm->source);
    if (run->has_read_check) return 0;
    dm_move_plan_free(&run->plan);
    int rv = dm_move_plan_make(found->dm, &run->plan);
    run->has_plan = rv == 0;
    run->has_read_check = run->has_plan;
    return rv == SLUICE_ERR_REFUSED ? 0 : rv; /* checks_add_consumer() says it */
}

static void on_dm_status(void *arg, int status, const struct upstream_error *error, const struct consumer_status *found)
{
    struct dm_question q = *(struct dm_question *)arg;
    struct readdress_run *run = q.run;
    struct source *s = run->source;
    mem_free(arg);
    s->jobs--;
    if (!readdress_is_awaited(run, q.op)) {
        source_job_ended(s);
        return;
    }
    status_take_consumer(s, status == 0 ? found : NULL, status == 0 ? NULL : error->text);
    if (status != 0) {
        consumer_failed(run, q.op, error->text);
    } else if (q.kind == READDRESS_READ_GATE && !consumer_status_is_quiet(found)) {
        readdress_judged(run, q.op, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_REFUSED,
                         "DM: it was resumed by somebody after it had been paused");
    } else if (take_plan(run, q.kind, found) != 0) {
        out_of_memory(run, q.op, q.kind);
    } else {
        if (q.kind == READDRESS_READ_CHECK) {
            check_list_free(&run->checks);
            add_dm_checks(run, found);
        }
        ask_server(run, &run->to, q.kind, q.op);
    }
    source_job_ended(s);
}

void readdress_read(struct readdress_run *run, enum readdress_reading_kind kind, uint32_t op)
{
    struct source *s = run->source;
    if (kind == READDRESS_READ_NEW) {
        ask_server(run, &run->to, kind, op);
        return;
    }
    if (kind == READDRESS_READ_OLD || kind == READDRESS_READ_LIST) {
        ask_server(run, &run->from, kind, op);
        return;
    }
    struct dm_question *q = mem_calloc(1, sizeof *q);
    if (q == NULL) {
        out_of_memory(run, op, kind);
        return;
    }
    *q = (struct dm_question){ run, kind, op };
    s->jobs++;
    consumer_status(s->consumer, s->config->limits.probe_timeout_ms, on_dm_status, q);
}
