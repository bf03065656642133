/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"

enum { A = 0, B = 1, DRIVER_LIMIT_MS = 5000, LATE_MS = 2000, ANSWER_MS = 1 };

static const char *const fault_names[SIM_FAULT_COUNT] = { "ok",   "fail",    "refuse",       "lag",         "never",
                                                          "late", "unknown", "crash-before", "crash-after", "abort" };

const char *sim_fault_name(enum sim_fault fault)
{
    return fault_names[fault];
}

static void broken(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void broken(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (*sim->broken != '\0') return;
    va_start(args, fmt);
    vsnprintf(sim->broken, sizeof sim->broken, fmt, args);
    va_end(args);
}

static void trace(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void trace(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (sim->trace_count == SIM_TRACE_MAX) return;
    char *line = sim->trace[sim->trace_count++];
    int at = snprintf(line, SIM_LINE_LEN, "[%5" PRIu64 "] ", sim->now_ms);
    va_start(args, fmt);
    vsnprintf(line + at, SIM_LINE_LEN - (size_t)at, fmt, args);
    va_end(args);
}

static unsigned legs_to(const struct sim *sim, int backend)
{
    unsigned count = 0;
    for (size_t i = 0; i < SIM_LEGS_MAX; i++)
        count += sim->legs[i].is_open && sim->legs[i].backend == backend;
    return count;
}

static void check_promises(struct sim *sim)
{
    if (legs_to(sim, A) > 0 && legs_to(sim, B) > 0) broken(sim, "legs to both servers at %" PRIu64, sim->now_ms);
    if (sim->is_routing && sim->routed_to != sim->disk_active)
        broken(sim, "routed to %c, disk says %c", "AB"[sim->routed_to], "AB"[sim->disk_active]);
    if (sim->is_routing && sim->disk_pending >= 0) broken(sim, "routed while a commit is unknown");
    if (sim->is_routing && sim->routed_to == B && sim->threads_left > 0 && !sim->old_is_dead)
        broken(sim, "routed to B while A shows threads of ours");
}

/* A client comes every now and then: one is always waiting or served at once. */
static void serve_clients(struct sim *sim)
{
    if (sim->is_routing) {
        if (sim->held_since_ms != UINT64_MAX) {
            uint64_t wait = sim->now_ms - sim->held_since_ms;
            if (wait > sim->longest_wait_ms) sim->longest_wait_ms = wait;
        }
        sim->held_since_ms = UINT64_MAX;
    } else if (sim->held_since_ms == UINT64_MAX) {
        sim->held_since_ms = sim->now_ms;
    } else if (sim->now_ms - sim->held_since_ms >= sim->limits.hold_timeout_ms) {
        sim->expired++; /* an error packet; the next client waits anew */
        sim->held_since_ms = sim->now_ms;
    }
}

static void route(struct sim *sim, int to)
{
    sim->is_routing = true;
    sim->is_draining = false;
    sim->routed_to = to;
}

/* ---- the world moves ---- */

static void close_leg(struct sim *sim, struct sim_leg *leg)
{
    leg->is_open = false;
    if (leg->kind == SIM_LEG_STREAM) sim->threads_left++; /* closing its socket does not end a dump thread */
}

static void drain(struct sim *sim)
{
    for (size_t i = 0; i < SIM_LEGS_MAX && sim->is_draining; i++) {
        struct sim_leg *leg = &sim->legs[i];
        if (leg->is_open && (leg->kind != SIM_LEG_BUSY || sim->now_ms >= leg->busy_until_ms)) close_leg(sim, leg);
    }
}

static void post(struct sim *sim, const struct cutover_effect *effect, struct cutover_event ev, uint64_t in_ms,
                 enum sim_fault fault)
{
    for (size_t i = 0; i < sizeof sim->answers / sizeof sim->answers[0]; i++) {
        if (sim->answers[i].is_due) continue;
        ev.op = effect->op;
        sim->answers[i] = (struct sim_answer){
            .is_due = true, .at_ms = sim->now_ms + in_ms, .ev = ev, .effect = *effect, .fault = fault
        };
        return;
    }
    broken(sim, "too many answers on their way");
}

static enum sim_fault fault_of(struct sim *sim, enum cutover_effect_type type)
{
    sim->seen[type]++;
    for (size_t i = 0; i < sim->plan_count; i++) {
        const struct sim_plan *plan = &sim->plans[i];
        if (plan->type == type && (plan->nth == 0 || plan->nth == sim->seen[type])) return plan->fault;
    }
    return SIM_OK;
}

static void commit(struct sim *sim, int active, uint64_t epoch)
{
    sim->disk_active = active;
    sim->disk_epoch = epoch;
    sim->disk_pending = -1;
}

/* What the effect does to the world, when it is not prevented. */
static void happen(struct sim *sim, const struct cutover_effect *effect, enum sim_fault fault)
{
    bool fails = fault == SIM_FAIL || fault == SIM_REFUSE;
    switch (effect->type) {
    case CUTOVER_DO_RECORD:
        if (!fails) sim->disk_plan = sim->disk_open = true;
        break;
    case CUTOVER_DO_PAUSE: sim->is_running = false; break; /* a pause that fails may have been carried out */
    case CUTOVER_DO_FLIP:
        if (fault == SIM_UNKNOWN || fault == SIM_FAIL) {
            sim->disk_pending = B;
            sim->disk_pending_epoch = sim->epoch + 1;
        } else {
            commit(sim, B, sim->epoch + 1);
            sim->disk_flipped = true;
        }
        break;
    case CUTOVER_DO_COMMIT_OLD:
        if (!fails) {
            commit(sim, A, sim->epoch + 2);
            sim->disk_flipped = false;
        }
        break;
    case CUTOVER_DO_RESUME:
        if (!fails) {
            sim->is_running = sim->was_running;
            sim->resumes++;
        }
        break;
    case CUTOVER_DO_END:
        if (!fails) sim->disk_open = sim->disk_plan = sim->disk_flipped = false;
        break;
    case CUTOVER_DO_LIST_OLD:
        if (fault == SIM_OK || fault == SIM_LATE) sim->threads_left = sim->threads_left > 0 ? sim->threads_left : 0;
        break;
    case CUTOVER_DO_READ_CHECK:
    case CUTOVER_DO_PARK:
    case CUTOVER_DO_READ_GATE:
    case CUTOVER_DO_LIST_LIVE:
    case CUTOVER_DO_HOLD:
    case CUTOVER_DO_DRAIN:
    case CUTOVER_DO_KILL_REST:
    case CUTOVER_DO_READ_NEW:
    case CUTOVER_DO_RELEASE_NEW:
    case CUTOVER_DO_RELEASE_OLD:
    case CUTOVER_DO_VERIFY:
    case CUTOVER_DO_REPORT: break;
    }
}

static enum cutover_event_type answer_type(enum cutover_effect_type type)
{
    switch (type) {
    case CUTOVER_DO_READ_CHECK:
    case CUTOVER_DO_READ_GATE:
    case CUTOVER_DO_READ_NEW: return CUTOVER_EV_JUDGED;
    case CUTOVER_DO_RECORD: return CUTOVER_EV_RECORDED;
    case CUTOVER_DO_PARK: return CUTOVER_EV_PARKED;
    case CUTOVER_DO_PAUSE: return CUTOVER_EV_PAUSED;
    case CUTOVER_DO_LIST_LIVE: return CUTOVER_EV_SEEN;
    case CUTOVER_DO_HOLD: return CUTOVER_EV_HOLDING;
    case CUTOVER_DO_LIST_OLD: return CUTOVER_EV_LISTED;
    case CUTOVER_DO_FLIP: return CUTOVER_EV_FLIPPED;
    case CUTOVER_DO_COMMIT_OLD: return CUTOVER_EV_OLD_COMMITTED;
    case CUTOVER_DO_RESUME: return CUTOVER_EV_RESUMED;
    case CUTOVER_DO_VERIFY: return CUTOVER_EV_VERIFIED;
    case CUTOVER_DO_END: return CUTOVER_EV_ENDED;
    case CUTOVER_DO_DRAIN:
    case CUTOVER_DO_KILL_REST:
    case CUTOVER_DO_RELEASE_NEW:
    case CUTOVER_DO_RELEASE_OLD:
    case CUTOVER_DO_REPORT: return CUTOVER_EV_TIME; /* not answered */
    }
    return CUTOVER_EV_TIME;
}

static struct cutover_event answer_of(struct sim *sim, const struct cutover_effect *effect, enum sim_fault fault)
{
    struct cutover_event ev = { .type = answer_type(effect->type), .text = sim_fault_name(fault) };
    bool is_judged = ev.type == CUTOVER_EV_JUDGED;
    switch (fault) {
    case SIM_FAIL:
    case SIM_UNKNOWN:
        ev.status = SLUICE_ERR_IO;
        ev.verdict = CUTOVER_VERDICT_FAILED;
        break;
    case SIM_REFUSE:
        ev.status = SLUICE_ERR_REFUSED;
        ev.verdict = CUTOVER_VERDICT_REFUSED;
        break;
    case SIM_NEVER:
        ev.status = SLUICE_ERR_TIMEOUT;
        ev.verdict = CUTOVER_VERDICT_FAILED;
        break;
    case SIM_LAG:
        if (is_judged) ev.verdict = CUTOVER_VERDICT_LAGGING;
        if (is_judged) ev.status = SLUICE_ERR_TIMEOUT;
        if (ev.type == CUTOVER_EV_LISTED || ev.type == CUTOVER_EV_PARKED) ev.count = 1;
        if (ev.type == CUTOVER_EV_VERIFIED) ev.status = SLUICE_ERR_BUSY;
        break;
    case SIM_OK:
    case SIM_LATE:
    case SIM_CRASH_BEFORE:
    case SIM_CRASH_AFTER:
    case SIM_ABORT:
    case SIM_FAULT_COUNT: break;
    }
    if (effect->type == CUTOVER_DO_HOLD) ev.count = legs_to(sim, A);
    if (effect->type == CUTOVER_DO_LIST_OLD && ev.status == 0 && ev.count == 0 && sim->threads_left > 0) {
        ev.count = sim->threads_left; /* found and killed: gone from the next list */
        sim->threads_left = 0;
    }
    return ev;
}

/* Effects that are done when they return; false for those whose answer is awaited. */
static bool perform_at_once(struct sim *sim, const struct cutover_effect *effect)
{
    switch (effect->type) {
    case CUTOVER_DO_REPORT:
        if (effect->from == effect->to) return true;
        sim->edges[effect->from][effect->to] = true;
        trace(sim, "%s -> %s%s%s", cutover_state_name(effect->from), cutover_state_name(effect->to),
              *effect->text == '\0' ? "" : ": ", effect->text);
        return true;
    case CUTOVER_DO_DRAIN: sim->is_draining = true; return true;
    case CUTOVER_DO_KILL_REST:
        for (size_t i = 0; i < SIM_LEGS_MAX; i++) {
            if (sim->legs[i].is_open) close_leg(sim, &sim->legs[i]);
        }
        return true;
    case CUTOVER_DO_RELEASE_NEW:
        sim->active = B;
        sim->epoch = sim->disk_epoch;
        route(sim, B);
        sim->legs[0] = (struct sim_leg){ .is_open = true, .backend = B };
        return true;
    case CUTOVER_DO_RELEASE_OLD:
        sim->epoch = sim->disk_epoch;
        route(sim, A);
        return true;
    case CUTOVER_DO_READ_CHECK:
    case CUTOVER_DO_RECORD:
    case CUTOVER_DO_PARK:
    case CUTOVER_DO_PAUSE:
    case CUTOVER_DO_READ_GATE:
    case CUTOVER_DO_LIST_LIVE:
    case CUTOVER_DO_HOLD:
    case CUTOVER_DO_LIST_OLD:
    case CUTOVER_DO_READ_NEW:
    case CUTOVER_DO_FLIP:
    case CUTOVER_DO_COMMIT_OLD:
    case CUTOVER_DO_RESUME:
    case CUTOVER_DO_VERIFY:
    case CUTOVER_DO_END: return false;
    }
    return false;
}

static void perform(struct sim *sim, const struct cutover_effect *effect)
{
    enum sim_fault fault = fault_of(sim, effect->type);
    if (fault == SIM_CRASH_BEFORE) sim->is_crashed = true;
    if (sim->is_crashed) return;
    if (fault == SIM_ABORT) sim->abort_soon = true;
    if (perform_at_once(sim, effect)) {
        if (fault == SIM_CRASH_AFTER) sim->is_crashed = true;
        return;
    }
    if (effect->type == CUTOVER_DO_HOLD) sim->is_routing = false;
    uint64_t in_ms = effect->type == CUTOVER_DO_HOLD ? 0 : ANSWER_MS;
    if (fault == SIM_LATE) in_ms = LATE_MS;
    if (fault == SIM_NEVER) in_ms = DRIVER_LIMIT_MS; /* a driver's total deadline */
    if (fault == SIM_ABORT) in_ms = 20;
    if (fault == SIM_NEVER && (effect->type == CUTOVER_DO_FLIP || effect->type == CUTOVER_DO_COMMIT_OLD ||
                               effect->type == CUTOVER_DO_END || effect->type == CUTOVER_DO_RECORD))
        fault = SIM_LATE; /* a disk is waited for, however long */
    post(sim, effect, answer_of(sim, effect, fault), in_ms, fault);
    happen(sim, effect, fault);
    if (fault == SIM_CRASH_AFTER) sim->is_crashed = true;
}

static void feed(struct sim *sim, const struct cutover_event *ev)
{
    struct cutover_effects effects;
    struct cutover_event now = *ev;
    now.now_ms = sim->now_ms;
    cutover_step(&sim->cutover, &now, &effects);
    for (size_t i = 0; i < effects.count && !sim->is_crashed; i++) {
        perform(sim, &effects.items[i]);
        check_promises(sim);
    }
}

static bool deliver_one(struct sim *sim)
{
    for (size_t i = 0; i < sizeof sim->answers / sizeof sim->answers[0]; i++) {
        struct sim_answer *a = &sim->answers[i];
        if (!a->is_due || a->at_ms > sim->now_ms) continue;
        const struct cutover_event ev = a->ev;
        a->is_due = false;
        feed(sim, &ev);
        return true;
    }
    return false;
}

static void tick(struct sim *sim)
{
    drain(sim);
    serve_clients(sim);
    if (sim->abort_soon && !sim->is_crashed) {
        const struct cutover_event ev = { .type = CUTOVER_EV_ABORT };
        sim->abort_soon = false;
        feed(sim, &ev);
    }
    bool waits = sim->cutover.state == CUTOVER_STATE_DRAIN || sim->cutover.state == CUTOVER_STATE_KILL;
    if (waits && legs_to(sim, A) == 0 && !sim->is_crashed) {
        const struct cutover_event ev = { .type = CUTOVER_EV_LEGS, .count = 0 };
        feed(sim, &ev);
    }
    while (!sim->is_crashed && deliver_one(sim)) {
    }
    if (!sim->is_crashed && cutover_deadline_ms(&sim->cutover) <= sim->now_ms) {
        const struct cutover_event ev = { .type = CUTOVER_EV_TIME };
        feed(sim, &ev);
    }
    check_promises(sim);
}

/* Nothing happens before this instant: time jumps there. */
static uint64_t next_ms(const struct sim *sim)
{
    uint64_t next = cutover_deadline_ms(&sim->cutover);
    for (size_t i = 0; i < sizeof sim->answers / sizeof sim->answers[0]; i++) {
        if (sim->answers[i].is_due && sim->answers[i].at_ms < next) next = sim->answers[i].at_ms;
    }
    for (size_t i = 0; i < SIM_LEGS_MAX; i++) {
        const struct sim_leg *leg = &sim->legs[i];
        if (sim->is_draining && leg->is_open && leg->kind == SIM_LEG_BUSY && leg->busy_until_ms < next)
            next = leg->busy_until_ms;
    }
    uint64_t expiry = sim->held_since_ms == UINT64_MAX ? UINT64_MAX : sim->held_since_ms + sim->limits.hold_timeout_ms;
    if (expiry < next) next = expiry;
    bool is_waiting = sim->cutover.state == CUTOVER_STATE_DRAIN || sim->cutover.state == CUTOVER_STATE_KILL;
    bool is_drained = is_waiting && legs_to(sim, A) == 0;
    bool comes_a_client = !sim->is_routing && sim->held_since_ms == UINT64_MAX;
    return sim->abort_soon || is_drained || comes_a_client ? sim->now_ms + 1 : next;
}

static void run(struct sim *sim, uint64_t limit_ms)
{
    uint64_t until = sim->now_ms + limit_ms;
    while (sim->now_ms < until && !sim->is_crashed && sim->cutover.state != CUTOVER_STATE_IDLE) {
        uint64_t next = next_ms(sim);
        sim->now_ms = next <= sim->now_ms ? sim->now_ms + 1 : next > until ? until : next;
        tick(sim);
    }
    if (!sim->is_crashed && sim->cutover.state == CUTOVER_STATE_IDLE) {
        sim->has_ended = true;
        sim->exit = sim->cutover.exit;
    }
}

/* The process is gone: its sockets too; what is on disk stays, and an unknown commit has become one or the other. */
static void die(struct sim *sim, bool pending_is_there)
{
    trace(sim, "killed");
    for (size_t i = 0; i < SIM_LEGS_MAX; i++) {
        if (sim->legs[i].is_open) close_leg(sim, &sim->legs[i]);
    }
    memset(sim->answers, 0, sizeof sim->answers);
    sim->is_routing = sim->is_draining = sim->is_crashed = sim->abort_soon = false;
    sim->crashes++;
    if (sim->disk_pending >= 0 && pending_is_there) {
        sim->disk_active = sim->disk_pending;
        sim->disk_epoch = sim->disk_pending_epoch;
        sim->disk_flipped = true;
    }
    sim->disk_pending = -1;
    cutover_init(&sim->cutover, &sim->limits);
    sim->cutover.now_ms = sim->now_ms;
}

void sim_recover(struct sim *sim, uint64_t limit_ms)
{
    sim->active = sim->disk_active;
    sim->epoch = sim->disk_epoch;
    if (sim->disk_open) {
        const struct cutover_event ev = { .type = CUTOVER_EV_RECOVER, .flipped = sim->disk_flipped };
        feed(sim, &ev);
        run(sim, limit_ms);
    } else {
        route(sim, sim->disk_active);
        check_promises(sim);
        sim->has_ended = true;
        sim->exit = sim->disk_active == B ? CUTOVER_EXIT_DONE : CUTOVER_EXIT_UNDONE;
    }
}

void sim_init(struct sim *sim)
{
    memset(sim, 0, sizeof *sim);
    sim->limits = (struct cutover_limits){ .catchup_timeout_ms = 10000,
                                           .park_timeout_ms = 60000,
                                           .hold_timeout_ms = 8000,
                                           .drain_timeout_ms = 3000,
                                           .flip_reserve_ms = 500,
                                           .verify_timeout_ms = 120000 };
    cutover_init(&sim->cutover, &sim->limits);
    sim->epoch = sim->disk_epoch = 4;
    sim->was_running = sim->is_running = true;
    sim->held_since_ms = UINT64_MAX;
    sim->disk_pending = -1;
    route(sim, A);
}

void sim_leg(struct sim *sim, enum sim_leg_kind kind, uint64_t busy_for_ms)
{
    for (size_t i = 0; i < SIM_LEGS_MAX; i++) {
        if (sim->legs[i].is_open) continue;
        sim->legs[i] = (struct sim_leg){ .is_open = true, .kind = kind, .busy_until_ms = sim->now_ms + busy_for_ms };
        return;
    }
}

void sim_fault(struct sim *sim, enum cutover_effect_type type, unsigned nth, enum sim_fault fault)
{
    if (sim->plan_count < SIM_PLANS_MAX) sim->plans[sim->plan_count++] = (struct sim_plan){ type, nth, fault };
}

void sim_switch(struct sim *sim, uint64_t limit_ms)
{
    sim->cutover.limits = sim->limits;
    sim->cutover.old_is_dead = sim->old_is_dead;
    const struct cutover_event ev = { .type = CUTOVER_EV_START };
    feed(sim, &ev);
    run(sim, limit_ms);
    while (sim->is_crashed && sim->crashes < 3) {
        die(sim, sim->crashes % 2 == 0);
        sim_recover(sim, limit_ms);
    }
}
