/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.h - what serve.c and api.c share: the process's threads and who lives where. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>
#include "admin/admin.h"
#include "base/mailbox.h"
#include "source/source.h"

struct config;
struct daemon;

/* A thread with its loop; has the sources that were given to it. */
struct daemon_loop {
    struct daemon *daemon;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox mailbox;
};

struct daemon_source {
    struct source *source;
    struct daemon_loop *loop;
    uint64_t switch_number; /* main thread's: its last switch, 0 while none */
};

/* The main thread's: signals, admin, and the list of all others. Lists do not change while loops run. */
struct daemon {
    const struct config *config;
    uv_loop_t loop;
    struct mailbox mailbox;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t stop_timer;
    struct admin *admin;
    struct journal *journal;
    struct upstream_pool *pool;
    bool pool_is_stopped;
    struct daemon_loop *loops;
    size_t loop_count;
    struct daemon_source *sources;
    size_t source_count;
    size_t stopped_count;
    bool is_running, is_stopping;
};
