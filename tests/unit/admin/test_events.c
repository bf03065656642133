/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "admin/events.h"
#include "core/error.h"
#include "core/mem.h"

static struct admin_event_log *add(struct admin_events *events, uint64_t number, const char *type, int at)
{
    struct admin_event_log *log = NULL;
    json_t *event = json_pack("{s:s, s:i}", "type", type, "at-ms", at);
    assert_int_equal(admin_events_add(events, number, event, &log), 0);
    json_decref(event);
    return log;
}

static void expect(const struct admin_event_log *log, uint64_t *seq, uint64_t lost, const char *line)
{
    uint64_t got_lost;
    const char *got = admin_event_log_read(log, seq, &got_lost);
    assert_int_equal(got_lost, lost);
    if (line == NULL) {
        assert_null(got);
    } else {
        assert_string_equal(got, line);
    }
}

/* A reader that comes late gets all of them in order, then those that come later. */
static void test_events_are_replayed_in_order(void **state)
{
    (void)state;
    struct admin_events events;
    admin_events_init(&events, 100, 4);
    struct admin_event_log *log = add(&events, 7, "step", 0);
    add(&events, 8, "step", 100);
    add(&events, 7, "step", 1);
    uint64_t seq = 0;
    expect(log, &seq, 0, "{\"type\":\"step\",\"at-ms\":0}");
    expect(log, &seq, 0, "{\"type\":\"step\",\"at-ms\":1}");
    expect(log, &seq, 0, NULL);
    add(&events, 7, "end", 2);
    assert_true(log->is_ended);
    expect(log, &seq, 0, "{\"type\":\"end\",\"at-ms\":2}");
    expect(log, &seq, 0, NULL);
    admin_events_free(&events);
}

/* A switch that makes more events than are kept loses the oldest, and a reader that missed them is told how many. */
static void test_events_of_a_switch_are_bounded(void **state)
{
    (void)state;
    enum { KEPT = 50, MADE = 1000 };
    struct admin_events events;
    admin_events_init(&events, KEPT, 4);
    struct admin_event_log *log = NULL;
    for (int i = 0; i < MADE; i++)
        log = add(&events, 1, "step", i);
    uint64_t seq = 0;
    expect(log, &seq, MADE - KEPT, "{\"type\":\"step\",\"at-ms\":950}");
    for (int i = 951; i < MADE; i++) {
        char line[64];
        snprintf(line, sizeof line, "{\"type\":\"step\",\"at-ms\":%d}", i);
        expect(log, &seq, 0, line);
    }
    expect(log, &seq, 0, NULL);
    admin_events_free(&events);
}

/* Of ended switches the last few are kept, by when they ended; open ones are never forgotten. */
static void test_events_forget_the_switch_that_ended_first(void **state)
{
    (void)state;
    struct admin_events events;
    admin_events_init(&events, 10, 2);
    add(&events, 1, "step", 0); /* the longest one */
    for (uint64_t n = 2; n <= 5; n++)
        add(&events, n, "end", 0);
    assert_null(admin_events_find(&events, 2));
    assert_null(admin_events_find(&events, 3));
    assert_non_null(admin_events_find(&events, 1));
    add(&events, 1, "end", 0);
    assert_non_null(admin_events_find(&events, 1));
    assert_non_null(admin_events_find(&events, 5));
    assert_null(admin_events_find(&events, 4));
    admin_events_free(&events);
}

/* A log that is forgotten while somebody reads it lives until that one is through. */
static void test_events_forgotten_log_outlives_its_readers(void **state)
{
    (void)state;
    struct admin_events events;
    admin_events_init(&events, 10, 1);
    struct admin_event_log *log = add(&events, 1, "end", 5);
    admin_event_log_ref(log);
    add(&events, 2, "end", 0);
    assert_null(admin_events_find(&events, 1));
    uint64_t seq = 0;
    expect(log, &seq, 0, "{\"type\":\"end\",\"at-ms\":5}");
    admin_event_log_unref(log);
    admin_events_free(&events);
}

/* Nothing comes after the end. */
static void test_events_end_is_the_last(void **state)
{
    (void)state;
    struct admin_events events;
    struct admin_event_log *log = NULL;
    admin_events_init(&events, 10, 1);
    add(&events, 1, "end", 0);
    json_t *late = json_pack("{s:s}", "type", "step");
    assert_int_equal(admin_events_add(&events, 1, late, &log), SLUICE_ERR_BUSY);
    assert_null(log);
    json_decref(late);
    admin_events_free(&events);
}

/* An event for which there is no memory is a gap that readers see, whichever allocation failed. */
static void test_events_without_memory_are_a_gap(void **state)
{
    (void)state;
    for (unsigned long n = 1; n <= 3; n++) {
        struct admin_events events;
        struct admin_event_log *log = NULL;
        json_t *event = json_pack("{s:s, s:i}", "type", "end", "at-ms", 1);
        admin_events_init(&events, 10, 1);
        mem_fail_at(n);
        int rv = admin_events_add(&events, 1, event, &log);
        mem_fail_at(0);
        assert_int_equal(rv, SLUICE_ERR_NOMEM);
        json_decref(event);
        if (n == 1) {
            assert_null(log); /* not even the log */
        } else {
            uint64_t seq = 0;
            expect(log, &seq, 1, NULL);
            assert_true(log->is_ended);
        }
        admin_events_free(&events);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_are_replayed_in_order),
        cmocka_unit_test(test_events_of_a_switch_are_bounded),
        cmocka_unit_test(test_events_forget_the_switch_that_ended_first),
        cmocka_unit_test(test_events_forgotten_log_outlives_its_readers),
        cmocka_unit_test(test_events_end_is_the_last),
        cmocka_unit_test(test_events_without_memory_are_a_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
