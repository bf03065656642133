/* SPDX-License-Identifier: Apache-2.0 */
/* checks.h - the preconditions of a switch, each judged and explained: what `sluice check` prints, line by line. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/cutover.h" /* enum cutover_verdict */
#include "core/facts.h"
#include "core/positions.h"
#include "core/text.h"
#include "sluice/gtid_gate.h"

enum check_state { CHECK_OK, CHECK_WARN, CHECK_WAIT, CHECK_FAIL };

enum { CHECK_ID_LEN = 7, CHECK_NAME_LEN = 160, CHECK_DETAIL_LEN = 1100, CHECK_TODO_LEN = 300 };

/* One line. WAIT is a condition that waiting can cure; to the operator it is a failure as long as it lasts. */
struct check {
    enum check_state state;
    char id[CHECK_ID_LEN + 1];         /* "C06": the number in the list of preconditions */
    char name[CHECK_NAME_LEN + 1];     /* "gtid-mode" */
    char detail[CHECK_DETAIL_LEN + 1]; /* the figures: what was found, where */
    char todo[CHECK_TODO_LEN + 1];     /* what to do about it; "" with OK */
    bool is_waived;                    /* an operator named it: WARN at most */
};

struct check_list {
    struct check *items;
    size_t count, room;
    int status; /* 0, or SLUICE_ERR_NOMEM once a line could not be kept: then nothing passes */
};

/* check_list_free - release the lines; the list is empty after. */
void check_list_free(struct check_list *list);
/* check_add - append a line; |todo| is kept only where it is not OK; |detail| as printf does. */
void check_add(struct check_list *list, const char *id, const char *name, enum check_state state, const char *todo,
               const char *detail, ...) SLUICE_PRINTF(6, 7);
/* check_worst - the first of the worst lines, NULL when the list is empty. */
const struct check *check_worst(const struct check_list *list);
/* check_state_name - "ok", "warn", "fail" (WAIT too). */
const char *check_state_name(enum check_state state);
/* check_verdict - PASS without WAIT and FAIL, LAGGING with WAIT alone, else REFUSED. FAILED when memory ran out. */
enum cutover_verdict check_verdict(const struct check_list *list);

/*
 * checks_waive_parse - names of checks, separated by commas, into the set |*waived|, to what is in it. Returns 0, or
 * SLUICE_ERR_INVALID for a name of a check that cannot be waived, or of none; |error| then lists those that can be.
 */
SLUICE_MUSTCHECK int checks_waive_parse(const char *names, uint32_t *waived, struct text *error);
/* checks_waive - what is not OK and is named becomes a warning that says so. Twice is once. */
void checks_waive(struct check_list *list, uint32_t waived);

/* What is known of the two servers besides their facts. */
struct checks_servers {
    const char *old_name, *new_name;
    const struct facts *old_facts; /* NULL: declared dead */
    const struct facts *new_facts;
    const char *old_uuid;  /* pinned; "" when unknown */
    const char *new_pin;   /* pinned uuid of the new one, "" when it has none yet */
    const char *latch;     /* why the new backend is latched as rewound; "" when it is not */
    bool clients_are_told; /* proxy-protocol.send */
    bool may_be_one;       /* two addresses of one server are no mistake here */
    const char *old_latch; /* the same of the old one, NULL or "" when it is not, or when it was declared dead */
    const struct facts *old_settings; /* the old one's, as last seen, also where it is dead; NULL: it was never seen */
    bool consumer_keeps_settings; /* it reads time zone, sql_mode … once, and goes on with them on the new server */
};
/* checks_add_cached - C17: what a consumer keeps of the old server for the life of a task, and the new one has otherwise. */
void checks_add_cached(struct check_list *list, const struct checks_servers *in);
/* checks_add_servers - C05..C11, C17 and what Sluice itself needs there: uuid, GTID mode, binlog, filters, grants, replication. */
void checks_add_servers(struct check_list *list, const struct checks_servers *in);
/* checks_add_consumer - whether the consumer can be paused, stage by stage (C13). */
void checks_add_consumer(struct check_list *list, const struct consumer_status *status);
/* checks_add_gate - the conditions of gtid_gate_check(), C01..C05. |new_replicates| only shapes what to do. */
void checks_add_gate(struct check_list *list, const struct gtid_gate_result *gate, bool new_replicates);
/* facts_replicates_from - does it run a channel from |uuid|? */
bool facts_replicates_from(const struct facts *f, const char *uuid);
/* facts_replicates - does it run any channel? */
bool facts_replicates(const struct facts *f);
