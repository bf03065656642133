/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_gtid_decode.c - the set in COM_BINLOG_DUMP_GTID and in the previous-GTIDs event. */
#include "fuzz.h"
#include "set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gtid_set *set = NULL, *again = NULL;
    struct gtid_parse_error error = { SIZE_MAX, NULL };
    enum gtid_encoding encoding = GTID_ENCODING_AUTO;
    int rv = gtid_set_decode(data, size, &set, &encoding, &error);
    FUZZ_CHECK(rv == 0 || (rv == GTID_ERR_SYNTAX && error.offset <= size && error.reason != NULL));
    if (rv != 0) return 0;
    FUZZ_CHECK(set_is_sane(set));
    FUZZ_CHECK(encoding == GTID_ENCODING_TAGGED || !gtid_set_has_tags(set));
    uint8_t *bytes = NULL;
    size_t len = 0;
    FUZZ_CHECK(gtid_set_encode(set, encoding, &bytes, &len) == 0 && len <= size);
    FUZZ_CHECK(gtid_set_decode(bytes, len, &again, NULL, NULL) == 0 && gtid_set_equal(set, again));
    gtid_set_del(again);
    gtid_free(bytes);
    char *text = gtid_set_print(set, GTID_SEPARATOR_COMMA, &len);
    FUZZ_CHECK(gtid_set_parse(text, len, &again, NULL) == 0 && gtid_set_equal(set, again));
    gtid_set_del(again);
    gtid_free(text);
    gtid_set_del(set);
    return 0;
}
