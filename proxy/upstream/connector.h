/* SPDX-License-Identifier: Apache-2.0 */
/* connector.h - one connection of Sluice's own to a MySQL server; the client library is known to connector.c alone. */
#pragma once
#include <stdint.h>
#include <sys/socket.h>
#include "config/config.h" /* enum config_account_tls */
#include "core/attr.h"

struct connector;        /* opaque: an open connection */
struct connector_cancel; /* opaque: ends the calls of one connection from another thread */
struct rows;             /* opaque: a result, whole in memory */

enum { UPSTREAM_ERROR_TEXT_LEN = 511, CONNECTOR_RESULT_BYTES_MAX = 64 * 1024 * 1024 };

/* Which server, and as whom. Pointers are the owner's; upstream_target_copy() makes a deep copy. */
struct upstream_target {
    struct sockaddr_storage addr; /* AF_INET or AF_INET6, with the port: names are resolved by the caller, never here */
    char *host; /* the name in the configuration: what a certificate must carry with verify-name; may be NULL */
    char *user;
    char *password; /* "" is none; never logged */
    enum config_account_tls tls;
    char *tls_ca; /* path of a PEM file; needed by verify-ca and verify-name */
    char *bind;   /* numeric local address; NULL: the system's choice */
    unsigned
        proxy_version; /* 1, 2: a PROXY header of that version goes first, as LOCAL: we speak for ourselves; 0: none */
};

/* Why a call failed. */
struct upstream_error {
    int code;                               /* SLUICE_ERR_*, 0 while nothing failed */
    unsigned mysql_errno;                   /* the server's number, or the client library's (2000..2999), or 0 */
    char text[UPSTREAM_ERROR_TEXT_LEN + 1]; /* one line for people: which server, what it said; never a password */
};

/* upstream_target_copy - a deep copy; 0 or SLUICE_ERR_NOMEM with |*out| untouched. Any thread. */
SLUICE_MUSTCHECK int upstream_target_copy(const struct upstream_target *from, struct upstream_target *out);
/* upstream_target_free - frees what it points to, clears the password in memory and empties |t|. */
void upstream_target_free(struct upstream_target *t);
/* upstream_target_text - "10.0.0.1:3306" or "[::1]:3306" of the address, for messages; |out| of 64 bytes at least. Any
 * thread. */
void upstream_target_text(const struct upstream_target *t, char *out, size_t room);
/* upstream_error_set - fill |e| as printf does; a later call replaces an earlier one. |e| may be NULL. Returns |code|.
 */
int upstream_error_set(struct upstream_error *e, int code, unsigned mysql_errno, const char *fmt, ...)
    SLUICE_PRINTF(4, 5);

/* upstream_now_ms - the monotonic clock in milliseconds, the one that all deadlines here are of. Any thread. */
uint64_t upstream_now_ms(void);

/* connector_library_init - once, before any other thread; 0 or SLUICE_ERR_NOMEM. connector_library_end() undoes it at
 * the end. */
SLUICE_MUSTCHECK int connector_library_init(void);
void connector_library_end(void);
/* connector_thread_end - a thread that used connectors and is about to end must call it. */
void connector_thread_end(void);
/* connector_library_name - "MariaDB Connector/C 3.3.14" or "MySQL 9.7.0": which library was compiled and loaded. Any
 * thread. */
const char *connector_library_name(void);

/* connector_cancel_new - 0 or SLUICE_ERR_NOMEM, SLUICE_ERR_IO (no descriptor left). */
SLUICE_MUSTCHECK int connector_cancel_new(struct connector_cancel **out);
/* connector_cancel_fire - whatever is being done with it ends at once with SLUICE_ERR_CANCELED, and so does all later.
 * Any thread. */
void connector_cancel_fire(struct connector_cancel *cancel);
/* connector_cancel_del - once no connector uses it and no thread will fire it. NULL is nothing. */
void connector_cancel_del(struct connector_cancel *cancel);

/*
 * connector_open - connect, log in, with the character set utf8mb4.
 *
 * |deadline_ms| monotonic (upstream_now_ms()): holds for this call and all later ones until connector_set_deadline().
 * It is the total: a server that accepts and says nothing, drips a byte a second or freezes cannot stretch it. |cancel|
 * may be NULL; must outlive the connector. |error|       filled on failure; may be NULL.
 *
 * Returns 0, or with nothing to undo: SLUICE_ERR_UNREACHABLE (refused, reset, no route), SLUICE_ERR_TIMEOUT,
 * SLUICE_ERR_CANCELED, SLUICE_ERR_ACCESS_DENIED (account, password or TLS demanded by the server), SLUICE_ERR_PROTOCOL
 * (no MySQL server, or a certificate that does not hold), SLUICE_ERR_QUERY (any other error of the server's, for
 * example 1040), SLUICE_ERR_NOMEM. Ownership: |target| is only read. The connector is closed with connector_close().
 * Call from: a thread that may block, never a loop. Each connector is used by one thread at a time.
 */
SLUICE_MUSTCHECK int connector_open(const struct upstream_target *target, uint64_t deadline_ms,
                                    struct connector_cancel *cancel, struct connector **out,
                                    struct upstream_error *error);
/* connector_close - says good-bye if that costs no time; NULL is nothing. */
void connector_close(struct connector *c);
/* connector_set_deadline - a new total for all calls from now on. */
void connector_set_deadline(struct connector *c, uint64_t deadline_ms);
/* connector_deadline - the one in force. */
uint64_t connector_deadline(const struct connector *c);
/* connector_thread_id - the id that the server's greeting named. */
uint64_t connector_thread_id(const struct connector *c);
/* connector_server_version - as the greeting says it, for example "8.4.7" or "5.5.5-10.11.6-MariaDB". */
const char *connector_server_version(const struct connector *c);
/* connector_is_tls - non-zero when the connection is encrypted. */
int connector_is_tls(const struct connector *c);
/* connector_local_port - the local TCP port, 0 when unknown. */
uint16_t connector_local_port(const struct connector *c);
enum { CONNECTOR_END_LEN = 60 };
/* connector_local_end - the local address and port as MySQL writes them, "10.0.0.5:51334", "::1:51334"; "" when unknown. */
void connector_local_end(const struct connector *c, char out[CONNECTOR_END_LEN]);
/*
 * connector_pause - wait |ms|, or until the deadline or a cancel. Returns 0, SLUICE_ERR_TIMEOUT or SLUICE_ERR_CANCELED.
 * For run functions that poll a server.
 */
SLUICE_MUSTCHECK int connector_pause(struct connector *c, uint64_t ms, struct upstream_error *error);

/*
 * connector_query - one statement, its result read whole.
 *
 * |out|   NULL when the result is of no interest; else |*out| is the caller's (rows_del()), also for a statement
 * without result (no columns, no rows). |error| filled on failure; may be NULL.
 *
 * Returns 0 or SLUICE_ERR_QUERY (the server answered an error, the connection lives on; error->mysql_errno says which),
 * SLUICE_ERR_UNREACHABLE (connection lost), SLUICE_ERR_TIMEOUT, SLUICE_ERR_CANCELED, SLUICE_ERR_PROTOCOL (also: more
 * than CONNECTOR_RESULT_BYTES_MAX), SLUICE_ERR_NOMEM. After any but SLUICE_ERR_QUERY only connector_close() is of use.
 */
SLUICE_MUSTCHECK int connector_query(struct connector *c, const char *sql, struct rows **out,
                                     struct upstream_error *error);
/* connector_affected - rows that the last statement without result changed. */
uint64_t connector_affected(const struct connector *c);
/* connector_quote - |s| as an SQL string literal with its quotes; mem_free() it. NULL when memory ran out. Any thread.
 */
SLUICE_MUSTCHECK char *connector_quote(const char *s);

/* rows_count - how many rows. */
size_t rows_count(const struct rows *r);
/* rows_column - the column's index by its name (any case), -1 when there is none. */
int rows_column(const struct rows *r, const char *name);
/* rows_text - the cell as a C string valid until rows_del(); NULL for SQL NULL, a row past the end or |column| < 0. */
const char *rows_text(const struct rows *r, size_t row, int column);
/* rows_text_by_name - as rows_text() by the column's name. */
const char *rows_text_by_name(const struct rows *r, size_t row, const char *name);
/* rows_column_count, rows_column_name - the shape of the result; the name is valid until rows_del(). */
int rows_column_count(const struct rows *r);
const char *rows_column_name(const struct rows *r, int column);
/* rows_del - NULL is nothing. */
void rows_del(struct rows *r);
