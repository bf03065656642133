/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_binlog.c - binlog streams: a session has asked for one. Byte 0: enum pair_client, and bit 5: by GTID instead of by
 * position. Then the pieces of pair_play().
 */
#include "fuzz.h"
#include "tracker_pair.h"

enum { BY_GTID = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tracker_options options = { .tls = TRACKER_TLS_STRIP };
    static const uint8_t by_position[] = "\x0b\0\0\0\x12\4\0\0\0\0\0\7\0\0\0";
    static const uint8_t by_gtid[] = "\x1f\0\0\0\x1e\0\0\7\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0";
    struct tracker_pair pair;
    if (size == 0) return 0;
    pair_up(&pair, &options, size);
    pair_log_in(&pair, data[0]);
    if ((data[0] & BY_GTID) != 0) {
        pair_feed(&pair, TRACKER_CLIENT, by_gtid, sizeof by_gtid - 1);
    } else {
        pair_feed(&pair, TRACKER_CLIENT, by_position, sizeof by_position - 1);
    }
    pair_play(&pair, data + 1, size - 1);
    pair_down(&pair);
    return 0;
}
