/* SPDX-License-Identifier: Apache-2.0 */
/* listener.h - one listening TCP socket: accepts, and never lets a client end silently or the loop spin, also without descriptors. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>
#include "core/attr.h"
#include "core/text.h"

struct listener;

/* A client came. |fd| (non-blocking, close-on-exec) is the callee's. May call every listener_* function. */
typedef void (*listener_accept_fn)(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len);

struct listener_config {
    uv_loop_t *loop;
    const char *source_id; /* for the log and the packet of a client that no descriptor is left for; copied */
    const char *host;      /* numeric IPv4 or IPv6 without brackets, or a name; "::" takes IPv4 clients as well */
    uint16_t port;         /* 0: the system's choice, see listener_port() */
    listener_accept_fn on_accept;
    void *arg;
};

struct listener_counters {
    uint64_t accepted_total;
    uint64_t emfile_total;   /* clients told "Too many connections" because no descriptor was left */
    uint64_t failures_total; /* accept(2) failed for another reason than a client that had gone */
};

/*
 * listener_new - bind and listen; clients are accepted at once.
 *
 * |out_error|  gets, on failure, what failed and what to do; may be NULL.
 * Returns 0 and |*out|, the caller's until listener_close(); or, with nothing left behind,
 *   SLUICE_ERR_BUSY    the address is in use.
 *   SLUICE_ERR_CONFIG  |host| is no address of this machine, or the port needs a privilege.
 *   SLUICE_ERR_IO, SLUICE_ERR_NOMEM.
 * A name is resolved blocking. Call from: the loop's thread, or before it runs.
 */
SLUICE_MUSTCHECK int listener_new(const struct listener_config *config, struct listener **out, struct text *out_error);
/* listener_port - the port bound, host byte order. */
uint16_t listener_port(const struct listener *l);
/* listener_pause - clients stay in the kernel's backlog (they see a connection that says nothing). Twice is once. */
void listener_pause(struct listener *l);
/* listener_resume - accept again. */
void listener_resume(struct listener *l);
/* listener_counters - valid until listener_close(). */
const struct listener_counters *listener_counters(const struct listener *l);
/*
 * listener_close - the port is free when this returns; |on_closed(arg)| (may be NULL) comes in a later turn of the loop, when
 * |l|'s memory is released. Call from: the loop's thread, on_accept included.
 */
void listener_close(struct listener *l, void (*on_closed)(void *arg), void *arg);
