/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_commands.c - sessions that are logged in. Byte 0: enum pair_client. Then the pieces of pair_play(). */
#include "fuzz.h"
#include "tracker_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tracker_options options = { .tls = TRACKER_TLS_STRIP };
    struct tracker_pair pair;
    if (size == 0) return 0;
    pair_up(&pair, &options, size);
    pair_log_in(&pair, data[0]);
    pair_play(&pair, data + 1, size - 1);
    pair_down(&pair);
    return 0;
}
