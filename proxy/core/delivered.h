/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivered.h - D: all that a source's binlog streams ever carried to any client, as the proxy saw it go by. Pure.
 *
 * A flip does not reset it; only an accepted loss takes from it. The next number of a UUID costs constant time and no allocation.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "core/attr.h"
#include "core/tracker.h"
#include "sluice/gtid.h"

enum { DELIVERED_REASON_LEN = 160 };

struct delivered {
    struct gtid_set *all;   /* asked for and answered, sent whole, and sent in part */
    struct gtid_set *whole; /* the same without those sent in part only */
    struct gtid_set
        *sent;     /* transactions that the active server itself sent since it is active: it has them, for ever */
    bool is_known; /* false: |all| may lack something, |reason| says why */
    char reason[DELIVERED_REASON_LEN + 1];
};

/* delivered_init - empty and unknown ("not read yet"). 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int delivered_init(struct delivered *d);
void delivered_free(struct delivered *d);
/*
 * delivered_begin - |all| of it is at most |set| from here on: what a server has once the last stream from it has ended. D is known
 * after it. NULL is taken as out of memory. Running out of memory makes D unknown; so in all functions here.
 */
void delivered_begin(struct delivered *d, const struct gtid_set *set);
/* delivered_request - a server answered a request for |set| by its first event: the reader has it. */
void delivered_request(struct delivered *d, const struct gtid_set *set);
/* delivered_gtid - a byte of this transaction was sent. An anonymous one makes D unknown. */
void delivered_gtid(struct delivered *d, const struct tracker_gtid *gtid);
/* delivered_whole - its last byte was sent. */
void delivered_whole(struct delivered *d, const struct tracker_gtid *gtid);
/* delivered_unknown - something may have passed that was not seen; the first reason is kept until delivered_begin(). */
void delivered_unknown(struct delivered *d, const char *reason);
/* delivered_accept_loss - an operator accepted |loss|. */
void delivered_accept_loss(struct delivered *d, const struct gtid_set *loss);
/* delivered_new_server - another server is the active one, or the same was rebuilt: what was sent says nothing of it. */
void delivered_new_server(struct delivered *d);
/* delivered_part - a new set of what was sent in part only, NULL when memory ran out. */
SLUICE_MUSTCHECK struct gtid_set *delivered_part(const struct delivered *d);
