/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_gtid_parse.c - texts of GTID sets. A '|' separates two, which are combined. */
#include <string.h>
#include "fuzz.h"
#include "set.h"
#include "sluice/gtid_gate.h"

/* What is printed is read back as the same set, and so are the bytes. */
static void check_round_trip(const struct gtid_set *set)
{
    struct gtid_set *again = NULL;
    size_t len = 0;
    char *text = gtid_set_print(set, GTID_SEPARATOR_COMMA_NEWLINE, &len);
    FUZZ_CHECK(gtid_set_parse(text, len, &again, NULL) == 0 && gtid_set_equal(set, again));
    gtid_set_del(again);
    gtid_free(text);
    uint8_t *bytes = NULL;
    FUZZ_CHECK(gtid_set_encode(set, GTID_ENCODING_AUTO, &bytes, &len) == 0);
    FUZZ_CHECK(gtid_set_decode(bytes, len, &again, NULL, NULL) == 0 && gtid_set_equal(set, again));
    gtid_set_del(again);
    gtid_free(bytes);
    char described[GTID_DESCRIBE_BYTES_MIN];
    FUZZ_CHECK(gtid_set_describe(set, described, sizeof described) == strlen(described));
}

/* a = (a - b) + (a & b), and what follows. */
static void check_algebra(const struct gtid_set *a, const struct gtid_set *b)
{
    struct gtid_set *left = NULL, *common = NULL, *all = NULL;
    FUZZ_CHECK(gtid_set_subtract(a, b, &left) == 0 && set_is_sane(left));
    FUZZ_CHECK(gtid_set_intersect(a, b, &common) == 0 && set_is_sane(common));
    FUZZ_CHECK(gtid_set_union(left, common, &all) == 0 && set_is_sane(all));
    FUZZ_CHECK(gtid_set_equal(all, a));
    FUZZ_CHECK(gtid_set_contains(b, a) == gtid_set_is_empty(left));
    FUZZ_CHECK(gtid_set_intersects(a, b) != gtid_set_is_empty(common));
    FUZZ_CHECK(!gtid_set_intersects(left, b));
    FUZZ_CHECK(gtid_set_add_set(all, b) == 0 && gtid_set_contains(all, a) && gtid_set_contains(all, b));
    gtid_set_del(left);
    gtid_set_del(common);
    gtid_set_del(all);
}

/* The other readers of texts take a superset of what the first takes. */
static void check_other_readers(const char *text, size_t len, bool is_set)
{
    struct gtid_set *set = NULL;
    uint8_t(*uuids)[GTID_UUID_BYTES] = NULL;
    size_t count = 0;
    struct gtid_parse_error error = { SIZE_MAX, NULL };
    int rv = gtid_errant_parse(text, len, &set, &uuids, &count, &error);
    FUZZ_CHECK((rv == 0) == is_set);
    if (rv == 0) gtid_set_del(set);
    gtid_free(uuids);
    rv = gtid_set_parse_owned(text, len, &set, &error);
    FUZZ_CHECK(rv == 0 || (error.offset <= len && error.reason != NULL));
    if (rv == 0) gtid_set_del(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const uint8_t *bar = size == 0 ? NULL : memchr(data, '|', size);
    size_t len = bar == NULL ? size : (size_t)(bar - data);
    struct gtid_set *a = NULL, *b = NULL;
    struct gtid_parse_error error = { SIZE_MAX, NULL };
    int rv = gtid_set_parse(text, len, &a, &error);
    FUZZ_CHECK(rv == 0 || (rv == GTID_ERR_SYNTAX && error.offset <= len && error.reason != NULL));
    check_other_readers(text, len, rv == 0);
    if (rv != 0) return 0;
    FUZZ_CHECK(set_is_sane(a));
    check_round_trip(a);
    if (bar != NULL && gtid_set_parse(text + len + 1, size - len - 1, &b, NULL) == 0) {
        check_algebra(a, b);
        check_algebra(b, a);
        gtid_set_del(b);
    }
    gtid_set_del(a);
    return 0;
}
