/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_mbedtls.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <mbedtls/error.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "core/error.h"
#include "core/mem.h"
#include "net/stream.h"
#include "net/tls_context.h"

enum {
    RECORD_HEADER_LEN = 5,
    RECORD_PAYLOAD_MAX = 16384, /* of what is carried in one record */
    RECORD_ALERT = 21,
    RECORD_HANDSHAKE = 22,
    SAN_IP_TAG = MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7,
    BIO_BROKEN = -0x0050, /* mbedTLS's own "connection reset"; the errno is kept beside it */
};

/* What a record's bytes are, as they pass: tells an end between records from one inside, and what a plain alert said. */
struct record {
    uint8_t header[RECORD_HEADER_LEN];
    uint8_t header_len;
    uint32_t left;
    bool is_alert;
    uint8_t alert;
};

struct tls {
    mbedtls_ssl_context ssl;
    struct tls_context *context;
    struct stream *stream; /* NULL once closed */
    uv_idle_t again;       /* what was decrypted and not read yet wakes no descriptor */
    bool is_client;
    bool is_open;     /* the handshake is done */
    bool is_done;     /* the handshake is, but for what waits in |out| */
    bool is_verified; /* a certificate was looked at: not resumed */
    bool is_plain;    /* the peer's first bytes were no TLS */
    bool is_any_seen;
    bool has_ended; /* |end| is what every read gives from now on */
    ssize_t end;
    int sys_errno; /* of a connection that broke; 0 for an end of file */
    bool is_cut;
    uint32_t verify_flags;
    int64_t until_unix; /* the first end among the certificates that were verified */
    uint32_t peer;
    uint8_t *out; /* what the socket has not taken */
    size_t out_at, out_len;
    size_t unsent; /* bytes that |out| carries and that have not counted as written yet */
    uint8_t *prefix;
    size_t prefix_at, prefix_len;
    struct record in;
    uint8_t address[16]; /* the peer's, where its certificate must be for a numeric address */
    size_t address_len;
    char host[256];
    char why[TLS_WHY_LEN + 1];
};

/* ---- bytes below TLS ---- */

static void record_follow(struct record *r, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        if (r->left > 0) {
            size_t part = len < r->left ? len : r->left;
            if (r->is_alert) r->alert = bytes[part - 1]; /* level, then what it says: the last byte stays */
            r->left -= (uint32_t)part;
            bytes += part;
            len -= part;
            continue;
        }
        r->header[r->header_len++] = *bytes++;
        len--;
        if (r->header_len < RECORD_HEADER_LEN) continue;
        r->header_len = 0;
        r->left = (uint32_t)r->header[3] << 8 | r->header[4];
        r->is_alert = r->header[0] == RECORD_ALERT && r->left == 2; /* longer ones are encrypted */
    }
}

static bool record_is_whole(const struct record *r)
{
    return r->header_len == 0 && r->left == 0;
}

static ssize_t bio_bytes(struct tls *t, unsigned char *buf, size_t len)
{
    size_t left = t->prefix_len - t->prefix_at;
    if (left == 0) return stream_plain_ops.read(t->stream, buf, len);
    if (len > left) len = left;
    memcpy(buf, t->prefix + t->prefix_at, len);
    t->prefix_at += len;
    return (ssize_t)len;
}

static void broke(struct tls *t, int sys_errno)
{
    t->is_cut = true;
    t->sys_errno = sys_errno;
}

static int bio_receive(void *arg, unsigned char *buf, size_t len)
{
    struct tls *t = arg;
    ssize_t n = bio_bytes(t, buf, len);
    if (n == -EAGAIN) return MBEDTLS_ERR_SSL_WANT_READ;
    if (n <= 0) {
        broke(t, (int)-n);
        return n == 0 ? 0 : BIO_BROKEN;
    }
    if (!t->is_any_seen && buf[0] != RECORD_HANDSHAKE && buf[0] != RECORD_ALERT) {
        t->is_plain = true;
        return MBEDTLS_ERR_SSL_INVALID_RECORD;
    }
    t->is_any_seen = true;
    record_follow(&t->in, buf, (size_t)n);
    return (int)n;
}

static bool has_unsent(const struct tls *t)
{
    return t->out_at < t->out_len;
}

/* Returns 0 when nothing waits any more, -EAGAIN, or the negative errno of a broken connection. */
static int flush_out(struct tls *t)
{
    while (has_unsent(t)) {
        ssize_t n = stream_plain_ops.write(t->stream, t->out + t->out_at, t->out_len - t->out_at);
        if (n == -EAGAIN) return -EAGAIN;
        if (n < 0) {
            broke(t, (int)-n);
            return (int)n;
        }
        t->out_at += (size_t)n;
    }
    mem_free(t->out);
    t->out = NULL;
    t->out_at = t->out_len = 0;
    return 0;
}

static int keep_out(struct tls *t, const unsigned char *buf, size_t len)
{
    uint8_t *more = mem_alloc(t->out_len - t->out_at + len);
    if (more == NULL) return SLUICE_ERR_NOMEM;
    if (has_unsent(t)) memcpy(more, t->out + t->out_at, t->out_len - t->out_at);
    memcpy(more + (t->out_len - t->out_at), buf, len);
    mem_free(t->out);
    t->out = more;
    t->out_len = t->out_len - t->out_at + len;
    t->out_at = 0;
    return 0;
}

/*
 * Takes everything. What the socket does not take waits here and not inside mbedTLS, where with TLS 1.3 also a read may send it,
 * and the write that is then tried again would send it a second time. It is a record, or a flight of a handshake.
 */
static int bio_send(void *arg, const unsigned char *buf, size_t len)
{
    struct tls *t = arg;
    ssize_t n = has_unsent(t) ? 0 : stream_plain_ops.write(t->stream, buf, len);
    if (n == -EAGAIN) n = 0;
    if (n < 0) {
        broke(t, (int)-n);
        return BIO_BROKEN;
    }
    if ((size_t)n < len && keep_out(t, buf + n, len - (size_t)n) != 0) {
        broke(t, ENOMEM);
        return BIO_BROKEN;
    }
    return (int)len;
}

/* ---- who the peer is ---- */

/* mbedTLS 2.28 compares names only; a numeric address is compared here, for all versions alike. */
static bool is_for_address(const struct tls *t, const mbedtls_x509_crt *cert)
{
    for (const mbedtls_x509_sequence *san = &cert->subject_alt_names; san != NULL; san = san->next) {
        if (san->buf.p != NULL && (san->buf.tag & ~MBEDTLS_ASN1_CONSTRUCTED) == SAN_IP_TAG &&
            san->buf.len == t->address_len && memcmp(san->buf.p, t->address, t->address_len) == 0)
            return true;
    }
    return false;
}

static int on_verify(void *arg, mbedtls_x509_crt *cert, int depth, uint32_t *flags)
{
    struct tls *t = arg;
    int64_t until_unix = tls_unix_of(&cert->valid_to);
    if (!t->is_verified || until_unix < t->until_unix) t->until_unix = until_unix;
    t->is_verified = true;
    if (depth == 0 && t->address_len > 0 && !is_for_address(t, cert)) *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    t->verify_flags |= *flags;
    return 0;
}

static int name_peer(struct tls *t, const char *host)
{
    snprintf(t->host, sizeof t->host, "%s", host);
    if (t->context->verify_name && inet_pton(AF_INET, host, t->address) == 1) t->address_len = 4;
    if (t->context->verify_name && inet_pton(AF_INET6, host, t->address) == 1) t->address_len = 16;
    bool is_named = t->context->verify_name && t->address_len == 0;
    return mbedtls_ssl_set_hostname(&t->ssl, is_named ? t->host : NULL);
}

static void keep_session(struct tls *t)
{
    struct tls_context *c = t->context;
    if (t->peer >= TLS_PEERS_MAX) return;
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    if (mbedtls_ssl_get_session(&t->ssl, &session) != 0) {
        mbedtls_ssl_session_free(&session); /* the next handshake is a full one */
        return;
    }
    if (c->has_session[t->peer]) mbedtls_ssl_session_free(&c->sessions[t->peer]);
    if (t->is_verified) c->session_until_unix[t->peer] = t->until_unix; /* a session that was resumed keeps its end */
    c->sessions[t->peer] = session;
    c->has_session[t->peer] = true;
}

/* TLS 1.3: a ticket was read on the way to something else, which goes on. */
static bool is_ticket(int code)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03060000 && defined(MBEDTLS_SSL_SESSION_TICKETS)
    return code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
    (void)code;
    return false;
#endif
}

/* With TLS 1.3 a session comes later, as a ticket. */
static bool has_session_already(const struct tls *t)
{
    return strcmp(mbedtls_ssl_get_version(&t->ssl), "TLSv1.3") != 0;
}

/* ---- what went wrong ---- */

static const char *alert_text(uint8_t alert)
{
    switch (alert) {
    case MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE: return "no common cipher, or a certificate is missing";
    case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
    case MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT:
    case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN: return "it does not accept our certificate";
    case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED: return "our certificate has expired";
    case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA: return "it does not know the CA of our certificate";
    case MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION: return "no common version of TLS";
    default: return "see its log";
    }
}

static void say_verify(struct tls *t)
{
    char rest[200];
    if ((t->verify_flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) {
        snprintf(t->why, sizeof t->why, "its certificate has expired");
    } else if ((t->verify_flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) {
        snprintf(t->why, sizeof t->why, "its certificate is not valid yet");
    } else if ((t->verify_flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) {
        snprintf(t->why, sizeof t->why, "its certificate is not signed by the CA in tls.%s",
                 t->is_client ? "backend-ca" : "ca");
    } else if ((t->verify_flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) != 0) {
        snprintf(t->why, sizeof t->why, "its certificate is not for the name %s", t->host);
    } else {
        mbedtls_x509_crt_verify_info(rest, sizeof rest, "", t->verify_flags);
        rest[strcspn(rest, "\n")] = '\0';
        snprintf(t->why, sizeof t->why, "its certificate is not accepted: %s", rest);
    }
}

static void say(struct tls *t, int code)
{
    char text[160];
    if (t->is_plain) {
        snprintf(t->why, sizeof t->why, "plain bytes where a TLS handshake is due");
    } else if (t->verify_flags != 0) {
        say_verify(t);
    } else if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
        snprintf(t->why, sizeof t->why, "it shows no certificate, and tls.ca asks for one");
    } else if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        snprintf(t->why, sizeof t->why, "it refused TLS (alert %u): %s", t->in.alert, alert_text(t->in.alert));
    } else if (t->is_cut && t->sys_errno != 0) {
        snprintf(t->why, sizeof t->why, "its connection broke: %s", strerror(t->sys_errno));
    } else if (t->is_cut) {
        snprintf(t->why, sizeof t->why, "it closed the connection %s",
                 record_is_whole(&t->in) ? "during the TLS handshake" : "in the middle of a TLS record");
    } else {
        mbedtls_strerror(code, text, sizeof text);
        snprintf(t->why, sizeof t->why, "TLS failed: %s", text);
    }
}

/* ---- the table ---- */

static bool has_pending(const struct tls *t)
{
    return t->is_open && (t->has_ended || t->prefix_at < t->prefix_len || mbedtls_ssl_get_bytes_avail(&t->ssl) > 0);
}

/* MySQL's clients and servers close without saying so in TLS: packets tell their lengths, so an end between records is one. */
static void read_ended(struct tls *t, int code)
{
    t->has_ended = true;
    t->end = 0;
    if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return;
    if (code == MBEDTLS_ERR_SSL_CONN_EOF || code == 0) {
        if (record_is_whole(&t->in)) return;
        t->end = -EPROTO;
    } else {
        t->end = code == BIO_BROKEN ? -t->sys_errno : -EPROTO;
    }
    say(t, code);
}

static ssize_t tls_read(struct stream *st, void *buf, size_t room)
{
    struct tls *t = st->layer;
    size_t at = 0;
    assert(t->is_open);
    while (at < room && !t->has_ended) {
        int n = mbedtls_ssl_read(&t->ssl, (unsigned char *)buf + at, room - at);
        if (n > 0) {
            at += (size_t)n;
        } else if (n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE) {
            break;
        } else if (is_ticket(n)) {
            keep_session(t);
        } else {
            read_ended(t, n);
        }
    }
    if (at > 0) return (ssize_t)at;
    return t->has_ended ? t->end : -EAGAIN;
}

static ssize_t tls_write(struct stream *st, const void *buf, size_t len)
{
    struct tls *t = st->layer;
    assert(t->is_open && t->unsent <= len); /* who was told -EAGAIN comes back with the same bytes */
    int rv = flush_out(t);
    if (rv != 0) return rv;
    size_t at = t->unsent;
    t->unsent = 0;
    while (at < len) {
        size_t part = len - at < RECORD_PAYLOAD_MAX ? len - at : RECORD_PAYLOAD_MAX;
        int n = mbedtls_ssl_write(&t->ssl, (const unsigned char *)buf + at, part);
        if (is_ticket(n)) {
            keep_session(t);
            continue;
        }
        if (n == MBEDTLS_ERR_SSL_WANT_READ) break; /* TLS 1.3, in the middle of a ticket */
        if (n < 0) {
            say(t, n);
            return n == BIO_BROKEN ? -t->sys_errno : -EPROTO;
        }
        if (has_unsent(t)) {
            t->unsent = (size_t)n;
            break;
        }
        at += (size_t)n;
    }
    return at > 0 ? (ssize_t)at : -EAGAIN;
}

static int tls_shutdown(struct stream *st)
{
    struct tls *t = st->layer;
    if (t->is_open) (void)mbedtls_ssl_close_notify(&t->ssl); /* what does not fit now is not worth waiting for */
    (void)flush_out(t);
    return stream_plain_ops.shutdown(st);
}

static void on_again(uv_idle_t *again)
{
    struct tls *t = again->data;
    uv_idle_stop(again);
    if (t->stream != NULL && (t->stream->wanted & STREAM_READ) != 0) t->stream->on_event(t->stream, STREAM_READ);
}

static unsigned tls_wants(const struct stream *st, unsigned events)
{
    struct tls *t = st->layer;
    if (!t->is_open) return events == 0 ? 0 : has_unsent(t) ? STREAM_READ | STREAM_WRITE : STREAM_READ;
    if ((events & STREAM_READ) != 0 && has_pending(t)) {
        uv_idle_start(&t->again, on_again);
    } else {
        uv_idle_stop(&t->again);
    }
    return events;
}

static void on_again_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void tls_close(struct stream *st)
{
    struct tls *t = st->layer;
    st->layer = NULL;
    t->stream = NULL;
    mbedtls_ssl_free(&t->ssl);
    tls_context_unref(t->context);
    mem_free(t->prefix);
    mem_free(t->out);
    uv_close((uv_handle_t *)&t->again, on_again_closed);
}

static const struct stream_ops tls_ops = {
    .read = tls_read,
    .write = tls_write,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .wants = tls_wants,
};

/* ---- begin ---- */

static struct tls *layer_of(const struct stream *st)
{
    return st->ops == &tls_ops ? st->layer : NULL;
}

static struct tls *tls_new(struct stream *st, struct tls_context *c, const mbedtls_ssl_config *conf)
{
    assert(st->ops == &stream_plain_ops && st->layer == NULL && st->fd >= 0);
    struct tls *t = mem_calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    mbedtls_ssl_init(&t->ssl);
    if (mbedtls_ssl_setup(&t->ssl, conf) != 0) {
        mbedtls_ssl_free(&t->ssl);
        mem_free(t);
        return NULL;
    }
    t->context = c;
    t->stream = st;
    t->peer = TLS_PEERS_MAX;
    mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_receive, NULL);
    mbedtls_ssl_set_verify(&t->ssl, on_verify, t);
    return t;
}

static void tls_begin(struct tls *t, struct stream *st)
{
    tls_context_ref(t->context);
    uv_idle_init(st->poll.loop, &t->again);
    t->again.data = t;
    st->ops = &tls_ops;
    st->layer = t;
}

static void tls_drop(struct tls *t)
{
    mbedtls_ssl_free(&t->ssl);
    mem_free(t->prefix);
    mem_free(t->out);
    mem_free(t);
}

int tls_accept(struct stream *st, struct tls_context *c, const void *prefix, size_t prefix_len)
{
    struct tls *t = tls_new(st, c, &c->accept);
    if (t == NULL) return SLUICE_ERR_NOMEM;
    if (prefix_len > 0) {
        t->prefix = mem_alloc(prefix_len);
        if (t->prefix == NULL) {
            tls_drop(t);
            return SLUICE_ERR_NOMEM;
        }
        memcpy(t->prefix, prefix, prefix_len);
        t->prefix_len = prefix_len;
    }
    tls_begin(t, st);
    return 0;
}

int tls_connect(struct stream *st, struct tls_context *c, uint32_t peer, const char *host)
{
    struct tls *t = tls_new(st, c, &c->connect);
    if (t == NULL) return SLUICE_ERR_NOMEM;
    t->is_client = true;
    t->peer = peer;
    if (name_peer(t, host) != 0) {
        tls_drop(t);
        return SLUICE_ERR_NOMEM;
    }
    /* What is resumed is not verified again, so it ends with its certificate. One that fails makes a full handshake, nothing worse. */
    if (peer < TLS_PEERS_MAX && c->has_session[peer] && c->session_until_unix[peer] > time(NULL))
        (void)mbedtls_ssl_set_session(&t->ssl, &c->sessions[peer]);
    tls_begin(t, st);
    return 0;
}

static void forget_session(struct tls *t)
{
    struct tls_context *c = t->context;
    if (t->peer >= TLS_PEERS_MAX || !c->has_session[t->peer]) return;
    mbedtls_ssl_session_free(&c->sessions[t->peer]);
    c->has_session[t->peer] = false;
}

int tls_handshake(struct stream *st)
{
    struct tls *t = layer_of(st);
    assert(t != NULL && !t->is_open && t->why[0] == '\0');
    int rv = t->is_done ? 0 : mbedtls_ssl_handshake(&t->ssl);
    t->is_done = rv == 0;
    if (rv == MBEDTLS_ERR_SSL_WANT_READ) rv = 0;
    if (rv == 0 && has_unsent(t) && flush_out(t) < 0 && t->is_cut) rv = BIO_BROKEN;
    if (rv == 0 && (!t->is_done || has_unsent(t))) return -EAGAIN;
    if (rv != 0) {
        say(t, rv);
        if (t->is_client) forget_session(t);
        return SLUICE_ERR_TLS;
    }
    t->is_open = true;
    if (t->is_client && has_session_already(t)) keep_session(t);
    return 0;
}

const char *tls_why(const struct stream *st)
{
    const struct tls *t = layer_of(st);
    return t == NULL ? "" : t->why;
}

bool tls_is_cut(const struct stream *st)
{
    const struct tls *t = layer_of(st);
    return t != NULL && t->is_cut;
}

bool tls_is_resumed(const struct stream *st)
{
    const struct tls *t = layer_of(st);
    return t != NULL && t->is_client && t->is_open && !t->is_verified;
}

const char *tls_version(const struct stream *st)
{
    const struct tls *t = layer_of(st);
    return t == NULL ? "" : mbedtls_ssl_get_version(&t->ssl);
}
