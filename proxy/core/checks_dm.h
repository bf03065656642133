/* SPDX-License-Identifier: Apache-2.0 */
/* checks_dm.h - what must be true of DM before a switch, beside what is true of every consumer. Pure. */
#pragma once
#include <stddef.h>
#include "core/checks.h"
#include "core/dm.h"

struct checks_dm_address {
    const char *host;
    unsigned port;
};

/* A binlog stream that comes through the listener. */
struct checks_dm_stream {
    const char *user;
    const char *peer; /* the client's "host:port" */
    unsigned reader_id;
};

struct checks_dm {
    const char *source_id;
    struct checks_dm_address listen;
    const struct checks_dm_address *advertise; /* what else the listener is called */
    size_t advertise_count;
    const struct checks_dm_stream *streams;
    size_t stream_count;
    const char *listen_name; /* what |listen| is, where it is not this listener; NULL else */
    const char *listen_todo; /* what to do where DM does not read from there; NULL: the usual */
};

/*
 * checks_add_dm - leader, binding, address, enable-gtid, DDL locks, other readers, tags, relay and validator, from |status->dm|
 * (nothing where it is NULL). What DM did not answer is a warning, but for its tasks, without which there is no plan.
 */
void checks_add_dm(struct check_list *list, const struct checks_dm *in, const struct consumer_status *status);
/* checks_add_dm_locks - the lines of DDL locks alone: what DM's tasks say is looked at again after the pause. */
void checks_add_dm_locks(struct check_list *list, const struct dm_facts *f);
/* checks_add_dm_server - tags in what the new server has: DM's parser knows none. */
void checks_add_dm_server(struct check_list *list, const char *name, const struct facts *f);
