/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_auth.c - logins: the server has greeted. Byte 0: bits 0 and 1 what becomes of TLS, as in fuzz_greeting.c; bit 4 the server
 * is a MariaDB. Then the pieces of pair_play().
 */
#include "fuzz.h"
#include "tracker_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum tracker_tls tls[] = { TRACKER_TLS_STRIP, TRACKER_TLS_PASS, TRACKER_TLS_STOP, TRACKER_TLS_STOP };
    struct tracker_pair pair;
    if (size == 0) return 0;
    struct tracker_options options = { .tls = tls[data[0] & 3], .require_tls = (data[0] & 3) == 3 };
    pair_up(&pair, &options, size);
    pair_greet(&pair, data[0]);
    pair_play(&pair, data + 1, size - 1);
    pair_down(&pair);
    return 0;
}
