/* SPDX-License-Identifier: Apache-2.0 */
#include "net/stream.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>
#include "core/error.h"

/*
 * A dead peer is noticed within 30 + 3 x 10 s, below DM's 60 s read time-out. TCP_USER_TIMEOUT is left alone: Linux also
 * applies it to a peer that is alive and keeps its window closed, and a slow binlog reader may do so for minutes.
 */
enum { KEEPALIVE_IDLE_S = 30, KEEPALIVE_INTERVAL_S = 10, KEEPALIVE_COUNT = 3 };
enum { TOLD_DROP_BYTES_MAX = 65536 }; /* read and dropped from a peer that was told something, before the close */

static ssize_t plain_read(struct stream *st, void *buf, size_t room)
{
    for (;;) {
        ssize_t n = recv(st->fd, buf, room, 0);
        if (n >= 0) return n;
        if (errno == EINTR) continue;
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
}

static ssize_t plain_write(struct stream *st, const void *buf, size_t len)
{
    for (;;) {
        ssize_t n = send(st->fd, buf, len, MSG_NOSIGNAL);
        if (n >= 0) return n;
        if (errno == EINTR) continue;
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
}

static int plain_shutdown(struct stream *st)
{
    return shutdown(st->fd, SHUT_WR) == 0 ? 0 : -errno;
}

static void plain_close(struct stream *st)
{
    assert(st->layer == NULL);
}

static unsigned plain_wants(const struct stream *st, unsigned events)
{
    (void)st;
    return events;
}

const struct stream_ops stream_plain_ops = {
    .read = plain_read,
    .write = plain_write,
    .shutdown = plain_shutdown,
    .close = plain_close,
    .wants = plain_wants,
};

static unsigned from_uv(int uv_events)
{
    unsigned events = 0;
    if ((uv_events & UV_READABLE) != 0) events |= STREAM_READ;
    if ((uv_events & UV_WRITABLE) != 0) events |= STREAM_WRITE;
    if ((uv_events & UV_DISCONNECT) != 0) events |= STREAM_HANGUP;
    return events;
}

static int to_uv(unsigned events)
{
    int uv_events = 0;
    if ((events & STREAM_READ) != 0) uv_events |= UV_READABLE;
    if ((events & STREAM_WRITE) != 0) uv_events |= UV_WRITABLE;
    if ((events & STREAM_HANGUP) != 0) uv_events |= UV_DISCONNECT;
    return uv_events;
}

static void on_poll(uv_poll_t *poll, int status, int uv_events)
{
    struct stream *st = poll->data;
    if (st->fd < 0) return;
    if (status < 0) {
        /* A broken connection: libuv has stopped the handle. The owner learns the errno from its next read or write. */
        st->watched = 0;
        st->on_event(st, st->wanted | STREAM_HANGUP);
        return;
    }
    st->on_event(st, from_uv(uv_events));
}

static int prepare_fd(int fd)
{
    static const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return -errno;
    /* Comfort, not correctness: a socket that refuses one of these (a test's socketpair) still carries bytes. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    return 0;
}

int stream_init(struct stream *st, uv_loop_t *loop, int fd, stream_event_fn on_event, void *arg)
{
    assert(fd >= 0 && on_event != NULL);
    *st = (struct stream){ .ops = &stream_plain_ops, .fd = fd, .on_event = on_event, .arg = arg };
    if (prepare_fd(fd) != 0) return SLUICE_ERR_IO;
    if (uv_poll_init_socket(loop, &st->poll, fd) != 0) return SLUICE_ERR_IO;
    st->poll.data = st;
    return 0;
}

void stream_watch(struct stream *st, unsigned events)
{
    assert(st->fd >= 0);
    st->wanted = events;
    unsigned watched = st->ops->wants(st, events);
    if (watched == st->watched) return;
    int rv = watched == 0 ? uv_poll_stop(&st->poll) : uv_poll_start(&st->poll, to_uv(watched), on_poll);
    assert(rv == 0); /* fails only on a handle that is being closed */
    st->watched = watched;
}

ssize_t stream_read(struct stream *st, void *buf, size_t room)
{
    assert(st->fd >= 0 && room > 0);
    return st->ops->read(st, buf, room);
}

ssize_t stream_write(struct stream *st, const void *buf, size_t len)
{
    assert(st->fd >= 0 && !st->is_shut);
    return st->ops->write(st, buf, len);
}

int stream_shutdown(struct stream *st)
{
    assert(st->fd >= 0);
    if (st->is_shut) return 0;
    st->is_shut = true;
    return st->ops->shutdown(st);
}

int stream_connect_result(struct stream *st)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(st->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return -errno;
    return -error;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct stream *st = handle->data;
    if (st->on_closed != NULL) st->on_closed(st);
}

void stream_close(struct stream *st, stream_closed_fn on_closed)
{
    assert(st->fd >= 0);
    st->ops->close(st);
    st->on_closed = on_closed;
    int fd = st->fd;
    st->fd = -1;
    st->wanted = st->watched = 0;
    uv_close((uv_handle_t *)&st->poll, on_poll_closed); /* takes it out of epoll, so the number may be used again */
    close(fd);
}

void stream_close_told(struct stream *st, stream_closed_fn on_closed)
{
    char dropped[4096];
    size_t total = 0;
    (void)stream_shutdown(st);
    while (total < TOLD_DROP_BYTES_MAX) {
        ssize_t n = recv(st->fd, dropped, sizeof dropped, MSG_DONTWAIT);
        if (n <= 0) break;
        total += (size_t)n;
    }
    stream_close(st, on_closed);
}

bool stream_is_open(const struct stream *st)
{
    return st->fd >= 0;
}

void stream_address(const struct sockaddr *address, struct network_address *out)
{
    *out = (struct network_address){ .family = NETWORK_NONE };
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        network_address_set(NETWORK_INET, (const uint8_t *)&in.sin_addr, ntohs(in.sin_port), out);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        network_address_set(NETWORK_INET6, in6.sin6_addr.s6_addr, ntohs(in6.sin6_port), out);
    }
}

void stream_own_address(const struct stream *st, struct network_address *out)
{
    struct sockaddr_storage local = { 0 };
    socklen_t len = sizeof local;
    if (getsockname(st->fd, (struct sockaddr *)&local, &len) != 0) local.ss_family = AF_UNSPEC;
    stream_address((const struct sockaddr *)&local, out);
}

void stream_address_text(const struct sockaddr *address, char *out, uint16_t *out_port)
{
    struct network_address value;
    stream_address(address, &value);
    network_address_print(&value, out);
    if (out_port != NULL) *out_port = value.port;
}

void stream_local_address(const struct stream *st, char *out, uint16_t *out_port)
{
    struct network_address own;
    stream_own_address(st, &own);
    network_address_print(&own, out);
    if (out_port != NULL) *out_port = own.port;
}
