/* SPDX-License-Identifier: Apache-2.0 */
/*
 * legs.h - the memory-mapped file of a source's open connections to backends: known after kill -9 of the process (promise 1),
 * not after a power cut, which ends the connections' sockets as well.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/network.h"
#include "core/text.h"

enum { LEGS_UUID_LEN = 36, LEGS_HOST_LEN = 45, LEGS_CAPACITY_MAX = 1000000 };

struct legs;

/* One connection to a backend, as the dead process left it or as this one has it. */
struct legs_record {
    char server_uuid[LEGS_UUID_LEN + 1]; /* the backend's pin when the leg was opened */
    uint64_t thread_id;                  /* 0: no greeting had come */
    char host[LEGS_HOST_LEN + 1]; /* our numeric address, as the processlist's HOST shows it; "" while not yet known */
    uint16_t port;                /* our port; 0: killed between connect(2) and the record of it, the leg may exist */
    uint64_t epoch;
    struct network_address
        told; /* a PROXY header told the server this, or was about to: then it is the processlist's HOST */
};

/* What legs_open() found under the path. */
enum legs_found {
    LEGS_FOUND_NOTHING,   /* no file: a first start, or a lost state-dir */
    LEGS_FOUND_CLEAN,     /* the last process closed all its legs */
    LEGS_FOUND_LEFTOVERS, /* legs_each_leftover() names them */
    LEGS_FOUND_UNREADABLE, /* short, damaged or of another version: moved to PATH.damaged; left-overs may exist, nobody knows which */
};

/*
 * legs_open - lock, read and map the file; it is created when there is none.
 *
 * |path|       in state-dir, one per source; copied.
 * |capacity|   1..LEGS_CAPACITY_MAX: as many legs can be open at once, beside all left-overs. Disk space for it is reserved here.
 * |out_error|  gets, on failure, what failed and what to do; may be NULL.
 * Returns 0, |*out| (the caller's until legs_close()) and |*out_found|; or, with nothing left behind,
 *   SLUICE_ERR_BUSY  another process has the file: a second sluice on this state-dir.
 *   SLUICE_ERR_IO    not writable, disk full, or not a regular file.
 *   SLUICE_ERR_NOMEM.
 * Call from: any thread; blocks on the disk. All other functions: the source's loop, or before it runs.
 */
SLUICE_MUSTCHECK int legs_open(const char *path, uint32_t capacity, struct legs **out, enum legs_found *out_found,
                               struct text *out_error);
/* legs_close - unmap and unlock; legs still recorded stay in the file as left-overs for the next process. NULL is nothing. */
void legs_close(struct legs *legs);

/* |slot| names the left-over to legs_forget_leftover(), which may be called from here. Return false to stop. */
typedef bool (*legs_leftover_fn)(void *arg, uint32_t slot, const struct legs_record *record);
/* legs_each_leftover - what the dead process had open and nobody has forgotten yet. */
void legs_each_leftover(const struct legs *legs, legs_leftover_fn fn, void *arg);
/* legs_leftover_count - how many are left. */
uint32_t legs_leftover_count(const struct legs *legs);
/* legs_forget_leftover - its thread is proven gone. A slot that is none is nothing. */
void legs_forget_leftover(struct legs *legs, uint32_t slot);
/* legs_forget_leftovers_of - all of one backend, whose processlist was seen empty or whose server is dead; returns how many. */
uint32_t legs_forget_leftovers_of(struct legs *legs, const char *server_uuid);

/*
 * legs_add - record a leg before its connect(2). Its host, port and thread id may still be unknown.
 * Returns 0 and |*out_slot|, or SLUICE_ERR_SESSIONS_FULL when |capacity| legs are open.
 */
SLUICE_MUSTCHECK int legs_add(struct legs *legs, const struct legs_record *record, uint32_t *out_slot);
/* legs_set_address - our end, right after connect(2). */
void legs_set_address(struct legs *legs, uint32_t slot, const char *host, uint16_t port);
/* legs_set_thread - the id from the greeting. */
void legs_set_thread(struct legs *legs, uint32_t slot, uint64_t thread_id);
/* legs_remove - the leg's socket is closed. */
void legs_remove(struct legs *legs, uint32_t slot);
/* legs_open_count - legs of this process. */
uint32_t legs_open_count(const struct legs *legs);
