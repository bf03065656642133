/* SPDX-License-Identifier: Apache-2.0 */
/* The dump gate: which readers a server may serve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/dump_gate.h"

#define A "aaaaaaaa-0000-0000-0000-000000000001"
#define B "bbbbbbbb-0000-0000-0000-000000000002"

static struct gtid_set *set(const char *text)
{
    struct gtid_set *s = NULL;
    assert_int_equal(gtid_set_parse(text, strlen(text), &s, NULL), 0);
    return s;
}

/* One request to the server B, and how it is judged; |missing| NULL: nothing is. */
struct row {
    const char *request, *executed, *owned, *purged, *loss;
    bool names_file;
    enum dump_gate_verdict verdict;
    const char *missing;
};

static void check_row(const struct row *row)
{
    uint8_t uuid[GTID_UUID_BYTES];
    struct gtid_set *request = set(row->request), *executed = set(row->executed), *owned = set(row->owned);
    struct gtid_set *purged = set(row->purged), *loss = row->loss == NULL ? NULL : set(row->loss);
    struct dump_gate_result result = { 0 };
    const struct dump_gate_input in = { .request = request,
                                        .names_file = row->names_file,
                                        .owned = owned,
                                        .executed = executed,
                                        .purged = purged,
                                        .uuid = uuid,
                                        .accepted_loss = loss };
    assert_int_equal(gtid_uuid_parse(B, strlen(B), uuid), 0);
    assert_int_equal(dump_gate_judge(&in, &result), 0);
    assert_int_equal(result.verdict, row->verdict);
    assert_true((result.missing == NULL) == (row->missing == NULL));
    if (row->missing != NULL) {
        struct gtid_set *wanted = set(row->missing);
        assert_true(gtid_set_equal(result.missing, wanted));
        gtid_set_del(wanted);
    }
    gtid_set_del(result.missing);
    gtid_set_del(request);
    gtid_set_del(executed);
    gtid_set_del(owned);
    gtid_set_del(purged);
    gtid_set_del(loss);
}

/* Every verdict, each with the set that explains it. */
static void test_requests_are_judged_by_what_the_server_has(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "", A ":1-9", "", "", NULL, false, DUMP_GATE_PASS, NULL },
        { A ":1-9", A ":1-9," B ":1-3", "", "", NULL, false, DUMP_GATE_PASS, NULL },
        { A ":1-10", A ":1-9", "", "", NULL, false, DUMP_GATE_BEHIND, A ":10" },
        { A ":1-9," B ":1-5", A ":1-9," B ":1-3", "", "", NULL, false, DUMP_GATE_REWOUND, B ":4-5" },
        { A ":1-10," B ":1-5", A ":1-9," B ":1-3", "", "", NULL, false, DUMP_GATE_REWOUND, B ":4-5" },
        { B ":1-4", B ":1-3", B ":4", "", NULL, false, DUMP_GATE_PASS, NULL },
        { A ":1-10," B ":1-5", A ":1-9," B ":1-3", "", "", A ":10," B ":4-9", false, DUMP_GATE_PASS, NULL },
        { A ":1-3", A ":1-9", "", A ":1-5", NULL, false, DUMP_GATE_PASS, NULL },
        { A ":1-3", A ":1-9", "", A ":1-5", NULL, true, DUMP_GATE_PURGED, A ":4-5" },
        { A ":1-5", A ":1-9", "", A ":1-5", NULL, true, DUMP_GATE_PASS, NULL },
        { A ":1-3," B ":7", A ":1-9", "", A ":1-5", NULL, true, DUMP_GATE_REWOUND, B ":7" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

/* What was accepted as lost is taken from the request first: for the server's E, and for its P, which it compares with all of it. */
static void test_accepted_losses_are_no_part_of_a_request(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { A ":1-10", A ":1-9", "", "", A ":10", false, DUMP_GATE_PASS, NULL },
        { A ":1-10", A ":1-9", "", A ":1-5", A ":10", false, DUMP_GATE_PASS, NULL },
        { A ":1-10", A ":1-10", "", A ":1-10", A ":10", false, DUMP_GATE_LOST, A ":10" },
        { A ":1-10", A ":1-10", "", A ":1-10", A ":10", true, DUMP_GATE_LOST, A ":10" },
        { A ":1-10", A ":1-12", "", A ":1-11", A ":10", false, DUMP_GATE_PASS, NULL }, /* the server's own 1236 */
        { A ":1-10", A ":1-12", "", A ":1-11", A ":10", true, DUMP_GATE_PURGED, A ":10-11" },
        { A ":1-10", A ":1-10", "", A ":1-9", A ":10", false, DUMP_GATE_PASS, NULL },
        { A ":1-10," B ":3", A ":1-10," B ":3", "", B ":3", B ":1-9", false, DUMP_GATE_LOST, B ":3" },
        { A ":t:1-3", A ":t:1-3", "", A ":t:1-3", A ":t:3", false, DUMP_GATE_LOST, A ":t:3" },
        { A ":1-11", A ":1-9", "", A ":1-9", A ":5-10", false, DUMP_GATE_BEHIND, A ":11" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_judged_by_what_the_server_has),
        cmocka_unit_test(test_accepted_losses_are_no_part_of_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
