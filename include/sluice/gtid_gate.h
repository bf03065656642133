/* SPDX-License-Identifier: Apache-2.0 */
/* gtid_gate.h - the GTID conditions that must hold before a reader moves to another server, each with its explanation.
 * Pure. */
#pragma once
#include "sluice/gtid.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GTID_GATE_TITLE_BYTES = 160, /* with NUL */
    GTID_GATE_TEXT_BYTES = 1024, /* with NUL */
};

/* A set that some part of the consumer has or asks for. */
struct gtid_gate_set {
    const char *name;           /* for the texts: "gtid-S(task orders)", "gtid-W(relay)", "the request"; not NULL */
    const struct gtid_set *set; /* not NULL */
};

/* How transactions that only the new server has are told. */
enum gtid_gate_errant {
    GTID_GATE_ERRANT_SKIP,      /* not asked */
    GTID_GATE_ERRANT_OLD_ALIVE, /* errant = E - |old_known| */
    /*
     * errant = what of E - D is of a UUID that D does not have at all, less |old_known|. Where D is not known, |old_known|
     * stands for it: what the old server had when it was last asked. Where neither is: unknown, or refused as D is.
     */
    GTID_GATE_ERRANT_OLD_DEAD,
};

/* How D, the delivered set, is to be judged. */
enum gtid_gate_delivered {
    GTID_GATE_DELIVERED_SKIP,     /* not asked */
    GTID_GATE_DELIVERED_KNOWN,    /* |delivered| must be contained in E */
    GTID_GATE_DELIVERED_UNKNOWN,  /* refused */
    GTID_GATE_DELIVERED_ACCEPTED, /* unknown, and the operator accepted what may be lost */
};

/* All sets are borrowed for the call and not changed. */
struct gtid_gate_input {
    const struct gtid_set *purged;   /* P of the new server, read last; not NULL */
    const struct gtid_set *executed; /* E of the new server; not NULL */
    /*
     * The new server's own UUID, or NULL. What it lacks of it waiting never brings: that fails instead of lagging, and is
     * called rewound. Then |executed| should include what the server owns: semi-sync shows a transaction there first.
     */
    const uint8_t *executed_uuid;

    const struct gtid_gate_set *readers; /* S of each task and W: P in X, and X in E */
    size_t reader_count;
    const struct gtid_gate_set *validators; /* V: P in V; an empty V says nothing */
    size_t validator_count;

    enum gtid_gate_delivered delivered_rule;
    const struct gtid_set *delivered; /* D; not NULL with GTID_GATE_DELIVERED_KNOWN, else unused */
    /* What of D was delivered whole, for P in D: what a reader has in half it still needs. NULL: all of |delivered|. */
    const struct gtid_set *delivered_whole;
    bool delivered_is_newer;  /* D was read after E: what E lacks may have come in between, so it is waited for */
    bool delivered_is_reader; /* the consumer cannot tell its set: D stands for it, P in D is asked too */

    const struct gtid_set *accepted_loss; /* L: taken from S, W, V and D before they are judged; NULL: nothing */

    enum gtid_gate_errant errant_rule;
    const struct gtid_set *old_known; /* executed and owned of the old server; NULL only while it is dead */
    bool old_follows;                 /* with OLD_ALIVE: it replicates, so what it lacks may come: wait, not fail */
    const uint8_t *errant_uuid; /* only of this UUID, as of others more may have come since |old_known|; NULL: of all */
    const struct gtid_set *accepted_errant;                  /* NULL: nothing */
    const uint8_t (*accepted_errant_uuids)[GTID_UUID_BYTES]; /* whole UUIDs, all tags; NULL with a count of 0 */
    size_t accepted_errant_uuid_count;
};

enum gtid_gate_rule {
    GTID_GATE_PURGED_IN_READER,   /* P in S, P in W */
    GTID_GATE_READER_IN_EXECUTED, /* S in E, W in E */
    GTID_GATE_PURGED_IN_VALIDATOR,
    GTID_GATE_PURGED_IN_DELIVERED,
    GTID_GATE_DELIVERED_IN_EXECUTED,
    GTID_GATE_NOTHING_ERRANT,
};

enum gtid_gate_status {
    GTID_GATE_OK,
    GTID_GATE_UNKNOWN, /* could not be judged and was accepted so, or says nothing (an empty V) */
    GTID_GATE_WAIT,    /* does not hold yet: the new server may catch up; with NOTHING_ERRANT: the old one may */
    GTID_GATE_FAIL,    /* does not hold, and waiting does not help */
};

/* One condition, judged. */
struct gtid_gate_condition {
    enum gtid_gate_rule rule;
    enum gtid_gate_status status;
    bool is_rewound;                   /* E lacks transactions of the new server's own UUID */
    struct gtid_set *missing;          /* what is missing, or errant; NULL when nothing is; owned by the result */
    uint64_t missing_count;            /* transactions in |missing| */
    char title[GTID_GATE_TITLE_BYTES]; /* "gtid-S(task orders) in gtid-E" */
    char text[GTID_GATE_TEXT_BYTES];   /* a sentence: figures, which ranges are missing where; abbreviated where long */
};

enum gtid_gate_verdict {
    GTID_GATE_PASS,
    GTID_GATE_LAGGING, /* only conditions of status GTID_GATE_WAIT fail */
    GTID_GATE_REFUSED,
};

struct gtid_gate_result {
    enum gtid_gate_verdict verdict;
    struct gtid_gate_condition *conditions; /* in a fixed order: readers, validators, D, errant */
    size_t condition_count;
};

/*
 * gtid_gate_check - judge all conditions; none is left out because an earlier one fails.
 * |out_result|  filled on success, and ended by gtid_gate_result_free(); untouched on failure.
 * Returns 0 (whatever the verdict), or GTID_ERR_NOMEM. Any thread.
 */
GTID_API GTID_MUSTCHECK int gtid_gate_check(const struct gtid_gate_input *input, struct gtid_gate_result *out_result);
/* gtid_gate_result_free - release what the result owns; it may be all zero. */
GTID_API void gtid_gate_result_free(struct gtid_gate_result *result);

/*
 * gtid_errant_parse - read what an operator accepts as errant: a GTID set in which a UUID without numbers means all of
 * it. |out_set|                 receives a new set, owned by the caller. |out_uuids|, |out_count|  receive an array
 * that the caller frees with gtid_free(), or NULL and 0. Returns 0, GTID_ERR_SYNTAX (with |error| filled, if not NULL)
 * or GTID_ERR_NOMEM; outputs untouched on failure.
 */
GTID_API GTID_MUSTCHECK int gtid_errant_parse(const char *text, size_t len, struct gtid_set **out_set,
                                              uint8_t (**out_uuids)[GTID_UUID_BYTES], size_t *out_count,
                                              struct gtid_parse_error *error);

#ifdef __cplusplus
}
#endif
