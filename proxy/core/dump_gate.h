/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump_gate.h - may a binlog reader be served by this server? Judged for every request, switch or no switch (design, promise 7). Pure.
 *
 * A server refuses by itself only what lacks its P, and not even that when a file is named, or what is ahead in its own UUID. A
 * server that lags is read without a word, and its later transactions reach the reader out of what it has.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "core/attr.h"
#include "sluice/gtid.h"

/* All sets are borrowed for the call. */
struct dump_gate_input {
    const struct gtid_set *request; /* S': what the reader says it has */
    bool names_file;                /* then the server does not compare it with P */
    const struct gtid_set *owned;   /* of the server, read first: with semi-sync a stream is ahead of E */
    const struct gtid_set *executed;
    const struct gtid_set *purged;        /* read last */
    const uint8_t *uuid;                  /* the server's own, GTID_UUID_BYTES */
    const struct gtid_set *accepted_loss; /* taken from S' before it is judged; NULL: nothing */
};

enum dump_gate_verdict {
    DUMP_GATE_PASS,   /* also when an unnamed request lacks P: the server's own 1236 is the better answer */
    DUMP_GATE_BEHIND, /* the server lacks transactions of others: it may catch up */
    DUMP_GATE_PURGED, /* a file is named, and P is not contained in S' */
    DUMP_GATE_LOST, /* P is contained in S' only by numbers that were accepted as lost: the server sees no gap where there is one */
    DUMP_GATE_REWOUND, /* it lacks transactions of its own: waiting ends when it has used their numbers again */
};

struct dump_gate_result {
    enum dump_gate_verdict verdict;
    struct gtid_set *missing; /* on the server; with PURGED on the reader's side. NULL with PASS. The caller's */
};

/* dump_gate_judge - Returns 0, or SLUICE_ERR_NOMEM with |out| untouched. */
SLUICE_MUSTCHECK int dump_gate_judge(const struct dump_gate_input *in, struct dump_gate_result *out);
