/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unseen.h - memory for what clients send: left out of core files, and wiped before it is given back. COM_REGISTER_SLAVE carries an
 * account's password in clear, logins and statements carry others.
 *
 * The process as a whole stays dumpable: a core file of what Sluice decided is worth having, and a process that is not (PR_SET_DUMPABLE)
 * hides its sockets from another Sluice of this host, which then cannot tell whose they are.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

/* So many blocks at once are kept out of core files: each costs the kernel two mappings, of which a process has 65,530. */
enum { UNSEEN_BLOCKS_MAX = 1024 };

/*
 * unseen_alloc - |len| bytes, 1.., not set to anything; the caller's until unseen_free(). NULL when memory ran out. Where the kernel
 * cannot leave them out of core files, or UNSEEN_BLOCKS_MAX are, they are still wiped. Any thread; so below.
 */
SLUICE_MUSTCHECK uint8_t *unseen_alloc(size_t len);
/* unseen_free - wipe and give back; NULL is nothing. */
void unseen_free(uint8_t *bytes);
/* unseen_wipe - forget what has passed; the compiler does not take it away. */
void unseen_wipe(uint8_t *bytes, size_t len);
