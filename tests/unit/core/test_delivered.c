/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/delivered.h"

#define UUID "11111111-1111-1111-1111-111111111111"

static struct gtid_set *parse(const char *text)
{
    struct gtid_set *set = NULL;
    assert_int_equal(gtid_set_parse(text, strlen(text), &set, NULL), 0);
    return set;
}

static struct tracker_gtid gtid(int64_t gno)
{
    struct tracker_gtid g = { .gno = gno };
    memset(g.uuid, 0x11, sizeof g.uuid);
    return g;
}

static void expect(const struct gtid_set *set, const char *text)
{
    struct gtid_set *wanted = parse(text);
    assert_true(gtid_set_equal(set, wanted));
    gtid_set_del(wanted);
}

/* Nothing is claimed before what a server has was read. */
static void test_delivered_is_unknown_until_it_begins(void **state)
{
    struct delivered d;
    (void)state;
    assert_int_equal(delivered_init(&d), 0);
    assert_false(d.is_known);
    struct gtid_set *base = parse(UUID ":1-10");
    delivered_begin(&d, base);
    assert_true(d.is_known);
    expect(d.all, UUID ":1-10");
    gtid_set_del(base);
    delivered_free(&d);
}

/* What the active server sent it has for ever; what was asked for, and what another server sent, says nothing of it. */
static void test_delivered_knows_what_the_active_server_sent(void **state)
{
    struct delivered d;
    struct tracker_gtid g = gtid(11), next = gtid(12);
    (void)state;
    assert_int_equal(delivered_init(&d), 0);
    struct gtid_set *base = parse(UUID ":1-10"), *loss = parse(UUID ":11");
    delivered_begin(&d, base);
    delivered_request(&d, base);
    expect(d.sent, "");
    delivered_gtid(&d, &g);
    delivered_gtid(&d, &next);
    expect(d.sent, UUID ":11-12");
    delivered_accept_loss(&d, loss);
    expect(d.sent, UUID ":12");
    delivered_new_server(&d);
    expect(d.sent, "");
    expect(d.all, UUID ":1-10," UUID ":12");
    gtid_set_del(base);
    gtid_set_del(loss);
    delivered_free(&d);
}

/* A transaction counts from its first byte, and is in part until its last. */
static void test_delivered_counts_a_transaction_from_its_first_byte(void **state)
{
    struct delivered d;
    struct tracker_gtid g = gtid(11), next = gtid(12);
    (void)state;
    assert_int_equal(delivered_init(&d), 0);
    struct gtid_set *base = parse(UUID ":1-10");
    delivered_begin(&d, base);
    delivered_gtid(&d, &g);
    expect(d.all, UUID ":1-11");
    struct gtid_set *part = delivered_part(&d);
    expect(part, UUID ":11");
    gtid_set_del(part);
    delivered_whole(&d, &g);
    delivered_gtid(&d, &next);
    part = delivered_part(&d);
    expect(part, UUID ":12");
    gtid_set_del(part);
    gtid_set_del(base);
    delivered_free(&d);
}

/* A request that was answered says what the reader has; an accepted loss is taken out and nothing else is. */
static void test_delivered_takes_requests_and_accepted_losses(void **state)
{
    struct delivered d;
    (void)state;
    assert_int_equal(delivered_init(&d), 0);
    struct gtid_set *base = parse(UUID ":1-10"), *request = parse(UUID ":20-30"), *loss = parse(UUID ":25-40");
    delivered_begin(&d, base);
    delivered_request(&d, request);
    delivered_accept_loss(&d, loss);
    expect(d.all, UUID ":1-10:20-24");
    gtid_set_del(base);
    gtid_set_del(request);
    gtid_set_del(loss);
    delivered_free(&d);
}

/* Without a GTID nobody can tell what was sent; the first reason stays until a new beginning. */
static void test_delivered_is_unknown_after_an_anonymous_transaction(void **state)
{
    struct delivered d;
    struct tracker_gtid anonymous = { .is_anonymous = true };
    (void)state;
    assert_int_equal(delivered_init(&d), 0);
    struct gtid_set *base = parse("");
    delivered_begin(&d, base);
    delivered_gtid(&d, &anonymous);
    assert_false(d.is_known);
    delivered_unknown(&d, "another");
    assert_non_null(strstr(d.reason, "without a GTID"));
    delivered_begin(&d, base);
    assert_true(d.is_known);
    gtid_set_del(base);
    delivered_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivered_is_unknown_until_it_begins),
        cmocka_unit_test(test_delivered_knows_what_the_active_server_sent),
        cmocka_unit_test(test_delivered_counts_a_transaction_from_its_first_byte),
        cmocka_unit_test(test_delivered_takes_requests_and_accepted_losses),
        cmocka_unit_test(test_delivered_is_unknown_after_an_anonymous_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
