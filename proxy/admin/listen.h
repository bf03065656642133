/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h - the listening socket of the admin interface: a unix socket of our own, or TCP. */
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include "core/attr.h"

struct config_admin; /* config/config.h */

struct admin_listener {
    int fd;        /* non-blocking, listening; -1 once closed or given away */
    uint16_t port; /* TCP; 0 on a unix socket */
    char *path;    /* unix; NULL on TCP */
    dev_t dev;     /* which file is ours, so that we remove no successor's */
    ino_t ino;
};

/*
 * admin_listener_open - bind and listen as |config| says.
 *
 * A unix socket has mode 0600 from its first moment. A path in the way is removed only when it is a socket on which nobody
 * listens. Returns 0; or SLUICE_ERR_CONFIG, SLUICE_ERR_BUSY, SLUICE_ERR_IO, SLUICE_ERR_NOMEM as admin_start() does, with the
 * reason in the log and |out| untouched.
 */
SLUICE_MUSTCHECK int admin_listener_open(const struct config_admin *config, struct admin_listener *out);
/* admin_listener_close - close it and remove the unix socket if it is still ours. */
void admin_listener_close(struct admin_listener *l);
