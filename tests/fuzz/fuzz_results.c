/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_results.c - replies: a session is logged in and has asked something. Byte 0: enum pair_client. Byte 1: the command. Then the
 * pieces of pair_play().
 */
#include "fuzz.h"
#include "tracker_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tracker_options options = { .tls = TRACKER_TLS_STRIP };
    /* Of statement 1, with a cursor, where the command has such. */
    uint8_t command[] = { 10, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0 };
    struct tracker_pair pair;
    if (size < 2) return 0;
    command[4] = data[1];
    pair_up(&pair, &options, size);
    pair_log_in(&pair, data[0]);
    pair_feed(&pair, TRACKER_CLIENT, command, sizeof command);
    pair_play(&pair, data + 2, size - 2);
    pair_down(&pair);
    return 0;
}
