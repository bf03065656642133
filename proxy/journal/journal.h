/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - the state on disk: what a restart must know. Commits are asynchronous, and on disk before they are answered.
 *
 *     struct journal_txn txn = JOURNAL_TXN_INIT;
 *     journal_txn_source_put(&txn, &source);      the new active backend and epoch …
 *     journal_txn_switch_put(&txn, &change);      … and the switch's phase "flipped", both or neither
 *     journal_commit(journal, &txn, &loop->mailbox, on_flip_durable, cutover);
 *
 * One thread owns the storage, and while it does no other process can open state.db, not even to look: journal_history() is
 * for that. Requests are executed in the order in which they were submitted (those of one thread in its order, those of
 * several in the order of arrival), and each is answered once, in that order, on the submitter's loop.
 *
 * What an answer says (promise 3):
 *   0                     it is on disk: written and fsync'ed.
 *   SLUICE_ERR_JOURNAL    UNKNOWN. The storage failed; it may be there after a crash, or not. Reading it back settles nothing.
 *                         Only a LATER commit that says what is to hold (for a flip: the old backend with an epoch newer
 *                         than the one tried) and that was answered 0 does.
 *   any other error       certain: nothing of it was written. Each is named at the call that causes it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "journal/record.h"

struct journal; /* opaque; one per process */
struct mailbox; /* base/mailbox.h */

enum {
    JOURNAL_HISTORY_MAX = 1000, /* switches in one answer of journal_history() */
    JOURNAL_QUEUE_MAX = 65536,  /* requests that wait; one more is answered SLUICE_ERR_BUSY, out of its turn */
};

/* What was on disk when the journal was opened; all of it is durable. The caller's, until journal_state_free(). */
struct journal_state {
    bool is_new; /* there was no state file: the first start, or a lost state-dir */
    struct record_source *sources;
    size_t source_count;
    struct record_pin *pins;
    size_t pin_count;
    struct record_switch *open_switches; /* at most one a source */
    size_t open_switch_count;
};

/* Changes that are made together or not at all. By value, on the stack: JOURNAL_TXN_INIT, puts, journal_commit(). */
struct journal_txn {
    struct journal_change *first, *last; /* private */
    int status;                          /* 0, or SLUICE_ERR_NOMEM once a put has failed; journal_commit() answers it */
};

#define JOURNAL_TXN_INIT ((struct journal_txn){ 0 })

/*
 * How a commit ended: once, on the loop of the mailbox that was given. |number| is that of the switch begun in it, else
 * 0 (also 0 unless |status| is 0).
 */
typedef void (*journal_commit_fn)(void *arg, int status, uint64_t number);
/*
 * What a query found: once, on the loop of the mailbox. |list| is valid during the call; record_switch_copy() what is to stay.
 */
typedef void (*journal_history_fn)(void *arg, int status, const struct record_switch *list, size_t count);

/*
 * journal_open - take the state-dir, check what is in it, read it, and start the journal thread.
 *
 * |state_dir|   made with mode 0700 when missing; its parent must exist.
 * |out_state|   what was found.
 * |out_error|   on failure: what is wrong with which file, and what to do (the caller's, mem_free(); NULL when even that ran
 *               out of memory). Untouched on success.
 *
 * Returns 0, or, with nothing changed that was there before:
 *   SLUICE_ERR_BUSY     another process has this state-dir (its pid is in the text).
 *   SLUICE_ERR_IO       missing, read-only, full, of the wrong owner, or the disk fails.
 *   SLUICE_ERR_JOURNAL  the file is damaged, none of ours, or of a newer schema, or the storage cannot promise durability
 *                       (journal_mode is not WAL or synchronous is not FULL when read back). Never recreated by itself.
 *   SLUICE_ERR_NOMEM    memory or threads ran out.
 * Call from: main, before signals matter; blocks on the disk.
 */
SLUICE_MUSTCHECK int journal_open(const char *state_dir, struct journal **out_journal, struct journal_state *out_state,
                                  char **out_error);
/*
 * journal_close - execute what is queued, post the answers, end the thread, let go of the state-dir. Blocks on the disk.
 * Call from: any thread but the journal's, once nobody submits any more, and while the mailboxes to be answered are open.
 */
void journal_close(struct journal *journal);

/* journal_state_free - release what |state| points to; it is empty after. Any thread. */
void journal_state_free(struct journal_state *state);
/* journal_state_source, _pin, _open_switch - look one up; NULL when there is none. Any thread. */
const struct record_source *journal_state_source(const struct journal_state *state, const char *source_id);
const struct record_pin *journal_state_pin(const struct journal_state *state, const char *source_id,
                                           const char *backend);
const struct record_switch *journal_state_open_switch(const struct journal_state *state, const char *source_id);

/*
 * journal_txn_* - add a change; |r| is copied, deeply. A put that runs out of memory is remembered in |txn|, and the commit
 * is answered SLUICE_ERR_NOMEM with nothing written. Changes take effect in the order in which they were added. Any thread.
 *
 * journal_txn_source_put     the whole record. The commit ends in SLUICE_ERR_INVALID where it would lower the epoch, name
 *                            another active backend without raising it, or forget a known one (has_record false).
 * journal_txn_pin_put        the whole pin.
 * journal_txn_pin_remove     forget it; none there is no error.
 * journal_txn_switch_begin   a new switch, RECORD_SWITCH_OPEN; |r->number| is ignored, the answer brings it. At most one in
 *                            a txn. SLUICE_ERR_BUSY when the source has an open one.
 * journal_txn_switch_put     the whole record of switch |r->number|. SLUICE_ERR_NOT_FOUND when there is none of this number
 *                            and source, SLUICE_ERR_INVALID where it would open an ended one again.
 *
 * A key or a known active backend that is empty is SLUICE_ERR_INVALID, too.
 */
void journal_txn_source_put(struct journal_txn *txn, const struct record_source *r);
void journal_txn_pin_put(struct journal_txn *txn, const struct record_pin *r);
void journal_txn_pin_remove(struct journal_txn *txn, const char *source_id, const char *backend);
void journal_txn_switch_begin(struct journal_txn *txn, const struct record_switch *r);
void journal_txn_switch_put(struct journal_txn *txn, const struct record_switch *r);
/* journal_txn_free - drop a transaction that is not to be committed; empty after. journal_commit() needs none. */
void journal_txn_free(struct journal_txn *txn);

/*
 * journal_commit - make the changes of |txn| durable, all or none, then call |done| on |mailbox|'s loop.
 *
 * |txn|   emptied here: what it held is the journal's. An empty one is answered 0 in its turn, behind all before it.
 * |done|  called exactly once, never from inside this call. Errors as above; SLUICE_ERR_BUSY also when JOURNAL_QUEUE_MAX
 *         requests wait.
 *
 * A request that cannot be allocated ends the process, as mailbox_post() does. Any thread, until journal_close().
 */
void journal_commit(struct journal *journal, struct journal_txn *txn, struct mailbox *mailbox, journal_commit_fn done,
                    void *arg);
/* The common ones in a call each; what they write and their errors are as above. */
void journal_source_put(struct journal *journal, const struct record_source *r, struct mailbox *mailbox,
                        journal_commit_fn done, void *arg);
void journal_pin_put(struct journal *journal, const struct record_pin *r, struct mailbox *mailbox,
                     journal_commit_fn done, void *arg);
void journal_switch_begin(struct journal *journal, const struct record_switch *r, struct mailbox *mailbox,
                          journal_commit_fn done, void *arg);
/* journal_switch_update - also ends one: set |state|, |ended_unix_ms|, |exit_code|, |msg|, |report|. */
void journal_switch_update(struct journal *journal, const struct record_switch *r, struct mailbox *mailbox,
                           journal_commit_fn done, void *arg);
/* journal_flip - |source| with its new active backend and epoch, and |r| with its new phase: both or neither. */
void journal_flip(struct journal *journal, const struct record_source *source, const struct record_switch *r,
                  struct mailbox *mailbox, journal_commit_fn done, void *arg);

/*
 * journal_history - switches, newest first.
 *
 * |source_id|      NULL: of all sources.
 * |before_number|  only smaller numbers, to page on; 0: from the newest.
 * |count_max|      1..JOURNAL_HISTORY_MAX; larger is taken as that.
 *
 * Answered with 0 and 0.. records; SLUICE_ERR_JOURNAL, SLUICE_ERR_NOMEM or SLUICE_ERR_BUSY with none. Any thread.
 */
void journal_history(struct journal *journal, const char *source_id, uint64_t before_number, size_t count_max,
                     struct mailbox *mailbox, journal_history_fn done, void *arg);
/* journal_switch_get - one switch: 0 and one record, or SLUICE_ERR_NOT_FOUND, or as journal_history(). Any thread. */
void journal_switch_get(struct journal *journal, uint64_t number, struct mailbox *mailbox, journal_history_fn done,
                        void *arg);

/* Counters since the start, for metrics. */
struct journal_stats {
    uint64_t queued;   /* requests that wait now */
    uint64_t commits;  /* answered 0 */
    uint64_t failures; /* answered SLUICE_ERR_JOURNAL */
};
/* journal_stats_get - any thread. */
void journal_stats_get(const struct journal *journal, struct journal_stats *out_stats);
