/* SPDX-License-Identifier: Apache-2.0 */
/* bypass.h - sessions that reach a server without Sluice although they should not: judged by its processlist. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "core/attr.h"
#include "core/checks.h"
#include "core/threads.h"

/* A channel of another backend that reads from the server: its dump thread is no bypass. */
struct bypass_channel {
    char user[THREADS_USER_LEN + 1];
    bool is_found; /* private: a dump thread was taken for it */
};

struct bypass_input {
    const char *server; /* name, for the texts */
    const struct threads_row *rows;
    size_t row_count;
    const char *own_user;              /* Sluice's own account */
    const enum threads_class *classes; /* of threads_judge(), one a row */
    const struct threads_leg *legs;    /* of Sluice, for the addresses of those who read by them */
    size_t leg_count;
    const char (*users)[THREADS_USER_LEN + 1]; /* accounts that read binlogs through Sluice: the consumer's */
    size_t user_count;
    struct bypass_channel *channels;
    size_t channel_count;
    enum check_state level; /* what a session of the consumer's account means: CHECK_FAIL or CHECK_WARN */
};

/*
 * bypass_add_checks - a line C14 that names every session of the consumer's account, and every binlog dump thread, that is neither
 * ours nor a backend's; where there is none, the readers that do come through Sluice, each by its own client's address. A dump thread of another account only warns: it may be a replica that has nothing to do with the consumer.
 */
void bypass_add_checks(struct check_list *list, struct bypass_input *in);
