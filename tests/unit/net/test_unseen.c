/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a core file does not show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "net/unseen.h"

/* Whether the kernel marks the mapping with |at| as not to be dumped ("dd" of its flags). */
static bool is_hidden(const uint8_t *at)
{
    char line[4096];
    bool is_here = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long first, end;
        if (sscanf(line, "%llx-%llx ", &first, &end) == 2) is_here = (uintptr_t)at >= first && (uintptr_t)at < end;
        if (!is_here || strncmp(line, "VmFlags:", 8) != 0) continue;
        fclose(file);
        return strstr(line, " dd") != NULL;
    }
    fclose(file);
    fail_msg("no mapping has it");
    return false;
}

/* All of a block is left out, first byte and last; when it is given back, its pages are as any others. */
static void test_a_block_is_left_out_of_core_files(void **state)
{
    static const size_t lens[] = { 1, 4096, 65536, 65536 + 32 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        uint8_t *bytes = unseen_alloc(lens[i]);
        assert_non_null(bytes);
        memset(bytes, 0xa5, lens[i]);
        assert_true(is_hidden(bytes));
        assert_true(is_hidden(bytes + lens[i] - 1));
        unseen_wipe(bytes, lens[i]);
        assert_int_equal(bytes[0] | bytes[lens[i] - 1], 0);
        unseen_free(bytes);
    }
    unseen_free(NULL);
}

/* Mappings are scarce: past the bound a block is like any other, and counts again once one has been given back. */
static void test_blocks_beyond_the_bound_are_served_all_the_same(void **state)
{
    static uint8_t *blocks[UNSEEN_BLOCKS_MAX];
    (void)state;
    for (size_t i = 0; i < UNSEEN_BLOCKS_MAX; i++)
        assert_non_null(blocks[i] = unseen_alloc(100));
    uint8_t *more = unseen_alloc(100);
    assert_non_null(more);
    memset(more, 1, 100);
    assert_false(is_hidden(more));
    unseen_free(blocks[7]);
    blocks[7] = unseen_alloc(100);
    assert_true(is_hidden(blocks[7]));
    unseen_free(more);
    for (size_t i = 0; i < UNSEEN_BLOCKS_MAX; i++)
        unseen_free(blocks[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_is_left_out_of_core_files),
        cmocka_unit_test(test_blocks_beyond_the_bound_are_served_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
