/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - the daemon: main loop, source loops, journal, probe threads, admin; from start to SIGTERM. */
#pragma once
#include "base/log.h"
#include "core/attr.h"

struct config;

struct serve_options {
    enum log_format log_format;
    enum log_level log_least;
};

/*
 * serve_run - run until SIGTERM or SIGINT. |config| is only read and must outlive the call.
 *
 * Binds and listens first, so that nobody is refused; then state, probes, recovery, release. The first signal undoes a switch
 * that has not flipped, waits for a flip in flight, gives sessions stop-timeout; the second ends the process at once.
 * Returns the exit code: 0 after an orderly stop, 1 when it could not start (why is in the log).
 * Call from: main, once.
 */
int serve_run(const struct config *config, const struct serve_options *options);
