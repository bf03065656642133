/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/admission.h"
#include "core/error.h"

static struct cutover idle;
static struct admission out;

static struct admission_input good(void)
{
    const struct cutover_limits limits = { .hold_timeout_ms = 8000, .drain_timeout_ms = 3000, .flip_reserve_ms = 500 };
    cutover_init(&idle, &limits);
    return (struct admission_input){ .has_record = true,
                                     .is_settled = true,
                                     .is_confirmed = true,
                                     .cutover = &idle,
                                     .active = "a",
                                     .latch = "",
                                     .waiting_for = "" };
}

/* A known, confirmed backend with nothing against it is routed to; that is the only case. */
static void test_admission_routes_only_to_a_confirmed_backend(void **state)
{
    (void)state;
    struct admission_input in = good();
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_ROUTE);
    in.is_confirmed = false;
    in.waiting_for = "connection refused by the host";
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_HOLD);
    assert_non_null(strstr(out.text, "waiting for backend a: connection refused by the host"));
}

/* No record, a latch, a hold by hand: each holds, and the text says which. */
static void test_admission_holds_for_each_reason(void **state)
{
    (void)state;
    struct admission_input in = good();
    in.has_record = false;
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_HOLD);
    assert_non_null(strstr(out.text, "not known"));
    in = good();
    in.latch = "rewound: it no longer has x";
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_HOLD);
    assert_non_null(strstr(out.text, "latched"));
    in = good();
    in.is_settled = false;
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_HOLD);
    assert_non_null(strstr(out.text, "earlier process"));
    in = good();
    in.is_held = true;
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_HOLD);
    assert_non_null(strstr(out.text, "by hand"));
}

/* From HOLD to FLIP_UNKNOWN nobody is routed, whatever else is well. */
static void test_admission_holds_while_the_switch_holds(void **state)
{
    (void)state;
    struct admission_input in = good();
    for (int s = 0; s < CUTOVER_STATE_COUNT; s++) {
        idle.state = (enum cutover_state)s;
        admission_decide(&in, &out);
        bool holds = s >= CUTOVER_STATE_HOLD && s <= CUTOVER_STATE_FLIP_UNKNOWN;
        assert_int_equal(out.mode, holds ? ADMISSION_HOLD : ADMISSION_ROUTE);
    }
}

/* A stop refuses at once: nobody waits for a process that goes. */
static void test_admission_refuses_when_stopping(void **state)
{
    (void)state;
    struct admission_input in = good();
    in.is_stopping = true;
    admission_decide(&in, &out);
    assert_int_equal(out.mode, ADMISSION_REFUSE);
    assert_int_equal(out.code, SLUICE_ERR_STOPPING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admission_routes_only_to_a_confirmed_backend),
        cmocka_unit_test(test_admission_holds_for_each_reason),
        cmocka_unit_test(test_admission_holds_while_the_switch_holds),
        cmocka_unit_test(test_admission_refuses_when_stopping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
