/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <stdlib.h>

typedef int operation_fn(const struct gtid_set *a, const struct gtid_set *b, struct gtid_set **out_set);

static struct gtid_set *combined(operation_fn *operation, const struct gtid_set *a, const struct gtid_set *b)
{
    struct gtid_set *out = NULL;
    assert_int_equal(operation(a, b, &out), 0);
    return out;
}

/* Each operation by example: cut in the middle, at the ends, over several intervals, over UUIDs and tags. */
static void test_algebra_by_example(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *together, *left, *common;
    } rows[] = {
        { "", "", "", "", "" },
        { U ":1-5", "", U ":1-5", U ":1-5", "" },
        { "", U ":1-5", U ":1-5", "", "" },
        { U ":1-5", U ":1-5", U ":1-5", "", U ":1-5" },
        { U ":1-9", U ":3:5-6", U ":1-9", U ":1-2:4:7-9", U ":3:5-6" },
        { U ":1-3:7-9", U ":2-8", U ":1-9", U ":1:9", U ":2-3:7-8" },
        { U ":1-3:7-9", U ":4-6", U ":1-9", U ":1-3:7-9", "" },
        { U ":1:3:5:7", U ":1-9", U ":1-9", "", U ":1:3:5:7" },
        { U ":5-9", U ":1-5", U ":1-9", U ":6-9", U ":5" },
        { U ":1-9", U ":1:9", U ":1-9", U ":2-8", U ":1:9" },
        { V ":2," U ":1", U ":2," W ":3", V ":2," U ":1-2," W ":3", V ":2," U ":1", "" },
        { U ":1-3:a:1-3", U ":a:2:b:7", U ":1-3:a:1-3:b:7", U ":1-3:a:1:3", U ":a:2" },
        { U ":1-9223372036854775806", U ":9223372036854775806", U ":1-9223372036854775806", U ":1-9223372036854775805",
          U ":9223372036854775806" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gtid_set *a = set_of(rows[i].a), *b = set_of(rows[i].b);
        assert_prints(combined(gtid_set_union, a, b), rows[i].together);
        assert_prints(combined(gtid_set_subtract, a, b), rows[i].left);
        assert_prints(combined(gtid_set_intersect, a, b), rows[i].common);
        assert_int_equal(gtid_set_contains(a, b), strcmp(rows[i].b, rows[i].common) == 0);
        assert_int_equal(gtid_set_contains(b, a), rows[i].left[0] == '\0');
        assert_int_equal(gtid_set_intersects(a, b), rows[i].common[0] != '\0');
        gtid_set_del(b);
        assert_prints(a, rows[i].a); /* the operands are as they were */
    }
}

/* A set under an old tag is not the same as one without, although UUID and numbers are. */
static void test_tags_keep_transactions_apart(void **state)
{
    (void)state;
    struct gtid_set *plain = set_of(U ":1-3"), *tagged = set_of(U ":t:1-3");
    assert_false(gtid_set_contains(plain, tagged));
    assert_false(gtid_set_contains(tagged, plain));
    assert_false(gtid_set_equal(plain, tagged));
    assert_false(gtid_set_has_tags(plain));
    assert_true(gtid_set_has_tags(tagged));
    gtid_set_del(plain);
    gtid_set_del(tagged);
}

/* The subset of a UUID has all its tags, and with the rest it makes the whole. */
static void test_uuid_is_taken_out_with_all_its_tags(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(V ":1:x:9," U ":1:a:2:b:3," W ":b:4");
    struct gtid_set *of = NULL, *without = NULL;
    assert_true(gtid_set_has_uuid(set, uuid_of(U)));
    assert_true(gtid_set_has_uuid(set, uuid_of(W))); /* although it has tagged ones only */
    assert_false(gtid_set_has_uuid(set, uuid_of("11111111-71ca-11e1-9e33-c80aa9429562")));
    assert_int_equal(gtid_set_of_uuid(set, uuid_of(U), &of), 0);
    assert_int_equal(gtid_set_without_uuid(set, uuid_of(U), &without), 0);
    assert_int_equal(gtid_set_add_set(of, without), 0);
    assert_true(gtid_set_equal(of, set));
    gtid_set_del(of);
    assert_prints(without, V ":1:x:9," W ":b:4");
    gtid_set_del(set);
}

/* Transactions are counted to 2^64 - 1 and not beyond. */
static void test_count_does_not_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t count, intervals;
    } rows[] = {
        { "", 0, 0 },
        { U ":1-3:7:t:9," V ":5", 6, 4 },
        { U ":1-9223372036854775806", GTID_NUMBER_MAX, 1 },
        { U ":1-9223372036854775806:t:1-9223372036854775806:u:1-3", UINT64_MAX, 3 },
        { U ":1-9223372036854775806:t:1-9223372036854775806:u:1-4", UINT64_MAX, 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gtid_set *set = set_of(rows[i].text);
        assert_true(gtid_set_count(set) == rows[i].count);
        assert_int_equal(gtid_set_interval_count(set), rows[i].intervals);
        gtid_set_del(set);
    }
}

/* A walk meets every interval once, in the order of the text. */
static void test_walk_is_in_the_order_of_the_text(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":t:9:1-3:5:7," V ":4-6");
    struct gtid_iter iter;
    struct gtid_interval now;
    char seen[256] = "";
    for (gtid_iter_init(&iter, set); gtid_iter_next(&iter, &now);) {
        size_t len = strlen(seen);
        snprintf(seen + len, sizeof seen - len, "%02x:%s:%d-%d ", now.uuid[0], now.tag, (int)now.first, (int)now.last);
    }
    assert_string_equal(seen, "00::4-6 3e:t:1-3 3e:t:5-5 3e:t:7-7 3e:t:9-9 ");
    assert_false(gtid_iter_next(&iter, &now));
    gtid_set_del(set);
}

/* ---- against a model: a bit for each of 40 numbers of six keys ---- */

enum { KEYS = 6, NUMBERS = 40 };
static const struct {
    const char *uuid, *tag;
} keys[KEYS] = { { U, "" }, { U, "a" }, { U, "b_1" }, { V, "" }, { V, "a" }, { W, "" } };

struct model {
    uint64_t bits[KEYS];
};

/* Random intervals in random order, some of them overlapping or adjacent. */
static struct gtid_set *random_set(uint64_t *seed, struct model *out_model)
{
    struct gtid_set *set = gtid_set_new();
    *out_model = (struct model){ 0 };
    uint64_t count = random_next(seed) % 12;
    for (uint64_t i = 0; i < count; i++) {
        size_t key = random_next(seed) % KEYS;
        uint64_t first = 1 + random_next(seed) % NUMBERS, last = first + random_next(seed) % 6;
        assert_int_equal(gtid_set_add_range(set, uuid_of(keys[key].uuid), keys[key].tag, first, last), 0);
        for (uint64_t n = first; n <= last; n++)
            out_model->bits[key] |= (uint64_t)1 << n;
    }
    return set;
}

static void assert_is_model(const struct gtid_set *set, const struct model *m)
{
    uint64_t count = 0;
    for (size_t key = 0; key < KEYS; key++) {
        for (uint64_t n = 1; n < 64; n++) {
            bool wanted = (m->bits[key] >> n & 1) != 0;
            count += wanted;
            assert_int_equal(gtid_set_has(set, uuid_of(keys[key].uuid), keys[key].tag, n), wanted);
        }
    }
    assert_true(gtid_set_count(set) == count);
    char *text = gtid_set_print(set, GTID_SEPARATOR_COMMA, NULL);
    struct gtid_set *again = set_of(text);
    assert_true(gtid_set_equal(set, again)); /* there is one normal form */
    gtid_set_del(again);
    gtid_free(text);
}

static void check_pair(uint64_t *seed)
{
    struct model x, y, together, left, common;
    struct gtid_set *a = random_set(seed, &x), *b = random_set(seed, &y);
    bool is_sub = true, has_common = false;
    for (size_t k = 0; k < KEYS; k++) {
        together.bits[k] = x.bits[k] | y.bits[k];
        left.bits[k] = x.bits[k] & ~y.bits[k];
        common.bits[k] = x.bits[k] & y.bits[k];
        is_sub = is_sub && left.bits[k] == 0;
        has_common = has_common || common.bits[k] != 0;
    }
    struct gtid_set *u = combined(gtid_set_union, a, b), *d = combined(gtid_set_subtract, a, b),
                    *c = combined(gtid_set_intersect, a, b);
    assert_is_model(a, &x);
    assert_is_model(u, &together);
    assert_is_model(d, &left);
    assert_is_model(c, &common);
    assert_int_equal(gtid_set_contains(b, a), is_sub);
    assert_int_equal(gtid_set_intersects(a, b), has_common);
    assert_int_equal(gtid_set_equal(a, b), memcmp(&x, &y, sizeof x) == 0);
    assert_true(gtid_set_contains(u, a) && gtid_set_contains(u, b) && gtid_set_contains(a, d));
    assert_int_equal(gtid_set_remove_set(a, b), 0);
    assert_true(gtid_set_equal(a, d));
    assert_int_equal(gtid_set_add_set(a, b), 0);
    assert_true(gtid_set_equal(a, u));
    gtid_set_del(a);
    gtid_set_del(b);
    gtid_set_del(u);
    gtid_set_del(d);
    gtid_set_del(c);
}

/* All operations agree with sets of bits, on random sets. */
static void test_algebra_agrees_with_bits(void **state)
{
    (void)state;
    uint64_t seed = random_seed();
    for (int i = 0; i < 3000; i++)
        check_pair(&seed);
}

/* ---- size ---- */

enum { MILLION = 1000000 };

/* "U:2000000:1999998:...": a million intervals in the worst order, and as many UUIDs as |uuids|. */
static char *backward_text(size_t uuids, size_t *out_len)
{
    size_t room = (size_t)MILLION * 50, len = 0;
    char *text = malloc(room);
    for (size_t i = 0; i < MILLION; i++) {
        if (i % (MILLION / uuids) == 0)
            len += (size_t)sprintf(text + len, "%s%08zx-71ca-11e1-9e33-c80aa9429562", i == 0 ? "" : ",", MILLION - i);
        len += (size_t)sprintf(text + len, ":%zu", 2 * (MILLION - i));
    }
    *out_len = len;
    return text;
}

static void check_million(size_t uuids)
{
    size_t len = 0;
    char *text = backward_text(uuids, &len);
    struct gtid_set *set = NULL, *odd = NULL;
    assert_int_equal(gtid_set_parse(text, len, &set, NULL), 0);
    free(text);
    assert_int_equal(gtid_set_interval_count(set), MILLION);
    char *printed = gtid_set_print(set, GTID_SEPARATOR_COMMA, &len);
    assert_int_equal(gtid_set_parse(printed, len, &odd, NULL), 0);
    gtid_free(printed);
    assert_true(gtid_set_equal(set, odd));
    assert_true(gtid_set_contains(set, odd));
    assert_int_equal(gtid_set_add_range(odd, uuid_of(U), "", 1, 9), 0);
    struct gtid_set *out = combined(gtid_set_subtract, odd, set);
    assert_prints(out, U ":1-9");
    out = combined(gtid_set_union, odd, set);
    assert_true(gtid_set_equal(out, odd));
    assert_int_equal(gtid_set_remove_set(out, odd), 0);
    assert_true(gtid_set_is_empty(out));
    gtid_set_del(out);
    uint8_t *bytes = NULL;
    assert_int_equal(gtid_set_encode(set, GTID_ENCODING_AUTO, &bytes, &len), 0);
    assert_int_equal(gtid_set_decode(bytes, len, &out, NULL, NULL), 0);
    assert_true(gtid_set_equal(out, set));
    gtid_free(bytes);
    gtid_set_del(out);
    gtid_set_del(set);
    gtid_set_del(odd);
}

/* A million intervals of one UUID, in the worst order: an insertion for each would take 5e11 steps. */
static void test_million_intervals_of_one_uuid(void **state)
{
    (void)state;
    check_million(1);
}

/* A hundred thousand UUIDs in the worst order. */
static void test_million_intervals_of_many_uuids(void **state)
{
    (void)state;
    check_million(MILLION / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_algebra_by_example),
        cmocka_unit_test(test_tags_keep_transactions_apart),
        cmocka_unit_test(test_uuid_is_taken_out_with_all_its_tags),
        cmocka_unit_test(test_count_does_not_overflow),
        cmocka_unit_test(test_walk_is_in_the_order_of_the_text),
        cmocka_unit_test(test_algebra_agrees_with_bits),
        cmocka_unit_test(test_million_intervals_of_one_uuid),
        cmocka_unit_test(test_million_intervals_of_many_uuids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
