/* SPDX-License-Identifier: Apache-2.0 */
/* Connection ids: what clients are told, and what a KILL of them means later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/error.h"
#include "core/ids.h"
#include "core/mem.h"

static uint32_t hand_out(struct ids *ids, uint32_t server_id)
{
    uint32_t id = 0;
    assert_int_equal(ids_hand_out(ids, server_id, &id), 0);
    return id;
}

/* In the first epoch clients are told what the server says; a KILL of such an id, or of one that is not ours, means what it says. */
static void test_ids_pass_as_they_are_in_the_first_epoch(void **state)
{
    (void)state;
    struct ids *ids = ids_new(false, 7);
    assert_int_equal(hand_out(ids, 8), 8);
    assert_int_equal(hand_out(ids, 12), 12);
    assert_int_equal(ids_judge(ids, 8), IDS_CURRENT);
    assert_int_equal(ids_judge(ids, 10), IDS_FOREIGN);
    assert_int_equal(ids_judge(ids, 5000000000), IDS_FOREIGN);
    ids_del(ids);
}

/* Behind a switch an id of before is stale, and is told to no client of the new server. */
static void test_an_id_of_an_earlier_epoch_is_stale_and_not_given_again(void **state)
{
    (void)state;
    struct ids *ids = ids_new(false, 7);
    for (uint32_t id = 8; id < 20; id++)
        assert_int_equal(hand_out(ids, id), id);
    ids_begin_generation(ids);
    assert_int_equal(ids_judge(ids, 8), IDS_STALE);
    uint32_t alias = hand_out(ids, 9);
    assert_true(ids_is_alias(alias));
    assert_int_equal(ids_judge(ids, alias), IDS_STALE);
    assert_int_equal(hand_out(ids, 20), 20);
    assert_int_equal(ids_judge(ids, 20), IDS_CURRENT);
    assert_int_not_equal(hand_out(ids, 9), alias);
    ids_del(ids);
}

/* Where a KILL can pass unseen each client is told an id that no server has. */
static void test_all_ids_are_remapped_where_a_kill_can_pass_unseen(void **state)
{
    (void)state;
    struct ids *ids = ids_new(true, 7);
    for (uint32_t i = 1; i < 100; i++)
        assert_true(ids_is_alias(hand_out(ids, i)));
    assert_int_equal(ids_judge(ids, 5), IDS_FOREIGN);
    ids_del(ids);
}

/* The range of chosen ids ends and begins again; what another process chose is not taken for ours. */
static void test_chosen_ids_begin_anywhere_and_go_round(void **state)
{
    (void)state;
    struct ids *ids = ids_new(true, 0x3fffffff);
    assert_int_equal(ids_judge(ids, 0xffffffff), IDS_FOREIGN);
    assert_int_equal(hand_out(ids, 1), 0xffffffff);
    assert_int_equal(hand_out(ids, 2), 0xc0000000);
    assert_int_equal(ids_judge(ids, 0xffffffff), IDS_STALE);
    assert_int_equal(ids_judge(ids, 0xc0000000), IDS_STALE);
    assert_int_equal(ids_judge(ids, 0xc0000001), IDS_FOREIGN);
    ids_del(ids);
}

/* A server that gives an id again has been started anew: what it gave before is stale. */
static void test_an_id_given_twice_begins_a_generation(void **state)
{
    (void)state;
    struct ids *ids = ids_new(false, 7);
    assert_int_equal(hand_out(ids, 8), 8);
    assert_int_equal(hand_out(ids, 9), 9);
    assert_true(ids_is_alias(hand_out(ids, 8)));
    assert_int_equal(ids_judge(ids, 9), IDS_STALE);
    assert_int_equal(ids_judge(ids, 8), IDS_STALE);
    ids_del(ids);
}

/* What an earlier process handed out is stale too. */
static void test_ids_of_an_earlier_process_are_stale(void **state)
{
    (void)state;
    struct ids *ids = ids_new(false, 7);
    assert_int_equal(ids_remember(ids, 77), 0);
    assert_int_equal(ids_judge(ids, 77), IDS_STALE);
    assert_true(ids_is_alias(hand_out(ids, 77)));
    ids_del(ids);
}

/* Against a plain array: random ids, several generations, the same answers. */
static void test_random_ids_against_a_plain_list(void **state)
{
    (void)state;
    enum { SPAN = 4000 };
    static char was[SPAN]; /* 0 never, 1 earlier, 2 now */
    unsigned seed = 20260109;
    struct ids *ids = ids_new(false, 7);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245U + 12345U;
        uint32_t id = 1 + (seed >> 8) % (SPAN - 1);
        bool is_alias = ids_is_alias(hand_out(ids, id));
        if (was[id] == 2) { /* the server was started anew */
            for (int k = 0; k < SPAN; k++)
                was[k] = was[k] == 2 ? 1 : was[k];
        }
        assert_int_equal(is_alias, was[id] != 0);
        if (was[id] == 0) was[id] = 2;
        if (i % 500 != 0) continue;
        for (uint32_t k = 1; k < SPAN; k++)
            assert_int_equal(ids_judge(ids, k), was[k] == 0 ? IDS_FOREIGN : was[k] == 1 ? IDS_STALE : IDS_CURRENT);
    }
    ids_del(ids);
}

/* More ranges than are kept: what is forgotten is on the safe side, nothing that was handed out is ever foreign. */
static void test_with_too_many_ranges_nothing_stale_is_taken_for_foreign(void **state)
{
    (void)state;
    struct ids *ids = ids_new(false, 7);
    enum { COUNT = 3 * IDS_RANGES_MAX };
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t id;
        assert_int_equal(ids_hand_out(ids, 10 + 5 * i, &id), 0);
    }
    ids_begin_generation(ids);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(ids_judge(ids, 10 + 5 * i), IDS_STALE);
    assert_int_equal(ids_judge(ids, 10 + 5 * COUNT + 1), IDS_FOREIGN);
    ids_del(ids);
}

/* Without memory an id is not handed out rather than forgotten. */
static void test_without_memory_nothing_is_handed_out_and_forgotten(void **state)
{
    (void)state;
    uint32_t id = 0;
    mem_fail_at(1);
    assert_null(ids_new(false, 7));
    struct ids *ids = ids_new(false, 7);
    mem_fail_at(1);
    assert_int_equal(ids_hand_out(ids, 8, &id), SLUICE_ERR_NOMEM);
    assert_int_equal(hand_out(ids, 8), 8);
    mem_fail_at(1);
    ids_begin_generation(ids);
    assert_int_equal(ids_judge(ids, 8), IDS_STALE);
    mem_fail_at(0);
    ids_del(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_pass_as_they_are_in_the_first_epoch),
        cmocka_unit_test(test_an_id_of_an_earlier_epoch_is_stale_and_not_given_again),
        cmocka_unit_test(test_all_ids_are_remapped_where_a_kill_can_pass_unseen),
        cmocka_unit_test(test_chosen_ids_begin_anywhere_and_go_round),
        cmocka_unit_test(test_an_id_given_twice_begins_a_generation),
        cmocka_unit_test(test_ids_of_an_earlier_process_are_stale),
        cmocka_unit_test(test_random_ids_against_a_plain_list),
        cmocka_unit_test(test_with_too_many_ranges_nothing_stale_is_taken_for_foreign),
        cmocka_unit_test(test_without_memory_nothing_is_handed_out_and_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
