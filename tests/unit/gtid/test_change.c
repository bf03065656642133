/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <stdlib.h>

static unsigned long allocations; /* counted by the allocator below */
static unsigned long fail_at;     /* the allocation that fails; 0 is none */

static void *counting_realloc(void *p, size_t size)
{
    if (++allocations == fail_at) return NULL;
    return realloc(p, size);
}

static const struct gtid_allocator counting = { counting_realloc, free };

static int use_counting(void **state)
{
    (void)state;
    allocations = fail_at = 0;
    gtid_use_allocator(&counting);
    return 0;
}

static int use_library(void **state)
{
    (void)state;
    gtid_use_allocator(NULL);
    return 0;
}

/* Added numbers and ranges join what they touch, wherever they come. */
static void test_add_joins_what_it_touches(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        uint64_t first, last;
        const char *after;
    } rows[] = {
        { "", 5, 5, U ":5" },
        { U ":5", 6, 6, U ":5-6" },
        { U ":5", 4, 4, U ":4-5" },
        { U ":5", 5, 5, U ":5" },
        { U ":5", 3, 3, U ":3:5" },
        { U ":5", 7, 7, U ":5:7" },
        { U ":5:7", 6, 6, U ":5-7" },
        { U ":1:3:5:7:9", 3, 7, U ":1:3-7:9" },
        { U ":1:3:5:7:9", 2, 8, U ":1-9" },
        { U ":10:20:30", 12, 13, U ":10:12-13:20:30" },
        { U ":10:20:30", 1, 99, U ":1-99" },
        { U ":10-20:30", 12, 29, U ":10-30" },
        { V ":1," W ":1", 7, 7, V ":1," U ":7," W ":1" },
        { U ":2-9223372036854775806", 1, 1, U ":1-9223372036854775806" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gtid_set *set = set_of(rows[i].before);
        assert_int_equal(gtid_set_add_range(set, uuid_of(U), NULL, rows[i].first, rows[i].last), 0);
        assert_prints(set, rows[i].after);
    }
}

/* What is no GTID is refused, and the set is as it was. */
static void test_add_refuses_what_is_no_gtid(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1");
    assert_int_equal(gtid_set_add(set, uuid_of(U), "", 0), GTID_ERR_INVALID);
    assert_int_equal(gtid_set_add(set, uuid_of(U), "", GTID_NUMBER_MAX + 1), GTID_ERR_INVALID);
    assert_int_equal(gtid_set_add_range(set, uuid_of(U), "", 3, 2), GTID_ERR_INVALID);
    assert_int_equal(gtid_set_add(set, uuid_of(U), "1a", 1), GTID_ERR_INVALID);
    assert_int_equal(gtid_set_add(set, uuid_of(U), "a-b", 1), GTID_ERR_INVALID);
    assert_int_equal(gtid_set_add(set, uuid_of(U), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1), GTID_ERR_INVALID);
    assert_prints(set, U ":1");
}

/* Tags are one whether written in upper or lower case. */
static void test_add_takes_tags_in_any_case(void **state)
{
    (void)state;
    struct gtid_set *set = set_of("");
    assert_int_equal(gtid_set_add(set, uuid_of(U), "Tag_A", 1), 0);
    assert_int_equal(gtid_set_add(set, uuid_of(U), "tAG_a", 2), 0);
    assert_true(gtid_set_has(set, uuid_of(U), "TAG_A", 2));
    assert_prints(set, U ":tag_a:1-2");
}

/* The next number of a UUID takes no memory, however many there are and also when several UUIDs take turns. */
static void test_next_number_allocates_nothing(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1:t:1," V ":1");
    const uint8_t *u = uuid_of(U), *v = uuid_of(V);
    unsigned long before = allocations;
    for (uint64_t n = 2; n <= 200000; n++) {
        assert_int_equal(gtid_set_add(set, u, "", n), 0);
        assert_int_equal(gtid_set_add(set, v, "", n), 0);
        assert_int_equal(gtid_set_add(set, u, "t", n), 0);
    }
    assert_int_equal(allocations, before);
    assert_prints(set, V ":1-200000," U ":1-200000:t:1-200000");
}

/* A million gaps in order are added with few allocations: the array grows by a share of itself. */
static void test_gaps_in_order_are_added_in_amortised_constant_time(void **state)
{
    (void)state;
    struct gtid_set *set = set_of("");
    const uint8_t *u = uuid_of(U);
    for (uint64_t n = 1; n <= 1000000; n++)
        assert_int_equal(gtid_set_add(set, u, "", 2 * n), 0);
    assert_true(allocations < 100);
    assert_int_equal(gtid_set_interval_count(set), 1000000);
    gtid_set_del(set);
}

/* Copies do not share anything; clearing empties. */
static void test_copy_is_independent(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1-3:t:4"), *copy = gtid_set_copy(set);
    assert_true(gtid_set_equal(set, copy));
    assert_int_equal(gtid_set_add(copy, uuid_of(V), "", 9), 0);
    assert_int_equal(gtid_set_add(set, uuid_of(U), "", 4), 0);
    assert_prints(copy, V ":9," U ":1-3:t:4");
    gtid_set_clear(set);
    assert_true(gtid_set_is_empty(set));
    assert_int_equal(gtid_set_add(set, uuid_of(U), "", 4), 0);
    assert_prints(set, U ":4");
}

/* A set added to itself, or taken from itself. */
static void test_set_may_be_combined_with_itself(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1-3:t:4");
    assert_int_equal(gtid_set_add_set(set, set), 0);
    assert_int_equal(gtid_set_count(set), 4);
    assert_int_equal(gtid_set_remove_set(set, set), 0);
    assert_prints(set, "");
}

/* One call of each function that allocates, on sets that make it take its longer ways. Returns 0 or what failed. */
static int run_everything(void)
{
    static const char text[] = U ":1:t:5-9:3," V ":7:1-2," U ":9:1:4:20:30:40:50:60:70:80:90," V ":x:1";
    struct gtid_set *a = NULL, *b = NULL, *c = NULL, *made[8] = { NULL };
    uint8_t *bytes = NULL;
    char *printed = NULL;
    size_t len = 0;
    int rv = gtid_set_parse(text, strlen(text), &a, NULL);
    if (rv == 0) rv = gtid_set_parse(U ":2:5:t:6", strlen(U ":2:5:t:6"), &b, NULL);
    if (rv == 0) rv = (c = gtid_set_copy(a)) == NULL ? GTID_ERR_NOMEM : 0;
    if (rv == 0) rv = gtid_set_add(c, uuid_of(W), "new", 7);
    if (rv == 0) rv = gtid_set_add(c, uuid_of(U), "", 1000);
    if (rv == 0) rv = gtid_set_add(c, uuid_of(U), "", 65);
    if (rv == 0) rv = gtid_set_union(a, b, &made[0]);
    if (rv == 0) rv = gtid_set_subtract(a, b, &made[1]);
    if (rv == 0) rv = gtid_set_intersect(a, b, &made[2]);
    if (rv == 0) rv = gtid_set_of_uuid(a, uuid_of(U), &made[3]);
    if (rv == 0) rv = gtid_set_without_uuid(a, uuid_of(U), &made[4]);
    if (rv == 0) rv = gtid_set_add_set(c, b);
    if (rv == 0) rv = gtid_set_remove_set(c, b);
    if (rv == 0) rv = (printed = gtid_set_print(a, GTID_SEPARATOR_COMMA, NULL)) == NULL ? GTID_ERR_NOMEM : 0;
    if (rv == 0) rv = gtid_set_encode(a, GTID_ENCODING_AUTO, &bytes, &len);
    if (rv == 0) rv = gtid_set_decode(bytes, len, &made[5], NULL, NULL);
    if (rv == 0) rv = gtid_set_parse_owned(U ":7#1", strlen(U ":7#1"), &made[6], NULL);
    if (rv == 0 && !gtid_set_equal(a, made[5])) rv = 1;
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        gtid_set_del(made[i]);
    gtid_set_del(a);
    gtid_set_del(b);
    gtid_set_del(c);
    gtid_free(printed);
    gtid_free(bytes);
    return rv;
}

/* Whichever allocation fails, the call says so, nothing leaks, and nothing is half done. */
static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    assert_int_equal(run_everything(), 0);
    unsigned long all = allocations;
    assert_true(all > 40);
    for (unsigned long n = 1; n <= all; n++) {
        allocations = 0;
        fail_at = n;
        assert_int_equal(run_everything(), GTID_ERR_NOMEM);
    }
}

/* A failed addition leaves the set as it was. */
static void test_failed_addition_changes_nothing(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1:3:5:7"), *other = set_of(V ":1," W ":t:2"), *was = gtid_set_copy(set);
    for (unsigned long n = 1; n <= 4; n++) {
        allocations = 0;
        fail_at = n;
        assert_int_equal(gtid_set_add_set(set, other), GTID_ERR_NOMEM);
        assert_true(gtid_set_equal(set, was));
    }
    for (unsigned long n = 1; n <= 2; n++) {
        allocations = 0;
        fail_at = n;
        assert_int_equal(gtid_set_add(set, uuid_of(V), "", 1), GTID_ERR_NOMEM);
        assert_true(gtid_set_equal(set, was));
    }
    gtid_set_del(set);
    gtid_set_del(other);
    gtid_set_del(was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_add_joins_what_it_touches, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_add_refuses_what_is_no_gtid, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_add_takes_tags_in_any_case, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_next_number_allocates_nothing, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_gaps_in_order_are_added_in_amortised_constant_time, use_counting,
                                        use_library),
        cmocka_unit_test_setup_teardown(test_copy_is_independent, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_set_may_be_combined_with_itself, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_every_allocation_may_fail, use_counting, use_library),
        cmocka_unit_test_setup_teardown(test_failed_addition_changes_nothing, use_counting, use_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
