/* SPDX-License-Identifier: Apache-2.0 */
/* fit.c - defaults that ask for more descriptors than there are must not keep Sluice from starting. */
#include "config/config.h"
#include "net/fdlimit.h" /* its figures; config links nothing of net */

enum { SESSIONS_LEAST = 100, HOLD_SHARE = 5 /* of the defaults: 10000 sessions, 2000 held clients */ };

static uint32_t at_most(uint32_t value, uint32_t bound)
{
    return value < bound ? value : bound;
}

/* The limits of one source if no default were above |sessions|. */
static struct config_limits lowered(struct config_limits limits, uint32_t sessions)
{
    uint32_t held = sessions / HOLD_SHARE;
    if (!limits.is_sessions_max_given) limits.sessions_max = at_most(limits.sessions_max, sessions);
    if (!limits.is_hold_clients_max_given)
        limits.hold_clients_max = at_most(at_most(limits.hold_clients_max, held), limits.sessions_max);
    return limits;
}

static bool is_fitting(const struct config *config, uint32_t sessions, uint64_t limit)
{
    uint64_t need = FDLIMIT_RESERVE + (uint64_t)FDLIMIT_PER_SOURCE * config->source_count;
    for (size_t i = 0; i < config->source_count; i++) {
        struct config_limits limits = lowered(config->sources[i].limits, sessions);
        need += 2 * (uint64_t)limits.sessions_max + limits.hold_clients_max;
    }
    return need <= limit;
}

bool config_fit_open_files(struct config *config, uint64_t limit)
{
    uint32_t low = SESSIONS_LEAST, high = config_limits_default(config->source_count).sessions_max;
    bool is_lowered = false;
    if (is_fitting(config, high, limit) || !is_fitting(config, low, limit)) return false;
    while (high - low > 1) { /* |low| fits, |high| does not */
        uint32_t middle = low + (high - low) / 2;
        if (is_fitting(config, middle, limit))
            low = middle;
        else
            high = middle;
    }
    for (size_t i = 0; i < config->source_count; i++) {
        struct config_limits *limits = &config->sources[i].limits;
        struct config_limits now = lowered(*limits, low);
        is_lowered =
            is_lowered || now.sessions_max < limits->sessions_max || now.hold_clients_max < limits->hold_clients_max;
        *limits = now;
    }
    return is_lowered;
}
