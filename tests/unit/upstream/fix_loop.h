/* SPDX-License-Identifier: Apache-2.0 */
/* fix_loop.h - a libuv loop with a mailbox and a pool, for tests: up, run until a condition holds, down. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "base/mailbox.h"
#include "upstream/pool.h"

struct fix_loop {
    uv_loop_t loop;
    struct mailbox mailbox;
    struct upstream_pool *pool;
    uv_timer_t tick;
};

/* fix_loop_up, fix_loop_down - down stops the pool, runs what was posted and proves that no handle is left. */
void fix_loop_up(struct fix_loop *f, unsigned probe_threads);
void fix_loop_down(struct fix_loop *f);
/* fix_loop_until - run the loop until |*count| >= |want|; fails the test after |limit_ms|. */
void fix_loop_until(struct fix_loop *f, const unsigned *count, unsigned want, uint64_t limit_ms);
