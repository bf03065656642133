/* SPDX-License-Identifier: Apache-2.0 */
/* threads.h - whose thread is it: judges a server's processlist (design, promise 1). Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

enum {
    THREADS_USER_LEN = 128,
    THREADS_HOST_LEN = 261,
    THREADS_COMMAND_LEN = 31,
    THREADS_INFO_LEN = 95,
    THREADS_CLIENT_LEN = 53, /* a numeric address and a port */
    THREADS_COMM_LEN = 15
};

/* One row of SHOW PROCESSLIST; longer texts are cut. */
struct threads_row {
    uint64_t id;
    char user[THREADS_USER_LEN + 1];
    char host[THREADS_HOST_LEN + 1]; /* "10.0.0.5:51334", "app.example:51334", "localhost" (unix socket), "" */
    char command[THREADS_COMMAND_LEN + 1];
    int64_t time_s;
    char state[THREADS_INFO_LEN + 1];
    char info[THREADS_INFO_LEN + 1]; /* the statement's beginning */
};

/* A connection of ours to the server, open now or left by a process that is dead. */
struct threads_leg {
    uint64_t id;                         /* the greeting's thread id; 0 when no greeting has come */
    char host[THREADS_HOST_LEN + 1];     /* local address and port of the leg, "10.0.0.5:51334", "::1:51334" */
    char client[THREADS_CLIENT_LEN + 1]; /* whom it was made for, in the same form; "" when that is not known */
    bool
        is_told; /* a PROXY header told the server |client|: that is HOST once the server has read it, |host| until then */
};

/* Who holds a local TCP socket towards the server. */
enum threads_owner { THREADS_OWNER_US, THREADS_OWNER_OTHER, THREADS_OWNER_UNKNOWN };
struct threads_socket {
    uint16_t local_port;
    enum threads_owner owner;
    bool is_sluice;                  /* another process, and it is a sluice too */
    int pid;                         /* 0 when unknown */
    char comm[THREADS_COMM_LEN + 1]; /* its name, "" when unknown */
};

enum threads_class {
    THREADS_SERVER,      /* not a network client: system user, event_scheduler, a unix socket */
    THREADS_ELSEWHERE,   /* from another address: none of our business here */
    THREADS_PROBE,       /* Sluice's own account on a socket of this process */
    THREADS_LEG,         /* a live leg of this source: id (where known) and HOST match */
    THREADS_LEFT_OVER,   /* a leg recorded by a dead process: id and HOST match; to be killed */
    THREADS_DEAD_SLUICE, /* from our address, and no local socket has its port: left by a dead Sluice; to be killed */
    THREADS_UNCLEAR, /* the same, but clients' addresses are told to servers: it may be a client's that came another way; listed,
                        switch refused */
    THREADS_OTHER_SOURCE, /* a socket of this process that is neither leg nor probe: another source's, or just closing
                           */
    THREADS_FOREIGN /* from our address, another process's socket, or one whose owner is unknown: listed, switch refused
                     */
};

struct threads_input {
    const struct threads_row *rows;
    size_t row_count;
    uint64_t own_id;                /* the connection that asked */
    const char *own_host;           /* its HOST: its host part is how the server names our address */
    const char *own_user;           /* Sluice's own account */
    const struct threads_leg *live; /* the source's open legs, before the drain all of them */
    size_t live_count;
    const struct threads_leg *left_over;
    size_t left_over_count;
    const struct threads_socket *sockets; /* local sockets towards the server, read *after* the rows */
    size_t socket_count;
    bool clients_are_told; /* legs of this source begin with a PROXY header */
};

struct threads_verdict {
    enum threads_class *classes; /* one a row */
    bool *live_seen;             /* one a live leg: the list shows it */
    size_t live_unseen_count;    /* not 0: "empty" read by this list proves nothing */
    size_t class_count[THREADS_FOREIGN + 1];
    size_t dump_count; /* rows of LEG, LEFT_OVER and DEAD_SLUICE that are binlog dumps */
};

/*
 * threads_judge - classify every row. Where a row fits several classes the earlier of this list wins: SERVER, PROBE
 * (the asking connection), LEG, LEFT_OVER, ELSEWHERE, then by the socket of its port.
 *
 * Where servers are told who a client is, a leg's HOST is the client's: it is ours where both that and the thread id are. A leg that
 * never got a greeting has no id, and nobody can have logged in by it: then it is the unauthenticated thread of that HOST.
 *
 * A program behind network address translation on this host (a container) shows our address without a socket that we
 * can see, and is taken for a dead Sluice's: such programs need another address than Sluice's (key source-address).
 *
 * Returns 0 and |*out| (threads_verdict_free()), or SLUICE_ERR_NOMEM. Any thread.
 */
SLUICE_MUSTCHECK int threads_judge(const struct threads_input *in, struct threads_verdict *out);
/*
 * threads_spare_newcomers - a look at a list and at the sockets takes time, and a client of another program that hangs up between
 * the two has a row and no socket either. A dead Sluice's thread was there in an earlier look too: those that look like one, and
 * whose id is not among the |earlier_count| of |earlier|, become THREADS_OTHER_SOURCE; so do THREADS_UNCLEAR. |verdict| is threads_judge()'s of |in|.
 */
void threads_spare_newcomers(const struct threads_input *in, const uint64_t *earlier, size_t earlier_count,
                             struct threads_verdict *verdict);
/* threads_verdict_free - empties |v|. */
void threads_verdict_free(struct threads_verdict *v);

/* threads_is_ours - the class is a connection made for a client of this source: one of these left means "not empty". */
bool threads_is_ours(enum threads_class class);
/* threads_is_dump - the row is a binlog dump ("Binlog Dump", "Binlog Dump GTID"). */
bool threads_is_dump(const struct threads_row *row);
/* threads_host_port - the port behind the last ':' of a HOST, 0 when there is none. */
uint16_t threads_host_port(const char *host);
/* threads_host_same - the same text, where "::ffff:10.0.0.5:1" is "10.0.0.5:1". */
bool threads_host_same(const char *a, const char *b);
/*
 * threads_is_translated - whether |shown|, the HOST by which a server shows a connection, cannot be |local|, the local end of that
 * connection's socket: then a relay or address translation lies between, and no HOST there tells whose thread it is. A name that
 * the server has put in the place of the address is believed where the port is right.
 */
bool threads_is_translated(const char *shown, const char *local);
/* threads_class_name - "leg", "left-over", "dead-sluice", … for logs and messages. */
const char *threads_class_name(enum threads_class class);
