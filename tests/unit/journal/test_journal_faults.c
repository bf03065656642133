/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk fails, or the process dies, at each operation of a flip (promise 3): what a restart finds is the old state or the new
 * one and never a mix; an answer of 0 holds against a power cut; and after an unknown answer a later commit settles it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/error.h"
#include "journal/vfs_fault.h"
#include "world.h"

/* What a child that ends by SIGKILL tells; in memory that both see. */
struct told {
    struct vfs_fault fault;
    int status;        /* of the flip; 1 while none was answered */
    int settle_status; /* of the commit after it; 1 likewise */
    uint64_t fired;    /* how often the fault struck */
    bool is_log_long;  /* the flip is to be met by a log that is not empty */
    bool must_settle;
    bool is_ready; /* the fault was armed */
};

static struct told *told;

static int setup(void **state)
{
    static struct world w;
    world_up(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    vfs_fault_arm(NULL);
    vfs_fault_shadow(NULL);
    world_down(*state);
    return 0;
}

/* Epoch 4 on a, a switch to b that holds: all that comes before the flip. */
static void given_switch(struct world *w)
{
    world_must_open(w);
    assert_int_equal(put_source(w, "s", "a", 4), 0);
    assert_int_equal(begin_switch(w, "s", "a", "b", 4), 1);
    world_close(w);
}

/* The flip a/4 -> b/5 with the fault in it; then, if asked for, the commit that is to settle it: a/6. */
static void child_flips(struct world *w)
{
    world_must_open(w);
    struct record_pin pin = { .source_id = lit("s"), .backend = lit("a"), .server_uuid = lit("u") };
    for (unsigned i = 0; told->is_log_long && i < 5; i++) {
        struct result result = { 0 };
        pin.updated_unix_ms = i;
        journal_pin_put(w->journal, &pin, &w->mailbox, on_result, &result);
        world_run_until(w, &result.is_done);
    }
    vfs_fault_arm(&told->fault);
    told->is_ready = true;
    told->status = flip(w, 1, "s", "a", "b", 4);
    told->fired = vfs_fault_fired();
    if (!told->must_settle || told->status == 0) return;
    if (!told->fault.is_lasting) vfs_fault_arm(NULL);
    struct record_source source = a_source("s", "a", 6);
    struct record_switch undone = a_switch("s", "a", "b", 4, "undone");
    undone.number = 1;
    undone.state = RECORD_SWITCH_UNDONE;
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, &source);
    journal_txn_switch_put(&txn, &undone);
    told->settle_status = world_commit(w, &txn).status;
}

enum found { FOUND_OLD, FOUND_NEW, FOUND_SETTLED };

/* What a restart finds; the test fails when it is a mix. */
static enum found find(struct world *w)
{
    world_must_open(w);
    const struct record_source *source = journal_state_source(&w->state, "s");
    const struct record_switch *open = journal_state_open_switch(&w->state, "s");
    assert_non_null(source);
    enum found found = FOUND_SETTLED;
    if (source->epoch == 6) {
        assert_string_equal(source->active, "a");
        assert_null(open);
    } else {
        assert_non_null(open);
        found = strcmp(open->phase, "flipped") == 0 ? FOUND_NEW : FOUND_OLD;
        assert_string_equal(source->active, found == FOUND_NEW ? "b" : "a");
        assert_int_equal(source->epoch, found == FOUND_NEW ? 5 : 4);
    }
    world_close(w);
    return found;
}

/* What a restart finds after a power cut: only what |w->shadow| has. */
static enum found find_after_power_cut(struct world *w)
{
    struct world cut = *w;
    cut.journal = NULL;
    cut.state = (struct journal_state){ 0 };
    cut.error = NULL;
    char copy[512];
    snprintf(cut.dir, sizeof cut.dir, "%s/cut", w->root);
    snprintf(copy, sizeof copy, "rm -rf %s && cp -r %s %s", cut.dir, w->shadow, cut.dir);
    assert_int_equal(system(copy), 0);
    vfs_fault_shadow(NULL);
    enum found found = find(&cut);
    vfs_fault_shadow(w->shadow);
    return found;
}

static void reset(const struct vfs_fault *fault, bool is_log_long, bool must_settle)
{
    *told = (struct told){
        .fault = *fault, .status = 1, .settle_status = 1, .is_log_long = is_log_long, .must_settle = must_settle
    };
}

/* One flip with |fault| in a state-dir of its own. Returns what a restart finds after the kill -9. */
static enum found flip_with(const struct vfs_fault *fault, bool is_log_long, bool must_settle)
{
    struct world w;
    world_up(&w);
    given_switch(&w);
    reset(fault, is_log_long, must_settle);
    world_in_child(&w, child_flips);
    assert_true(told->is_ready);
    enum found found = find(&w);
    world_down(&w);
    return found;
}

static const enum vfs_fault_op disk_ops[] = { VFS_FAULT_SYNC, VFS_FAULT_WRITE };
static const enum vfs_fault_action disk_errors[] = { VFS_FAULT_EIO, VFS_FAULT_ENOSPC };
static const enum vfs_fault_action crashes[] = { VFS_FAULT_CRASH_BEFORE, VFS_FAULT_CRASH_AFTER };

/*
 * EIO and ENOSPC at each sync and each write of a flip, then kill -9: old or new, never a mix. The answer is "unknown" whenever the
 * fault struck, and both outcomes are really seen: that is why nobody may guess.
 */
static void test_failed_flip_is_old_or_new_after_kill(void **state)
{
    (void)state;
    int seen[3] = { 0 };
    for (size_t op = 0; op < ARRAY_LEN(disk_ops); op++) {
        for (size_t error = 0; error < ARRAY_LEN(disk_errors); error++) {
            for (int is_log_long = 0; is_log_long < 2; is_log_long++) {
                unsigned n = 0;
                do {
                    n++;
                    struct vfs_fault fault = { .op = disk_ops[op], .nth = n, .action = disk_errors[error] };
                    enum found found = flip_with(&fault, is_log_long != 0, false);
                    assert_int_equal(told->status, told->fired > 0 ? SLUICE_ERR_JOURNAL : 0);
                    if (told->status == 0) assert_int_equal(found, FOUND_NEW);
                    if (told->status != 0) seen[found]++;
                } while (told->fired > 0);
                assert_true(n >= 2); /* there was at least one to fail */
            }
        }
    }
    print_message("unknown flips: %d old, %d new after kill -9\n", seen[FOUND_OLD], seen[FOUND_NEW]);
    assert_true(seen[FOUND_OLD] > 0);
    assert_true(seen[FOUND_NEW] > 0);
    assert_int_equal(seen[FOUND_SETTLED], 0);
}

/* After an unknown flip, the old backend with a newer epoch is committed: once that is answered 0, it alone is what a restart finds. */
static void test_later_commit_settles_an_unknown_flip(void **state)
{
    (void)state;
    for (size_t op = 0; op < ARRAY_LEN(disk_ops); op++) {
        for (int is_log_long = 0; is_log_long < 2; is_log_long++) {
            for (unsigned n = 1;; n++) {
                struct vfs_fault fault = { .op = disk_ops[op], .nth = n, .action = VFS_FAULT_EIO };
                enum found found = flip_with(&fault, is_log_long != 0, true);
                if (told->fired == 0) break;
                assert_int_equal(told->status, SLUICE_ERR_JOURNAL);
                assert_int_equal(told->settle_status, 0);
                assert_int_equal(found, FOUND_SETTLED);
            }
        }
    }
}

/* While the disk goes on failing nothing is settled: each commit is answered as unknown, and a restart finds one of them, whole. */
static void test_nothing_is_settled_while_the_disk_fails(void **state)
{
    (void)state;
    for (size_t op = 0; op < ARRAY_LEN(disk_ops); op++) {
        struct vfs_fault fault = { .op = disk_ops[op], .nth = 1, .is_lasting = true, .action = VFS_FAULT_EIO };
        flip_with(&fault, true, true);
        assert_int_equal(told->status, SLUICE_ERR_JOURNAL);
        assert_int_equal(told->settle_status, SLUICE_ERR_JOURNAL);
    }
}

/* kill -9 right before and right after each sync and each write of a flip: old or new; new once it was answered. */
static void test_crash_in_flip_is_old_or_new(void **state)
{
    (void)state;
    int seen[3] = { 0 };
    for (size_t op = 0; op < ARRAY_LEN(disk_ops); op++) {
        for (size_t crash = 0; crash < ARRAY_LEN(crashes); crash++) {
            for (unsigned n = 1;; n++) {
                struct vfs_fault fault = { .op = disk_ops[op], .nth = n, .action = crashes[crash] };
                enum found found = flip_with(&fault, n % 2 == 0, false);
                if (told->status == 0) assert_int_equal(found, FOUND_NEW);
                seen[found]++;
                if (told->status != 1) break; /* it lived to see the answer */
            }
        }
    }
    assert_true(seen[FOUND_OLD] > 0);
    assert_true(seen[FOUND_NEW] > 4);
}

static void child_opens(struct world *w)
{
    vfs_fault_arm(&told->fault);
    told->is_ready = true;
    told->status = world_open(w);
    told->fired = vfs_fault_fired();
}

/* A first start that dies at any write or sync leaves nothing that the next start stumbles over. */
static void test_crash_in_first_start_is_a_first_start_again(void **state)
{
    (void)state;
    for (size_t op = 0; op < ARRAY_LEN(disk_ops); op++) {
        for (size_t crash = 0; crash < ARRAY_LEN(crashes); crash++) {
            for (unsigned n = 1;; n++) {
                struct world w;
                struct vfs_fault fault = { .op = disk_ops[op], .nth = n, .action = crashes[crash] };
                world_up(&w);
                reset(&fault, false, false);
                world_in_child(&w, child_opens);
                world_must_open(&w);
                assert_int_equal(w.state.source_count, 0);
                assert_int_equal(put_source(&w, "s", "a", 1), 0);
                world_down(&w);
                if (told->status == 0) {
                    assert_true(n > 2);
                    break;
                }
            }
        }
    }
}

/* A restart that dies while it brings the log home has lost nothing. */
static void test_crash_in_restart_loses_nothing(void **state)
{
    (void)state;
    static const struct vfs_fault none = { .op = VFS_FAULT_SYNC };
    for (size_t op = 0; op < ARRAY_LEN(disk_ops); op++) {
        for (unsigned n = 1;; n++) {
            struct world w;
            world_up(&w);
            given_switch(&w);
            reset(&none, true, false);
            world_in_child(&w, child_flips);
            assert_int_equal(told->status, 0);
            struct vfs_fault fault = { .op = disk_ops[op], .nth = n, .action = crashes[n % 2] };
            reset(&fault, false, false);
            world_in_child(&w, child_opens);
            assert_int_equal(find(&w), FOUND_NEW);
            world_down(&w);
            if (told->status == 0) {
                assert_true(n > 1);
                break;
            }
        }
    }
}

/* A checkpoint that fails takes no answer with it: commits go on, the log grows, and nothing is lost by a kill -9. */
static void child_fails_checkpoints(struct world *w)
{
    static char big[20000];
    memset(big, 'g', sizeof big - 1);
    struct record_pin pin = { .source_id = lit("s"), .backend = lit("b"), .executed = big };
    world_must_open(w);
    struct vfs_fault fault = { .op = VFS_FAULT_TRUNCATE, .nth = 1, .is_lasting = true, .action = VFS_FAULT_EIO };
    vfs_fault_arm(&fault);
    for (unsigned i = 1; i <= 200; i++) {
        struct result result = { 0 };
        pin.updated_unix_ms = i;
        journal_pin_put(w->journal, &pin, &w->mailbox, on_result, &result);
        world_run_until(w, &result.is_done);
        assert_int_equal(result.status, 0);
        told->fired = i;
    }
}

static void test_failed_checkpoint_loses_nothing(void **state)
{
    struct world *w = *state;
    given_switch(w);
    reset(&(struct vfs_fault){ .op = VFS_FAULT_SYNC }, false, false);
    world_in_child(w, child_fails_checkpoints);
    world_must_open(w);
    assert_int_equal(told->fired, 200);
    assert_int_equal(journal_state_pin(&w->state, "s", "b")->updated_unix_ms, 200);
}

/* Each answer of 0 is preceded by a sync of its own when it waits alone; many that wait together share one. */
static void test_commit_is_synced_before_it_is_answered(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = vfs_fault_count(VFS_FAULT_SYNC);
        assert_int_equal(put_source(w, "s", "a", i), 0);
        assert_true(vfs_fault_count(VFS_FAULT_SYNC) > before);
    }
    static struct result results[400];
    memset(results, 0, sizeof results);
    uint64_t before = vfs_fault_count(VFS_FAULT_SYNC);
    for (unsigned i = 0; i < 400; i++) {
        struct record_source source = a_source("s", "a", 20 + i);
        journal_source_put(w->journal, &source, &w->mailbox, on_result, &results[i]);
    }
    world_run_until(w, &results[399].is_done);
    uint64_t syncs = vfs_fault_count(VFS_FAULT_SYNC) - before;
    assert_true(syncs >= 400 / 64 && syncs < 200); /* to queue one is far cheaper than to commit one */
}

/*
 * After a flip, a failed flip, and a settled one, each with every sync of it failing once, the power is cut: what was answered 0 is
 * what is there, and an unknown flip is old or new.
 */
static void test_answered_commit_outlives_a_power_cut(void **state)
{
    (void)state;
    for (int is_log_long = 0; is_log_long < 2; is_log_long++) {
        for (unsigned n = 1;; n++) {
            struct world w;
            struct vfs_fault fault = { .op = VFS_FAULT_SYNC, .nth = n, .action = VFS_FAULT_EIO };
            world_up(&w);
            vfs_fault_shadow(w.shadow);
            given_switch(&w);
            reset(&fault, is_log_long != 0, n % 2 == 0);
            world_in_child(&w, child_flips);
            enum found found = find_after_power_cut(&w);
            if (told->status == 0) assert_int_equal(found, FOUND_NEW);
            if (told->settle_status == 0) assert_int_equal(found, FOUND_SETTLED);
            vfs_fault_shadow(NULL);
            world_down(&w);
            if (told->fired == 0) break;
        }
    }
}

/*
 * The flip's sync failed, then kill -9: the frames are in the page cache, the disk has none of them, and no later sync would tell.
 * What the restart finds must be durable by then: a power cut after it finds the same.
 */
static void test_what_a_restart_finds_outlives_a_power_cut(void **state)
{
    (void)state;
    int seen[3] = { 0 };
    for (unsigned n = 1;; n++) {
        struct world w;
        struct vfs_fault fault = { .op = VFS_FAULT_SYNC, .nth = n, .action = VFS_FAULT_EIO };
        world_up(&w);
        vfs_fault_shadow(w.shadow);
        given_switch(&w);
        reset(&fault, true, false);
        world_in_child(&w, child_flips);
        world_must_open(&w); /* open when the power goes: closing would tidy up */
        bool is_new = strcmp(w.state.sources[0].active, "b") == 0;
        enum found found = find_after_power_cut(&w);
        assert_int_equal(found, is_new ? FOUND_NEW : FOUND_OLD);
        if (told->status != 0) seen[found]++;
        vfs_fault_shadow(NULL);
        world_down(&w);
        if (told->fired == 0) break;
    }
    assert_true(seen[FOUND_NEW] > 0);
}

/* The log may not grow beyond 100 kB: as on a full disk, where the pages of the file itself can still be written. */
static void child_meets_full_disk(struct world *w)
{
    static const struct rlimit limit = { .rlim_cur = 100000, .rlim_max = 100000 };
    world_must_open(w);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (unsigned i = 1; i <= 200; i++) {
        int status = put_source(w, "s", "a", 4 + i);
        if (status == 0) continue;
        assert_int_equal(status, SLUICE_ERR_JOURNAL);
        told->fired++;
        assert_int_equal(put_source(w, "s", "a", 4 + i), 0);
    }
    told->status = 0;
}

/* When the log finds no more room, one commit fails, its space is won back from what is in the file already, and the next succeeds. */
static void test_commits_go_on_when_only_the_log_has_no_room(void **state)
{
    struct world *w = *state;
    given_switch(w);
    reset(&(struct vfs_fault){ .op = VFS_FAULT_SYNC }, false, false);
    world_in_child(w, child_meets_full_disk);
    assert_int_equal(told->status, 0);
    assert_true(told->fired > 0);
    world_must_open(w);
    assert_int_equal(journal_state_source(&w->state, "s")->epoch, 204);
}

/* The counters tell an operator that the disk fails. */
static void test_failures_are_counted(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    struct vfs_fault fault = { .op = VFS_FAULT_SYNC, .nth = 1, .action = VFS_FAULT_EIO };
    vfs_fault_arm(&fault);
    assert_int_equal(put_source(w, "s", "a", 1), SLUICE_ERR_JOURNAL);
    assert_int_equal(put_source(w, "s", "a", 2), 0);
    struct journal_stats stats;
    journal_stats_get(w->journal, &stats);
    assert_int_equal(stats.failures, 1);
    assert_int_equal(stats.commits, 1);
}

int main(void)
{
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED || vfs_fault_install() != 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_flip_is_old_or_new_after_kill),
        cmocka_unit_test(test_later_commit_settles_an_unknown_flip),
        cmocka_unit_test(test_nothing_is_settled_while_the_disk_fails),
        cmocka_unit_test(test_crash_in_flip_is_old_or_new),
        cmocka_unit_test(test_crash_in_first_start_is_a_first_start_again),
        cmocka_unit_test(test_crash_in_restart_loses_nothing),
        cmocka_unit_test_setup_teardown(test_failed_checkpoint_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commit_is_synced_before_it_is_answered, setup, teardown),
        cmocka_unit_test(test_answered_commit_outlives_a_power_cut),
        cmocka_unit_test(test_what_a_restart_finds_outlives_a_power_cut),
        cmocka_unit_test_setup_teardown(test_commits_go_on_when_only_the_log_has_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_are_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
