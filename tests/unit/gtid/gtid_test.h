/* SPDX-License-Identifier: Apache-2.0 */
/* gtid_test.h - what the tests of the GTID library share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "sluice/gtid.h"

#define U "3e11fa47-71ca-11e1-9e33-c80aa9429562"
#define V "00000000-0000-0000-0000-0000000000aa"
#define W "ffffffff-71ca-11e1-9e33-c80aa9429562"

/* set_of - a set of a text that must be valid; the caller ends it. */
static inline struct gtid_set *set_of(const char *text)
{
    struct gtid_set *set = NULL;
    struct gtid_parse_error error = { 0, "" };
    if (gtid_set_parse(text, strlen(text), &set, &error) != 0)
        fail_msg("%s: offset %zu: %s", text, error.offset, error.reason);
    return set;
}

/* assert_prints - the set's normal form is |text|; ends the set. */
static inline void assert_prints(struct gtid_set *set, const char *text)
{
    char *printed = gtid_set_print(set, GTID_SEPARATOR_COMMA, NULL);
    assert_non_null(printed);
    assert_string_equal(printed, text);
    gtid_free(printed);
    gtid_set_del(set);
}

/* uuid_of - the bytes of a UUID that must be valid; a static place for each of a few calls. */
static inline const uint8_t *uuid_of(const char *text)
{
    static uint8_t places[8][GTID_UUID_BYTES];
    static unsigned next;
    uint8_t *place = places[next++ % 8];
    assert_int_equal(gtid_uuid_parse(text, strlen(text), place), 0);
    return place;
}

/* random_next - a small generator (xorshift64*); |state| is the printed seed, never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

/* random_seed - GTID_SEED of the environment, else the clock's; printed, so that a failure can be played again. */
uint64_t random_seed(void);
