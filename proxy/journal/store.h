/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - what the journal thread asks of a storage. Synchronous; one user at a time. SQLite is behind it
 * (store_sqlite.c). Of journal/ only.
 *
 *     store_begin, store_apply (any number of transactions), store_commit      a group: durable together
 *     store_begin, …, store_abandon                                             as if none of it had been
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "journal/record.h"

struct store;
struct text;
struct journal_state;
struct journal_txn;

/*
 * store_open - open or create the store in |state_dir|, whose lock the caller has; check it; make durable what is in it.
 * |error| gets a text on failure. Returns 0 or SLUICE_ERR_JOURNAL, SLUICE_ERR_IO, SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int store_open(const char *state_dir, struct store **out_store, bool *out_is_new, struct text *error);
/* store_close - NULL is nothing. */
void store_close(struct store *s);
/* store_load - what a restart needs into the empty |state|, to be freed on failure too. Errors as store_open(). */
SLUICE_MUSTCHECK int store_load(struct store *s, struct journal_state *state, struct text *error);

/* store_begin - 0 or SLUICE_ERR_JOURNAL. */
SLUICE_MUSTCHECK int store_begin(struct store *s);
/*
 * store_apply - the changes of |txn|, or none of them. Returns 0 and in |*out_number| the number of the switch it began, if
 * any; or, with nothing applied and the group alive, SLUICE_ERR_INVALID, SLUICE_ERR_NOT_FOUND, SLUICE_ERR_BUSY; or
 * SLUICE_ERR_JOURNAL: the group is to be abandoned.
 */
SLUICE_MUSTCHECK int store_apply(struct store *s, const struct journal_txn *txn, uint64_t *out_number);
/* store_commit - 0: on disk. SLUICE_ERR_JOURNAL: unknown. The group is over either way. */
SLUICE_MUSTCHECK int store_commit(struct store *s);
/* store_abandon - end the group, if there is one, with nothing written. */
void store_abandon(struct store *s);

/*
 * store_history - see journal_history(). The list is the caller's: record_switch_free() each, mem_free() it; NULL when empty.
 * Both return SLUICE_ERR_JOURNAL or SLUICE_ERR_NOMEM, store_switch_get() also SLUICE_ERR_NOT_FOUND.
 */
SLUICE_MUSTCHECK int store_history(struct store *s, const char *source_id, uint64_t before_number, size_t count_max,
                                   struct record_switch **out_list, size_t *out_count);
SLUICE_MUSTCHECK int store_switch_get(struct store *s, uint64_t number, struct record_switch *out);

/* store_tidy - between groups: bring the log home into the file when it is long, or when |is_idle| and it is worth it. */
void store_tidy(struct store *s, bool is_idle);
/* store_error - the text of the last failure, for the log. */
const char *store_error(const struct store *s);
