/* SPDX-License-Identifier: Apache-2.0 */
/* mailbox.h - the one way by which a thread speaks to a libuv loop: functions to run there, in order of posting. */
#pragma once
#include <uv.h>
#include "core/attr.h"

struct mail; /* one letter */

struct mailbox {
    uv_async_t async; /* private */
    uv_mutex_t lock;  /* private: guards |first|, |last| */
    struct mail *first, *last;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* What a letter does, on the mailbox's loop. |arg| belongs to it. */
typedef void (*mail_fn)(void *arg);

/*
 * mailbox_init - bind |m| to |loop|. Returns 0 or SLUICE_ERR_NOMEM / SLUICE_ERR_IO, with nothing to undo.
 * Call from: the loop's thread, or before it runs.
 */
SLUICE_MUSTCHECK int mailbox_init(struct mailbox *m, uv_loop_t *loop);
/*
 * mailbox_post - run |fn(arg)| on the mailbox's loop. |arg| passes to |fn|. A letter that cannot be allocated ends the
 * process: nothing that crosses threads may be lost silently. Any thread, until mailbox_close().
 */
void mailbox_post(struct mailbox *m, mail_fn fn, void *arg);
/*
 * mailbox_close - what was posted before is still run; then |on_closed(arg)| (may be NULL), after which |m|'s memory is free.
 * Call from: the loop's thread, once no other thread posts any more.
 */
void mailbox_close(struct mailbox *m, void (*on_closed)(void *arg), void *arg);
