/* SPDX-License-Identifier: Apache-2.0 */
#include "net/fdlimit.h"
#include <inttypes.h>
#include <sys/resource.h>
#include "core/error.h"

uint64_t fdlimit_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}

int fdlimit_check(uint64_t limit, uint64_t sources, uint64_t sessions, uint64_t held, struct text *out_error)
{
    uint64_t needed = FDLIMIT_RESERVE + sources * FDLIMIT_PER_SOURCE + 2 * sessions + held;
    if (needed <= limit) return 0;
    if (out_error != NULL) {
        text_printf(out_error,
                    "max-sessions and hold-clients of %" PRIu64 " sources need %" PRIu64
                    " descriptors, the limit is %" PRIu64 "; raise LimitNOFILE (systemd) or ulimit -Hn to %" PRIu64
                    ", or lower max-sessions or hold-clients",
                    sources, needed, limit, needed);
    }
    return SLUICE_ERR_CONFIG;
}
