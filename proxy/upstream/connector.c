/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that differs between MariaDB's libmariadb and Oracle's libmysqlclient is here, in the part "two libraries".
 *
 * A client library's own time-outs are per read: a server that drips a byte a second is never too slow for them. So whoever
 * waits for a socket is us: wait_for() keeps the total deadline and hears a cancel. MariaDB's library asks us by its option
 * MARIADB_OPT_IO_WAIT, Oracle's by its non-blocking calls. A server that never lets us wait (an endless flood) is ended from
 * another thread, by shutdown(2) on a duplicate of the descriptor: connector_cancel_fire().
 */
#include "upstream/connector.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mysql.h>
#include <errmsg.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/proxy_header.h"
#include "upstream/rows.h"

enum {
    LIBRARY_TIMEOUT_S = 3600,           /* the library's own, which must only not be shorter than ours */
    PACKET_BYTES_MAX = 64 * 1024 * 1024 /* a gtid_executed in many pieces is the longest answer */
};

static const char no_tls_text[] = "the server offers no TLS, and account.tls asks for it";

struct connector_cancel {
    int event;         /* readable once fired */
    atomic_bool fired; /* never reset */
    pthread_mutex_t lock;
    int socket; /* a duplicate of the connection's, -1 while there is none; guarded by |lock| */
};

struct connector {
    MYSQL mysql;
    const struct upstream_target *target; /* inside connector_open() only */
    char where[64];                       /* "10.0.0.1:3306" */
    uint64_t deadline_ms;
    struct connector_cancel *cancel; /* may be NULL */
    int end;         /* why we ended it: SLUICE_ERR_TIMEOUT, _CANCELED, _PROTOCOL (no TLS), _WRONG_SERVER; else 0 */
    bool is_adopted; /* the socket is known to us */
    bool is_broken;
    uint8_t proxy_header[PROXY_HEADER_WRITTEN_LEN_MAX];
    size_t proxy_header_len; /* what goes first; 0: nothing, or it has gone */
    int connect_errno;       /* how connect(2) failed; 0: not known to have failed */
#ifdef MARIADB_PACKAGE_VERSION
    bool is_connected; /* connect(2) has succeeded */
    bool is_greeted;   /* the greeting's capabilities were read; see check_greeting() */
    size_t greeting_len;
    unsigned char greeting[256];
#endif
};

/* ---- cancel ---- */

int connector_cancel_new(struct connector_cancel **out)
{
    struct connector_cancel *cancel = mem_calloc(1, sizeof *cancel);
    if (cancel == NULL) return SLUICE_ERR_NOMEM;
    cancel->socket = -1;
    cancel->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->event < 0) {
        mem_free(cancel);
        return SLUICE_ERR_IO;
    }
    pthread_mutex_init(&cancel->lock, NULL);
    *out = cancel;
    return 0;
}

void connector_cancel_fire(struct connector_cancel *cancel)
{
    atomic_store(&cancel->fired, true);
    ssize_t written = write(cancel->event, &(uint64_t){ 1 }, sizeof(uint64_t));
    (void)written; /* full means readable already */
    pthread_mutex_lock(&cancel->lock);
    if (cancel->socket >= 0) shutdown(cancel->socket, SHUT_RDWR);
    pthread_mutex_unlock(&cancel->lock);
}

void connector_cancel_del(struct connector_cancel *cancel)
{
    if (cancel == NULL) return;
    if (cancel->socket >= 0) close(cancel->socket);
    pthread_mutex_destroy(&cancel->lock);
    close(cancel->event);
    mem_free(cancel);
}

static void cancel_set_socket(struct connector_cancel *cancel, int fd)
{
    int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_lock(&cancel->lock);
    if (cancel->socket >= 0) close(cancel->socket);
    cancel->socket = copy;
    pthread_mutex_unlock(&cancel->lock);
}

/* ---- waiting ---- */

/* Has the connection's time ended? Sets |c->end| then. */
static bool is_over(struct connector *c)
{
    if (c->end == 0 && upstream_now_ms() >= c->deadline_ms) c->end = SLUICE_ERR_TIMEOUT;
    if (c->end == 0 && c->cancel != NULL && atomic_load(&c->cancel->fired)) c->end = SLUICE_ERR_CANCELED;
    return c->end != 0;
}

/* Wait for |fd| (or -1) no longer than |slice_ms|: 1 ready, 0 the slice is over, -1 the connection's time is. */
static int wait_for(struct connector *c, int fd, short events, uint64_t slice_ms)
{
    uint64_t slice_end_ms = upstream_now_ms() + slice_ms;
    while (!is_over(c)) {
        uint64_t now_ms = upstream_now_ms();
        uint64_t end_ms = slice_end_ms < c->deadline_ms ? slice_end_ms : c->deadline_ms;
        if (now_ms >= slice_end_ms) return 0;
        struct pollfd fds[] = { { .fd = fd, .events = events },
                                { .fd = c->cancel == NULL ? -1 : c->cancel->event, .events = POLLIN } };
        int timeout_ms = now_ms >= end_ms ? 0 : end_ms - now_ms > 60000 ? 60000 : (int)(end_ms - now_ms);
        int ready = poll(fds, 2, timeout_ms);
        if (ready > 0 && fds[1].revents == 0) return 1;
    }
    return -1;
}

/* The socket as the library made it: hand a duplicate to the cancel, and see to it that nobody can block in it. */
static void adopt_socket(struct connector *c, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (c->is_adopted) return;
    c->is_adopted = true;
    if (c->cancel != NULL) cancel_set_socket(c->cancel, fd);
}

/*
 * Our PROXY header, once. Oracle's library knows of none, and MariaDB's would send it behind the greeting, which a server that demands
 * one does not send without it: so there is time while the library waits for the greeting. Until the socket is connected it takes
 * nothing; then it takes so little whole.
 */
static void send_proxy_header(struct connector *c, int fd)
{
    if (c->proxy_header_len == 0) return;
    ssize_t n = send(fd, c->proxy_header, c->proxy_header_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) c->proxy_header_len = 0;
}

/* ---- two libraries ---- */

#ifdef MARIADB_PACKAGE_VERSION

typedef my_bool library_bool;
/* The connection that this thread is in a call of: the library's hook gets no argument of ours. */
static _Thread_local struct connector *waiting;

/*
 * The library sets |mysql->host| to what it connected to, an address, before the TLS handshake, and compares the certificate with it
 * after. What the certificate must carry is the configured name. (Should it not have been put in place, verification by the address
 * fails: never the other way round.) The string is the library's, from the C library's heap, and freed by it.
 */
static void put_name_to_verify(struct connector *c)
{
    if (c->target == NULL || c->target->tls != CONFIG_TLS_VERIFY_NAME || c->mysql.host == NULL) return;
    if (strcmp(c->mysql.host, c->target->host) == 0) return;
    char *name = strdup(c->target->host);
    if (name == NULL) return;
    free(c->mysql.host);
    c->mysql.host = name;
}

static int library_wait(my_socket fd, my_bool is_read, int timeout)
{
    struct connector *c = waiting;
    (void)timeout;
    assert(c != NULL);
    adopt_socket(c, fd);
    put_name_to_verify(c);
    if (is_read) send_proxy_header(c, fd);
    int ready = wait_for(c, fd, is_read ? POLLIN : POLLOUT, UINT32_MAX);
    if (ready <= 0) errno = ETIMEDOUT;
    if (ready <= 0 || is_read || c->is_connected) return ready;
    /* The end of connect(2). The library would say "115", EINPROGRESS, of every failure: it does not look at the socket's own error. */
    socklen_t len = sizeof c->connect_errno;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &c->connect_errno, &len) != 0) c->connect_errno = errno;
    c->is_connected = c->connect_errno == 0;
    errno = c->connect_errno;
    return c->is_connected ? ready : -1;
}

static int library_fd(struct connector *c)
{
    return (int)mysql_get_socket(&c->mysql);
}

/*
 * Left to itself the library falls back to plain text, and hands the password to whatever RSA key it is given, where the greeting does
 * not offer TLS. So the greeting's capabilities are read before the library reads them (Protocol::HandshakeV10: header, 10,
 * version, NUL, thread id, 8 bytes, NUL, flags).
 */
static void check_greeting(struct connector *c, const unsigned char *bytes, size_t len)
{
    enum { HEADER = 4, BETWEEN = 1 + 4 + 8 + 1, CLIENT_SSL_HIGH_BYTE = 0x08 };
    if (c->target == NULL || c->target->tls == CONFIG_TLS_OFF || c->is_greeted) return;
    size_t room = sizeof c->greeting - c->greeting_len;
    if (len > room) len = room;
    memcpy(c->greeting + c->greeting_len, bytes, len);
    c->greeting_len += len;
    if (c->greeting_len <= HEADER + 1) return;
    if (c->greeting[HEADER] == 0xff) { /* an error packet: nothing will be sent to it */
        c->is_greeted = true;
        return;
    }
    const unsigned char *end = memchr(c->greeting + HEADER + 1, '\0', c->greeting_len - HEADER - 1);
    size_t flags = end == NULL ? 0 : (size_t)(end - c->greeting) + BETWEEN;
    bool is_full = c->greeting_len == sizeof c->greeting;
    if (!is_full && (end == NULL || c->greeting_len < flags + 2)) return;
    c->is_greeted = true;
    bool offers_tls =
        end != NULL && c->greeting_len >= flags + 2 && (c->greeting[flags + 1] & CLIENT_SSL_HIGH_BYTE) != 0;
    if (!offers_tls && c->end == 0) c->end = SLUICE_ERR_PROTOCOL;
}

/*
 * After every read and write of the library. It makes the socket blocking again once connected, and its TLS handshake then blocks
 * without asking library_wait(): so non-blocking mode is restored as soon as the greeting has been read. A server that sends
 * without pause never makes the library wait: its time ends here.
 */
static void library_has_moved(int is_write, MYSQL *mysql, const unsigned char *bytes, size_t len)
{
    struct connector *c = waiting;
    (void)mysql;
    if (c == NULL || library_fd(c) < 0) return;
    adopt_socket(c, library_fd(c));
    put_name_to_verify(c);
    if (!is_write && len <= SSIZE_MAX) check_greeting(c, bytes, len); /* a failed read has length -1 */
    if (is_over(c)) shutdown(library_fd(c), SHUT_RDWR);
}

/* Exported by the library, declared in a header of its own that a program cannot include. */
int STDCALL ma_pvio_register_callback(my_bool is_new, void (*callback)(int, MYSQL *, const unsigned char *, size_t));

/* Once in a process: the library forgets to move its list's head when a callback is taken out. */
static int library_init(void)
{
    static bool is_done;
    if (is_done) return 0;
    is_done = true;
    return ma_pvio_register_callback(1, library_has_moved);
}

/*
 * TLS and the server's RSA key. This library asks for the key whenever there is no TLS (its option for a key file is of no use: it
 * does not read the file, and leaks its name); where TLS is asked for, library_has_moved() sees to it that there is TLS.
 */
static void library_set_tls(struct connector *c, const struct upstream_target *t)
{
    library_bool enforce = t->tls != CONFIG_TLS_OFF;
    library_bool verify = t->tls == CONFIG_TLS_VERIFY_NAME;
    mysql_options(&c->mysql, MYSQL_OPT_SSL_ENFORCE, &enforce);
    mysql_options(&c->mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (t->tls != CONFIG_TLS_VERIFY_CA && t->tls != CONFIG_TLS_VERIFY_NAME) return;
    mysql_options(&c->mysql, MYSQL_OPT_SSL_CA, t->tls_ca);
}

static void library_set_options(struct connector *c)
{
    size_t packet_bytes_max = PACKET_BYTES_MAX;
    mysql_options(&c->mysql, MARIADB_OPT_IO_WAIT, (void *)library_wait);
    mysql_options(&c->mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet_bytes_max);
    /* Not: mysql_clear_password, dialog and what else hands the password over. */
    mysql_options(&c->mysql, MARIADB_OPT_RESTRICTED_AUTH, "caching_sha2_password,mysql_native_password,client_ed25519");
}

static bool library_connect(struct connector *c, const char *ip, unsigned port)
{
    waiting = c;
    MYSQL *done = mysql_real_connect(&c->mysql, ip, c->target->user, c->target->password, NULL, port, NULL, 0);
    waiting = NULL;
    return done != NULL;
}

static bool library_query(struct connector *c, const char *sql)
{
    waiting = c;
    int failed = mysql_real_query(&c->mysql, sql, (unsigned long)strlen(sql));
    waiting = NULL;
    return failed == 0;
}

static MYSQL_ROW library_fetch_row(struct connector *c, MYSQL_RES *result)
{
    waiting = c;
    MYSQL_ROW row = mysql_fetch_row(result);
    waiting = NULL;
    return row;
}

static void library_free_result(struct connector *c, MYSQL_RES *result)
{
    waiting = c;
    mysql_free_result(result);
    waiting = NULL;
}

static void library_close(struct connector *c)
{
    waiting = c;
    mysql_close(&c->mysql);
    waiting = NULL;
}

const char *connector_library_name(void)
{
    static const char prefix[] = "MariaDB Connector/C ";
    static char name[sizeof prefix + 32];
    if (name[0] == '\0') snprintf(name, sizeof name, "%s%s", prefix, mysql_get_client_info());
    return name;
}

#else /* Oracle's */

typedef bool library_bool;

static int library_init(void)
{
    return 0;
}

/* Before the connection is complete the library shows no descriptor, and 0 in its field. */
static int library_fd(struct connector *c)
{
    return c->mysql.net.vio == NULL || c->mysql.net.fd <= 0 ? -1 : (int)c->mysql.net.fd;
}

static bool is_connected_to(struct connector *c, const char *ip)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    char text[INET6_ADDRSTRLEN] = "";
    if (getpeername(library_fd(c), (struct sockaddr *)&peer, &len) != 0) return false;
    if (peer.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, sizeof text);
    } else {
        inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, sizeof text);
    }
    return strcmp(text, ip) == 0;
}

static void library_set_tls(struct connector *c, const struct upstream_target *t)
{
    static const unsigned modes[] = { [CONFIG_TLS_OFF] = SSL_MODE_DISABLED,
                                      [CONFIG_TLS_INSECURE] = SSL_MODE_REQUIRED,
                                      [CONFIG_TLS_VERIFY_CA] = SSL_MODE_VERIFY_CA,
                                      [CONFIG_TLS_VERIFY_NAME] = SSL_MODE_VERIFY_IDENTITY };
    unsigned mode = modes[t->tls];
    library_bool get_key = t->tls == CONFIG_TLS_OFF; /* else the password goes through TLS and no key is needed */
    mysql_options(&c->mysql, MYSQL_OPT_SSL_MODE, &mode);
    mysql_options(&c->mysql, MYSQL_OPT_GET_SERVER_PUBLIC_KEY, &get_key);
    if (t->tls == CONFIG_TLS_VERIFY_CA || t->tls == CONFIG_TLS_VERIFY_NAME) {
        mysql_options(&c->mysql, MYSQL_OPT_SSL_CA, t->tls_ca);
    }
}

static void library_set_options(struct connector *c)
{
    unsigned long packet_bytes_max = PACKET_BYTES_MAX;
    library_bool no = false;
    mysql_options(&c->mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet_bytes_max);
    mysql_options(&c->mysql, MYSQL_ENABLE_CLEARTEXT_PLUGIN, &no);
}

/* One turn of waiting. The library does not say for what it waits: mostly to read; the rest is found by short slices. */
static bool library_may_go_on(struct connector *c)
{
    int fd = library_fd(c);
    if (fd < 0) return wait_for(c, -1, 0, 1) >= 0;
    adopt_socket(c, fd);
    send_proxy_header(c, fd);
    return wait_for(c, fd, POLLIN, 5) >= 0;
}

/*
 * The library compares the certificate with the host that it was given to connect to, and leaves no moment to put another in its place.
 * So with verify-name it gets the name, resolves it once more, and what it reached must be the address that was asked for. (Its
 * resolving is the one thing here that no deadline ends.)
 */
static bool library_connect(struct connector *c, const char *ip, unsigned port)
{
    const struct upstream_target *t = c->target;
    const char *host = t->tls == CONFIG_TLS_VERIFY_NAME ? t->host : ip;
    enum net_async_status status;
    do {
        status = mysql_real_connect_nonblocking(&c->mysql, host, t->user, t->password, NULL, port, NULL, 0);
    } while (status == NET_ASYNC_NOT_READY && library_may_go_on(c));
    if (status != NET_ASYNC_COMPLETE) return false;
    if (!is_connected_to(c, ip)) c->end = SLUICE_ERR_WRONG_SERVER;
    return c->end == 0;
}

static bool library_query(struct connector *c, const char *sql)
{
    for (;;) {
        enum net_async_status status = mysql_real_query_nonblocking(&c->mysql, sql, (unsigned long)strlen(sql));
        if (status == NET_ASYNC_COMPLETE) return true;
        if (status != NET_ASYNC_NOT_READY || !library_may_go_on(c)) return false;
    }
}

static MYSQL_ROW library_fetch_row(struct connector *c, MYSQL_RES *result)
{
    MYSQL_ROW row = NULL;
    for (;;) {
        enum net_async_status status = mysql_fetch_row_nonblocking(result, &row);
        if (status == NET_ASYNC_COMPLETE) return row;
        if (status != NET_ASYNC_NOT_READY || !library_may_go_on(c)) return NULL;
    }
}

static void library_free_result(struct connector *c, MYSQL_RES *result)
{
    if ((c->end != 0 || c->is_broken) && library_fd(c) >= 0) {
        shutdown(library_fd(c), SHUT_RDWR); /* what is left is not waited for */
    }
    while (mysql_free_result_nonblocking(result) == NET_ASYNC_NOT_READY) {
        if (!library_may_go_on(c)) shutdown(library_fd(c), SHUT_RDWR);
    }
}

static void library_close(struct connector *c)
{
    if ((c->end != 0 || c->is_broken) && library_fd(c) >= 0) shutdown(library_fd(c), SHUT_RDWR);
    mysql_close(&c->mysql);
}

const char *connector_library_name(void)
{
    static const char prefix[] = "MySQL ";
    static char name[sizeof prefix + 32];
    if (name[0] == '\0') snprintf(name, sizeof name, "%s%s", prefix, mysql_get_client_info());
    return name;
}

#endif

/* ---- common ---- */

int connector_library_init(void)
{
    if (mysql_library_init(0, NULL, NULL) != 0) return SLUICE_ERR_NOMEM;
    if (library_init() != 0) {
        mysql_library_end();
        return SLUICE_ERR_NOMEM;
    }
    (void)connector_library_name(); /* filled before other threads ask */
    return 0;
}

void connector_library_end(void)
{
    mysql_library_end();
}

void connector_thread_end(void)
{
    mysql_thread_end();
}

/* What an error number of the server or the library means to us. */
static int code_of(unsigned number)
{
    switch (number) {
    case 1044: /* ER_DBACCESS_DENIED_ERROR */
    case 1045: /* ER_ACCESS_DENIED_ERROR */
    case 1130: /* ER_HOST_NOT_PRIVILEGED */
    case 1251: /* ER_NOT_SUPPORTED_AUTH_MODE */
    case 1698: /* ER_ACCESS_DENIED_NO_PASSWORD_ERROR */
    case 1820: /* ER_MUST_CHANGE_PASSWORD */
    case 1862: /* ER_MUST_CHANGE_PASSWORD_LOGIN */
    case 3118: /* ER_ACCOUNT_HAS_BEEN_LOCKED */
    case 3159: /* ER_SECURE_TRANSPORT_REQUIRED */
    case 2049: /* CR_SECURE_AUTH */
    case 2059: /* CR_AUTH_PLUGIN_CANNOT_LOAD */
    case 2061: /* CR_AUTH_PLUGIN_ERR */ return SLUICE_ERR_ACCESS_DENIED;
    case 2008: /* CR_OUT_OF_MEMORY */ return SLUICE_ERR_NOMEM;
    case 2007: /* CR_VERSION_ERROR */
    case 2012: /* CR_SERVER_HANDSHAKE_ERR */
    case 2014: /* CR_COMMANDS_OUT_OF_SYNC */
    case 2020: /* CR_NET_PACKET_TOO_LARGE */
    case 2026: /* CR_SSL_CONNECTION_ERROR */
    case 2027: /* CR_MALFORMED_PACKET */ return SLUICE_ERR_PROTOCOL;
    case 0: return SLUICE_ERR_PROTOCOL; /* failed, and the library does not say why */
    default: return number >= 2000 && number < 3000 ? SLUICE_ERR_UNREACHABLE : SLUICE_ERR_QUERY;
    }
}

/* Never the words by which DM judges (design, promise 5): held clients are told of this too. */
static const char *connect_text(int sys_errno)
{
    return sys_errno == ECONNREFUSED ? "nobody listens there" : strerror(sys_errno);
}

static const char *end_text(int end)
{
    if (end == SLUICE_ERR_TIMEOUT) return "no answer within the time allowed";
    if (end == SLUICE_ERR_WRONG_SERVER) return "its name leads to another address";
    return end == SLUICE_ERR_CANCELED ? "canceled" : no_tls_text;
}

/* The failure that the library has just reported, or the end of our patience that made it fail. */
static int fail(struct connector *c, const char *doing, struct upstream_error *error)
{
    unsigned number = mysql_errno(&c->mysql);
    if (is_over(c)) {
        c->is_broken = true;
        return upstream_error_set(error, c->end, 0, "%s: %s: %s", c->where, doing, end_text(c->end));
    }
    if (c->connect_errno != 0) {
        c->is_broken = true;
        return upstream_error_set(error, SLUICE_ERR_UNREACHABLE, number, "%s: cannot connect: %s", c->where,
                                  connect_text(c->connect_errno));
    }
    int code = code_of(number);
    if (code != SLUICE_ERR_QUERY) c->is_broken = true;
    return upstream_error_set(error, code, number, "%s: %s: error %u: %s", c->where, doing, number,
                              mysql_error(&c->mysql));
}

static int check_target(const struct upstream_target *t, struct upstream_error *error)
{
    if (t->addr.ss_family != AF_INET && t->addr.ss_family != AF_INET6) {
        return upstream_error_set(error, SLUICE_ERR_UNREACHABLE, 0, "%s: the name has no address yet",
                                  t->host == NULL ? "?" : t->host);
    }
    if ((t->tls == CONFIG_TLS_VERIFY_CA || t->tls == CONFIG_TLS_VERIFY_NAME) && t->tls_ca == NULL) {
        return upstream_error_set(error, SLUICE_ERR_INVALID, 0, "a CA is needed to verify a certificate");
    }
    if (t->tls == CONFIG_TLS_VERIFY_NAME && t->host == NULL) {
        return upstream_error_set(error, SLUICE_ERR_INVALID, 0, "a name is needed to verify a certificate by name");
    }
    return 0;
}

static void set_options(struct connector *c, const struct upstream_target *t)
{
    unsigned timeout_s = LIBRARY_TIMEOUT_S;
    unsigned protocol = MYSQL_PROTOCOL_TCP;
    unsigned no = 0;
    library_set_tls(c, t);
    library_set_options(c);
    mysql_options(&c->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s);
    mysql_options(&c->mysql, MYSQL_OPT_READ_TIMEOUT, &timeout_s);
    mysql_options(&c->mysql, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s);
    mysql_options(&c->mysql, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_options(&c->mysql, MYSQL_OPT_LOCAL_INFILE, &no); /* a server may not ask us for files */
    mysql_options(&c->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options4(&c->mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "sluice");
    if (t->bind != NULL) mysql_options(&c->mysql, MYSQL_OPT_BIND, t->bind);
}

static unsigned address_of(const struct upstream_target *t, char *ip, socklen_t room)
{
    if (t->addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&t->addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, room);
        return ntohs(in6->sin6_port);
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)&t->addr;
    inet_ntop(AF_INET, &in->sin_addr, ip, room);
    return ntohs(in->sin_port);
}

static int connect_and_check(struct connector *c, struct upstream_error *error)
{
    char ip[INET6_ADDRSTRLEN];
    unsigned port = address_of(c->target, ip, sizeof ip);
    if (is_over(c)) return fail(c, "connect", error);
    if (!library_connect(c, ip, port)) return fail(c, "connect", error);
    adopt_socket(c, library_fd(c));
    if (c->target->tls != CONFIG_TLS_OFF && !connector_is_tls(c)) {
        c->is_broken = true;
        return upstream_error_set(error, SLUICE_ERR_PROTOCOL, 0, "%s: %s", c->where, no_tls_text);
    }
    return 0;
}

int connector_open(const struct upstream_target *target, uint64_t deadline_ms, struct connector_cancel *cancel,
                   struct connector **out, struct upstream_error *error)
{
    int rv = check_target(target, error);
    if (rv != 0) return rv;
    struct connector *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    upstream_target_text(target, c->where, sizeof c->where);
    c->deadline_ms = deadline_ms;
    c->cancel = cancel;
    c->target = target;
    if (mysql_init(&c->mysql) == NULL) {
        mem_free(c);
        return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    }
    if (target->proxy_version != 0) {
        static const struct network_address nobody = { .family = NETWORK_NONE };
        c->proxy_header_len = proxy_header_write(target->proxy_version, &nobody, &nobody, c->proxy_header);
    }
    set_options(c, target);
    rv = connect_and_check(c, error);
    c->target = NULL;
    if (rv != 0) {
        connector_close(c);
        return rv;
    }
    *out = c;
    return 0;
}

void connector_close(struct connector *c)
{
    if (c == NULL) return;
    library_close(c);
    if (c->cancel != NULL) cancel_set_socket(c->cancel, -1);
    mem_free(c);
}

void connector_set_deadline(struct connector *c, uint64_t deadline_ms)
{
    c->deadline_ms = deadline_ms;
}

uint64_t connector_deadline(const struct connector *c)
{
    return c->deadline_ms;
}

uint64_t connector_thread_id(const struct connector *c)
{
    return c->mysql.thread_id;
}

const char *connector_server_version(const struct connector *c)
{
    return c->mysql.server_version == NULL ? "" : c->mysql.server_version;
}

int connector_is_tls(const struct connector *c)
{
    struct connector *mutable_c = (struct connector *)(uintptr_t)c; /* Oracle's prototype lacks const */
    return mysql_get_ssl_cipher(&mutable_c->mysql) != NULL;
}

static void local_address(const struct connector *c, struct sockaddr_storage *out)
{
    socklen_t len = sizeof *out;
    struct connector *mutable_c = (struct connector *)(uintptr_t)c;
    if (getsockname(library_fd(mutable_c), (struct sockaddr *)out, &len) != 0) out->ss_family = AF_UNSPEC;
}

uint16_t connector_local_port(const struct connector *c)
{
    struct sockaddr_storage local;
    local_address(c, &local);
    if (local.ss_family == AF_UNSPEC) return 0;
    if (local.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&local)->sin6_port);
    return ntohs(((struct sockaddr_in *)&local)->sin_port);
}

void connector_local_end(const struct connector *c, char out[CONNECTOR_END_LEN])
{
    struct sockaddr_storage local;
    char ip[INET6_ADDRSTRLEN];
    local_address(c, &local);
    const void *bytes = local.ss_family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)&local)->sin6_addr
                                                    : (const void *)&((struct sockaddr_in *)&local)->sin_addr;
    out[0] = '\0';
    if (local.ss_family == AF_UNSPEC || inet_ntop(local.ss_family, bytes, ip, sizeof ip) == NULL) return;
    snprintf(out, CONNECTOR_END_LEN, "%s:%u", ip, connector_local_port(c));
}

int connector_pause(struct connector *c, uint64_t ms, struct upstream_error *error)
{
    return wait_for(c, -1, 0, ms) == 0 ? 0 : fail(c, "wait", error);
}

static int read_names(MYSQL_RES *result, struct rows *rows)
{
    MYSQL_FIELD *fields = mysql_fetch_fields(result);
    unsigned count = mysql_num_fields(result);
    for (unsigned i = 0; i < count; i++) {
        int rv = rows_set_name(rows, i, fields[i].name);
        if (rv != 0) return rv;
    }
    return 0;
}

static int read_rows(struct connector *c, MYSQL_RES *result, struct rows *rows, struct upstream_error *error)
{
    int rv = read_names(result, rows);
    while (rv == 0) {
        MYSQL_ROW row = library_fetch_row(c, result);
        if (row == NULL) break;
        rv = is_over(c) ? c->end : rows_add(rows, row, mysql_fetch_lengths(result));
    }
    if (rv == 0 && mysql_errno(&c->mysql) == 0 && c->end == 0) return 0;
    if (rv == 0 || c->end != 0) return fail(c, "result", error);
    c->is_broken = true; /* the rest of the result is still on the wire */
    shutdown(library_fd(c), SHUT_RDWR);
    return upstream_error_set(error, rv, 0, "%s: result: %s", c->where,
                              rv == SLUICE_ERR_NOMEM ? "memory ran out" : "longer than any answer may be");
}

static int read_result(struct connector *c, struct rows **out, struct upstream_error *error)
{
    MYSQL_RES *result = mysql_use_result(&c->mysql);
    if (result == NULL && mysql_field_count(&c->mysql) != 0) return fail(c, "result", error);
    struct rows *rows = rows_new(result == NULL ? 0 : mysql_num_fields(result));
    int rv = rows == NULL ? upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out") : 0;
    if (rv == 0 && result != NULL) rv = read_rows(c, result, rows, error);
    if (result != NULL) library_free_result(c, result);
    if (rv == 0 && out != NULL) {
        *out = rows;
    } else {
        rows_del(rows);
    }
    return rv;
}

int connector_query(struct connector *c, const char *sql, struct rows **out, struct upstream_error *error)
{
    if (is_over(c)) return fail(c, "query", error);
    if (c->is_broken) {
        return upstream_error_set(error, SLUICE_ERR_UNREACHABLE, 0, "%s: the connection is lost", c->where);
    }
    if (!library_query(c, sql)) return fail(c, "query", error);
    return read_result(c, out, error);
}

uint64_t connector_affected(const struct connector *c)
{
    struct connector *mutable_c = (struct connector *)(uintptr_t)c;
    return mysql_affected_rows(&mutable_c->mysql);
}

char *connector_quote(const char *s)
{
    size_t len = strlen(s);
    char *quoted = mem_alloc(len * 2 + 3);
    if (quoted == NULL) return NULL;
    char *p = quoted;
    *p++ = '\'';
    for (; *s != '\0'; s++) {
        if (*s == '\'') {
            *p++ = '\'';
        } else if (*s == '\\') {
            *p++ = '\\';
        }
        *p++ = *s;
    }
    *p++ = '\'';
    *p = '\0';
    return quoted;
}
