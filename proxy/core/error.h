/* SPDX-License-Identifier: Apache-2.0 */
/* error.h - every error code of the program: name, text, what a MySQL client is told. */
#pragma once
#include <stdint.h>

/*
 * X(name, value, mysql_errno, sqlstate, text). Codes are negative; 0 is success. mysql_errno and sqlstate are what a held or
 * routed client reads; they never resemble 1236 or the words "connect: connection refused", by which DM judges
 * (design, promise 5).
 */
#define SLUICE_ERRORS(X)                                                                                               \
    X(SLUICE_ERR_NOMEM, -1, 1041, "HY000", "memory ran out")                                                           \
    X(SLUICE_ERR_INVALID, -2, 1105, "HY000", "invalid argument")                                                       \
    X(SLUICE_ERR_NOT_FOUND, -3, 1105, "HY000", "no such object")                                                       \
    X(SLUICE_ERR_CONFIG, -4, 1105, "HY000", "the configuration is not usable")                                         \
    X(SLUICE_ERR_IO, -5, 1105, "HY000", "input or output failed")                                                      \
    X(SLUICE_ERR_BUSY, -6, 1105, "HY000", "another operation is in progress")                                          \
    X(SLUICE_ERR_UNREACHABLE, -7, 1105, "HY000", "the server cannot be reached")                                       \
    X(SLUICE_ERR_TIMEOUT, -8, 1105, "HY000", "a time limit ran out")                                                   \
    X(SLUICE_ERR_CANCELED, -9, 1105, "HY000", "canceled")                                                              \
    X(SLUICE_ERR_CLIENT_GONE, -10, 1105, "HY000", "the client hung up")                                                \
    X(SLUICE_ERR_HOLD_TIMEOUT, -11, 1105, "HY000", "held longer than hold-timeout")                                    \
    X(SLUICE_ERR_HOLD_FULL, -12, 1040, "08004", "as many clients are held as hold-clients allows")                     \
    X(SLUICE_ERR_SESSIONS_FULL, -13, 1040, "08004", "as many sessions are open as max-sessions allows")                \
    X(SLUICE_ERR_REFUSED, -14, 1105, "HY000", "refused by a check")                                                    \
    X(SLUICE_ERR_PROTOCOL, -15, 1105, "HY000", "the peer does not speak the MySQL protocol as it should")              \
    X(SLUICE_ERR_ACCESS_DENIED, -16, 1105, "HY000", "the server denied access to Sluice's own account")                \
    X(SLUICE_ERR_STATE_UNKNOWN, -17, 1105, "HY000", "the state is unknown; a person must look")                        \
    X(SLUICE_ERR_JOURNAL, -18, 1105, "HY000", "the state could not be written to state-dir")                           \
    X(SLUICE_ERR_REWOUND, -19, 1105, "HY000", "the server has lost transactions that it had")                          \
    X(SLUICE_ERR_WRONG_SERVER, -20, 1105, "HY000", "another server answers under this address")                        \
    X(SLUICE_ERR_NO_RECORD, -21, 1105, "HY000", "which backend is active is not known")                                \
    X(SLUICE_ERR_SYNTAX, -22, 1105, "HY000", "syntax error")                                                           \
    X(SLUICE_ERR_QUERY, -23, 1105, "HY000", "the server answered a query with an error")                               \
    X(SLUICE_ERR_STOPPING, -24, 1053, "08S01", "Sluice is being stopped")                                              \
    X(SLUICE_ERR_TLS, -25, 1105, "HY000", "a TLS connection could not be made")                                        \
    X(SLUICE_ERR_TLS_REQUIRED, -26, 3159, "HY000",                                                                     \
      "Connections using insecure transport are prohibited while --require_secure_transport=ON.")                      \
    X(SLUICE_ERR_NO_THREAD, -27, 1094, "HY000", "unknown thread id")                                                   \
    X(SLUICE_ERR_KILL_UNREADABLE, -28, 1105, "HY000",                                                                  \
      "sluice: which thread this KILL means cannot be read; send KILL [CONNECTION|QUERY] number, alone")               \
    X(SLUICE_ERR_KILL_PREPARED, -29, 1295, "HY000",                                                                    \
      "sluice: a KILL cannot be prepared here, as its thread has to be translated; send it as a query")                \
    X(SLUICE_ERR_DUMP_GATE, -30, 1105, "HY000", "the dump gate refused a binlog dump")                                 \
    X(SLUICE_ERR_PROXY_HEADER, -31, 1105, "HY000", "a PROXY header was needed, and none that is valid came")

enum sluice_error {
#define X(name, value, number, state, text) name = value,
    SLUICE_ERRORS(X)
#undef X
};

/* error_name - the code's own name ("SLUICE_ERR_NOMEM"), "OK" for 0, "SLUICE_ERR_?" for what is none. Any thread. */
const char *error_name(int code);
/* error_text - one lower-case clause without a full stop. Any thread. */
const char *error_text(int code);
/* error_mysql_errno - the number of the MySQL error packet that tells a client of |code|. Any thread. */
uint16_t error_mysql_errno(int code);
/* error_sqlstate - five characters. Any thread. */
const char *error_sqlstate(int code);
