/* SPDX-License-Identifier: Apache-2.0 */
/* statedir.h - the directory of the state and the lock that makes it one process's. Of journal/ only. */
#pragma once
#include "core/attr.h"

struct text;

/*
 * statedir_take - make |path| when missing (0700, durable), and lock it until statedir_drop() or the process's end.
 * |error| gets a text on failure. Returns 0 and the lock's descriptor, or SLUICE_ERR_BUSY, SLUICE_ERR_IO,
 * SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int statedir_take(const char *path, int *out_fd, struct text *error);
void statedir_drop(int fd);
/* statedir_sync - make the names in |path| durable. 0 or SLUICE_ERR_IO with a text. */
SLUICE_MUSTCHECK int statedir_sync(const char *path, struct text *error);
