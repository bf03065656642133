/* SPDX-License-Identifier: Apache-2.0 */
#include "fix_loop.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void on_tick(uv_timer_t *tick)
{
    (void)tick; /* only to come round */
}

void fix_loop_up(struct fix_loop *f, unsigned probe_threads)
{
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(mailbox_init(&f->mailbox, &f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->tick), 0);
    assert_int_equal(uv_timer_start(&f->tick, on_tick, 10, 10), 0);
    assert_int_equal(upstream_pool_new(probe_threads, &f->pool), 0);
}

void fix_loop_down(struct fix_loop *f)
{
    upstream_pool_stop(f->pool);
    upstream_pool_del(f->pool);
    mailbox_close(&f->mailbox, NULL, NULL);
    uv_close((uv_handle_t *)&f->tick, NULL);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

void fix_loop_until(struct fix_loop *f, const unsigned *count, unsigned want, uint64_t limit_ms)
{
    uint64_t end_ms = upstream_now_ms() + limit_ms;
    while (*count < want) {
        if (upstream_now_ms() >= end_ms) fail_msg("%u of %u after %u ms", *count, want, (unsigned)limit_ms);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}
