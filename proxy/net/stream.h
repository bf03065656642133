/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - the only place that touches a connection's descriptor; TLS and splice(2) come in behind its table. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <uv.h>
#include "core/attr.h"
#include "core/network.h"

struct stream;

/* What the owner wants to be told of, and what it is told. Level-triggered: it comes again until it is dealt with. */
enum stream_event {
    STREAM_READ = 1, /* a read would not block: data, end of file or an error */
    STREAM_WRITE =
        2, /* a write would not block; while connecting: the attempt has ended, see stream_connect_result() */
    STREAM_HANGUP = 4, /* the peer closed its side or the connection is broken; unread data may be before it */
};

/*
 * What a stream does to its descriptor. Results: > 0 bytes; 0 end of file (read only); -EAGAIN: not now; otherwise a negative
 * errno: the connection is broken. |wants| turns what the owner waits for into what the descriptor must be polled for (TLS
 * may have to read in order to write) as STREAM_* bits.
 */
struct stream_ops {
    ssize_t (*read)(struct stream *st, void *buf, size_t room);
    ssize_t (*write)(struct stream *st, const void *buf, size_t len);
    int (*shutdown)(struct stream *st); /* no more bytes to the peer; 0 or a negative errno */
    void (*close)(struct stream *st);   /* releases |layer|; the descriptor itself is closed by stream_close() */
    unsigned (*wants)(const struct stream *st, unsigned events);
};

extern const struct stream_ops stream_plain_ops;

/* |events| are STREAM_* bits. May call every stream_* function, stream_close() included. */
typedef void (*stream_event_fn)(struct stream *st, unsigned events);
typedef void (*stream_closed_fn)(struct stream *st);

/* Embedded in its owner, whose memory must stay until on_closed. Fields are private but for |arg|. */
struct stream {
    uv_poll_t poll;
    const struct stream_ops *ops;
    void *layer;      /* of |ops|; NULL for plain TCP */
    int fd;           /* -1 once closed */
    unsigned wanted;  /* STREAM_* as the owner asked */
    unsigned watched; /* STREAM_* as the descriptor is polled */
    bool is_shut;     /* our side was shut down */
    stream_event_fn on_event;
    stream_closed_fn on_closed;
    void *arg; /* the owner's */
};

/*
 * stream_init - take |fd| (a TCP socket, connected or connecting), make it non-blocking and close-on-exec, with TCP_NODELAY
 * and keepalive; nothing is watched yet.
 *
 * Returns 0: |fd| is the stream's and stream_close() must follow; or SLUICE_ERR_IO: |fd| is still the caller's, nothing to undo.
 * Call from: the loop's thread, as all functions here.
 */
SLUICE_MUSTCHECK int stream_init(struct stream *st, uv_loop_t *loop, int fd, stream_event_fn on_event, void *arg);
/* stream_watch - wait for |events| (STREAM_* bits) from now on, for nothing else; 0 rests. Cheap when nothing changes. */
void stream_watch(struct stream *st, unsigned events);
/* stream_read, stream_write, stream_shutdown - see struct stream_ops. A second shutdown is nothing. */
ssize_t stream_read(struct stream *st, void *buf, size_t room);
ssize_t stream_write(struct stream *st, const void *buf, size_t len);
int stream_shutdown(struct stream *st);
/* stream_connect_result - after STREAM_WRITE on a connecting socket: 0 connected, else a negative errno. */
int stream_connect_result(struct stream *st);
/*
 * stream_close - the descriptor is closed before this returns, on_event is not called again; |on_closed| comes in a later
 * turn of the loop, and then the memory is the owner's. |on_closed| may be NULL. At most once.
 */
void stream_close(struct stream *st, stream_closed_fn on_closed);
/*
 * stream_close_told - as stream_close(), for a peer that was just told something: what it sent meanwhile is read and dropped
 * (bounded), because a close with unread bytes is a RST and takes our last words with it.
 */
void stream_close_told(struct stream *st, stream_closed_fn on_closed);
/* stream_is_open - false after stream_close(). */
bool stream_is_open(const struct stream *st);

enum {
    STREAM_HOST_LEN = NETWORK_TEXT_LEN
}; /* longest numeric address; an IPv4 address inside IPv6 is shown as IPv4, as MySQL does */

/* stream_address - |address| as a value; NETWORK_NONE when it is of no IP family. Any thread. */
void stream_address(const struct sockaddr *address, struct network_address *out);
/* stream_own_address - our own end of |st|; NETWORK_NONE when it has none. */
void stream_own_address(const struct stream *st, struct network_address *out);
/* stream_address_text - numeric host into |out| (STREAM_HOST_LEN + 1 bytes) and the port (may be NULL). Any thread. */
void stream_address_text(const struct sockaddr *address, char *out, uint16_t *out_port);
/* stream_local_address - our own end of |st|, as stream_address_text(); "" and 0 when it has none. */
void stream_local_address(const struct stream *st, char *out, uint16_t *out_port);
