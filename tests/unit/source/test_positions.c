/* SPDX-License-Identifier: Apache-2.0 */
/* A reader that is lost already is told, and blocks nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/mem.h"
#include "source/positions.h"

#define A "aaaaaaaa-0000-0000-0000-000000000001"

static struct gtid_set *set_of(const char *text)
{
    struct gtid_set *set = NULL;
    assert_int_equal(gtid_set_parse(text, strlen(text), &set, NULL), 0);
    return set;
}

struct reader {
    const char *s;
    enum consumer_stage stage;
};

/* The verdict on |readers| where the new server has purged 1-50 and the old one |old_purged|; how many are lost in |*out_lost|. */
static size_t count_failures(const struct reader *readers, size_t count, bool has_relay, const char *old_purged,
                             size_t *out_lost)
{
    struct consumer_status c = { .task_count = count, .relay.is_present = has_relay };
    struct positions p = { 0 };
    c.tasks = mem_calloc(count, sizeof *c.tasks);
    for (size_t i = 0; i < count; i++)
        c.tasks[i] =
            (struct consumer_task){ .name = mem_strdup("t"), .stage = readers[i].stage, .s = set_of(readers[i].s) };
    assert_int_equal(positions_take(&p, &c), 0);
    struct gtid_set *purged = set_of(A ":1-50"), *executed = set_of(A ":1-100");
    struct gtid_set *old = old_purged == NULL ? NULL : set_of(old_purged);
    struct gtid_gate_result result;
    const struct gtid_gate_input in = {
        .purged = purged, .executed = executed, .readers = p.readers, .reader_count = p.reader_count
    };
    assert_int_equal(gtid_gate_check(&in, &result), 0);
    positions_mark_lost(&p, old, &result);
    size_t failures = 0;
    *out_lost = 0;
    for (size_t i = 0; i < result.condition_count; i++) {
        failures += result.conditions[i].status == GTID_GATE_FAIL;
        if (result.conditions[i].status != GTID_GATE_UNKNOWN) continue;
        assert_int_equal(strncmp(result.conditions[i].text, "lost already, ", 14), 0);
        ++*out_lost;
    }
    gtid_gate_result_free(&result);
    gtid_set_del(purged);
    gtid_set_del(executed);
    gtid_set_del(old);
    positions_free(&p);
    consumer_status_free(&c);
    return failures;
}

/* Only one that the old server has purged too, that reads the server itself, and that stands still: not one that merely lags. */
static void test_only_what_is_lost_already_is_let_go(void **state)
{
    static const struct reader lost = { A ":1-20", CONSUMER_STAGE_PAUSED_BY_ERROR },
                               lagging = { A ":1-40", CONSUMER_STAGE_PAUSED_BY_COMMAND },
                               running = { A ":1-20", CONSUMER_STAGE_RUNNING },
                               well = { A ":1-90", CONSUMER_STAGE_PAUSED_BY_COMMAND };
    const struct {
        struct reader readers[2];
        bool has_relay;
        const char *old_purged;
        size_t failures, lost;
    } cases[] = {
        { { well, well }, false, A ":1-30", 0, 0 }, { { lost, well }, false, A ":1-30", 0, 1 },
        { { well, lost }, false, A ":1-30", 0, 1 }, { { lost, lagging }, false, A ":1-30", 1, 1 },
        { { lost, well }, false, A ":1-20", 1, 0 }, { { lost, well }, false, NULL, 1, 0 },
        { { lost, well }, true, A ":1-30", 1, 0 },  { { running, well }, false, A ":1-30", 1, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t let_go = 0;
        size_t failures = count_failures(cases[i].readers, 2, cases[i].has_relay, cases[i].old_purged, &let_go);
        if (failures != cases[i].failures || let_go != cases[i].lost)
            fail_msg("case %zu: %zu failures, %zu lost", i, failures, let_go);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_only_what_is_lost_already_is_let_go) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
