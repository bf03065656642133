/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <stdlib.h>
#include <time.h>

uint64_t random_seed(void)
{
    const char *given = getenv("GTID_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    if (seed == 0) seed = 1;
    print_message("GTID_SEED=%ju\n", (uintmax_t)seed);
    return seed;
}
