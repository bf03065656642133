/* SPDX-License-Identifier: Apache-2.0 */
/* local_sockets.h - which local TCP sockets are open towards a server, and which process has them (Linux: /proc). */
#pragma once
#include <stddef.h>
#include <sys/socket.h>
#include "core/attr.h"
#include "core/threads.h"

/*
 * local_sockets_read - list the sockets of this network namespace whose remote end is |remote|, from /proc/net/tcp and
 * tcp6. A socket that no process holds any more (TIME_WAIT, FIN_WAIT, an orphan) is not listed. Without the right to
 * look into another user's process its owner is unknown; that is no error, and costs 50 ms more: a socket that is
 * just closing looks the same.
 *
 * |remote|  AF_INET or AF_INET6; the IPv4-mapped form of an address counts as the address.
 * Returns 0 and |*out|, |*out_count| (mem_free() it; NULL when none), SLUICE_ERR_IO (/proc cannot be read),
 * SLUICE_ERR_NOMEM. Call from: a thread that may block.
 */
SLUICE_MUSTCHECK int local_sockets_read(const struct sockaddr *remote, struct threads_socket **out, size_t *out_count);
