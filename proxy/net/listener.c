/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "net/refusal.h"

enum {
    ACCEPTS_PER_TURN_MAX = 64, /* other sockets of the loop get their turn */
    BACKLOG = 4096,            /* the kernel cuts it at net.core.somaxconn */
    RETRY_MS = 50,             /* when the kernel refuses to accept and there is nothing to free */
};

struct listener {
    uv_poll_t poll;
    uv_timer_t retry; /* runs while accepting stands still because of the kernel */
    struct listener_config config;
    char *source_id;
    int fd;
    int reserve_fd; /* given up to accept and tell one client when there are no descriptors; -1: it could not be reopened */
    uint16_t port;
    bool is_paused;
    unsigned handles_open;
    struct listener_counters counters;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static bool is_closing(const struct listener *l)
{
    return l->fd < 0;
}

static void watch(struct listener *l)
{
    bool is_waiting = uv_is_active((uv_handle_t *)&l->retry) != 0;
    if (l->is_paused || is_waiting) {
        uv_poll_stop(&l->poll);
    } else {
        int rv = uv_poll_start(&l->poll, UV_READABLE, on_readable);
        assert(rv == 0);
    }
}

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_retry(uv_timer_t *timer)
{
    struct listener *l = timer->data;
    if (is_closing(l)) return;
    if (l->reserve_fd < 0) l->reserve_fd = open_reserve();
    watch(l);
}

static void rest(struct listener *l)
{
    uv_timer_start(&l->retry, on_retry, RETRY_MS, 0);
    watch(l);
}

/*
 * No descriptor is left. The client is in the backlog, and the socket stays readable: give up the reserve for it, tell it, and
 * take the reserve back. Returns false when nothing could be accepted.
 */
static bool accept_and_tell(struct listener *l)
{
    if (l->reserve_fd < 0) return false;
    close(l->reserve_fd);
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (l->counters.emfile_total++ == 0) {
            log_error("no file descriptor left, clients are turned away", LOG_STR("source", l->source_id),
                      LOG_STR("hint", "raise LimitNOFILE, or lower max-sessions"));
        }
        refusal_send_and_close(
            fd, 1040, l->source_id,
            "Too many connections: sluice has no file descriptor left; raise its LimitNOFILE or lower max-sessions");
    }
    l->reserve_fd = open_reserve();
    return fd >= 0;
}

/* One client. Returns false when this turn is over. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t peer_len = sizeof peer;
    int fd = accept4(l->fd, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->counters.accepted_total++;
        l->config.on_accept(l->config.arg, fd, (const struct sockaddr *)&peer, peer_len);
        return true;
    }
    switch (errno) {
    case EAGAIN: return false;
    case EMFILE:
    case ENFILE:
        if (accept_and_tell(l)) return true;
        rest(l); /* the client stays in the backlog and is told later */
        return false;
    case ENOBUFS:
    case ENOMEM:
        l->counters.failures_total++;
        log_warn("a client cannot be accepted now", LOG_STR("source", l->source_id), LOG_STR("error", strerror(errno)));
        rest(l);
        return false;
    default: /* ECONNABORTED, EINTR, and network errors of a client that has gone (accept(2)) */
        l->counters.failures_total++;
        return true;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN_MAX && !is_closing(l) && !l->is_paused; i++) {
        if (!accept_one(l)) return;
    }
}

static int fail(const struct listener_config *config, struct text *out_error, const char *what, const char *reason,
                int code)
{
    if (out_error != NULL) {
        text_printf(out_error, "listen on %s port %u: %s: %s", config->host, config->port, what, reason);
    }
    return code;
}

static int code_for(int sys_errno)
{
    switch (sys_errno) {
    case EADDRINUSE: return SLUICE_ERR_BUSY;
    case EADDRNOTAVAIL:
    case EACCES: return SLUICE_ERR_CONFIG;
    default: return SLUICE_ERR_IO;
    }
}

static int bind_and_listen(struct listener *l, const struct addrinfo *address, struct text *out_error)
{
    static const int on = 1, off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(&l->config, out_error, "socket", strerror(errno), SLUICE_ERR_IO);
    const char *what = "bind";
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    int failed = bind(fd, address->ai_addr, address->ai_addrlen);
    if (failed == 0) {
        what = "listen";
        failed = listen(fd, BACKLOG);
    }
    if (failed != 0) {
        int code = code_for(errno);
        fail(&l->config, out_error, what, strerror(errno), code);
        close(fd);
        return code;
    }
    l->fd = fd;
    return 0;
}

static int open_socket(struct listener *l, struct text *out_error)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *addresses = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", l->config.port);
    int rv = getaddrinfo(l->config.host, port, &hints, &addresses);
    if (rv != 0) return fail(&l->config, out_error, "resolve", gai_strerror(rv), SLUICE_ERR_CONFIG);
    rv = bind_and_listen(l, addresses, out_error);
    freeaddrinfo(addresses);
    if (rv != 0) return rv;
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof bound;
    if (getsockname(l->fd, (struct sockaddr *)&bound, &len) != 0) return SLUICE_ERR_IO;
    l->port = ntohs(bound.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&bound)->sin6_port
                                                : ((const struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

static int start(struct listener *l, struct text *out_error)
{
    int rv = open_socket(l, out_error);
    if (rv != 0) return rv;
    l->reserve_fd = open_reserve();
    if (l->reserve_fd < 0) return fail(&l->config, out_error, "reserve descriptor", strerror(errno), SLUICE_ERR_IO);
    if (uv_poll_init_socket(l->config.loop, &l->poll, l->fd) != 0) {
        return fail(&l->config, out_error, "poll", "the loop takes no more", SLUICE_ERR_IO);
    }
    l->poll.data = l;
    uv_timer_init(l->config.loop, &l->retry);
    l->retry.data = l;
    l->handles_open = 2;
    watch(l);
    return 0;
}

static void release(struct listener *l)
{
    if (l->fd >= 0) close(l->fd);
    if (l->reserve_fd >= 0) close(l->reserve_fd);
    mem_free(l->source_id);
    mem_free(l);
}

int listener_new(const struct listener_config *config, struct listener **out, struct text *out_error)
{
    assert(config->on_accept != NULL && config->host != NULL);
    struct listener *l = mem_calloc(1, sizeof *l);
    if (l == NULL) return SLUICE_ERR_NOMEM;
    l->config = *config;
    l->fd = l->reserve_fd = -1;
    l->source_id = mem_strdup(config->source_id);
    int rv = l->source_id == NULL ? SLUICE_ERR_NOMEM : start(l, out_error);
    if (rv != 0) {
        release(l);
        return rv;
    }
    l->config.host = NULL; /* the caller's, and not needed any more */
    l->config.source_id = l->source_id;
    *out = l;
    return 0;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

void listener_pause(struct listener *l)
{
    l->is_paused = true;
    watch(l);
}

void listener_resume(struct listener *l)
{
    l->is_paused = false;
    watch(l);
}

const struct listener_counters *listener_counters(const struct listener *l)
{
    return &l->counters;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    assert(l->handles_open > 0);
    if (--l->handles_open > 0) return;
    void (*on_closed)(void *arg) = l->on_closed;
    void *arg = l->closed_arg;
    release(l);
    if (on_closed != NULL) on_closed(arg);
}

void listener_close(struct listener *l, void (*on_closed)(void *arg), void *arg)
{
    assert(!is_closing(l));
    l->on_closed = on_closed;
    l->closed_arg = arg;
    uv_close((uv_handle_t *)&l->poll, on_handle_closed);
    uv_close((uv_handle_t *)&l->retry, on_handle_closed);
    close(l->fd);
    l->fd = -1;
}
