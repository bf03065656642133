/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_mbedtls.h - TLS as one more table behind a stream: after tls_accept() or tls_connect() the stream's own functions carry what
 * TLS carries. Built with mbedTLS 2.28 (TLS 1.2) and 3.6 (1.2 and 1.3); no other file knows of it but tls_context.c, which loads certificates and keys.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

struct stream;
struct text;
struct tls_context; /* certificates, CAs and kept sessions of one source */

enum {
    TLS_PEERS_MAX = 16, /* backends whose sessions are kept for resumption */
    TLS_WHY_LEN = 300,
};

/* Paths of PEM files; NULL: none. Certificate files may hold a chain. */
struct tls_files {
    const char *cert, *key;                 /* ours towards clients; |key| is readable by its owner only */
    const char *ca;                         /* clients must show a certificate of it; NULL: none is asked for */
    const char *backend_ca;                 /* whose certificates backends must have */
    const char *backend_cert, *backend_key; /* ours towards backends, for accounts that REQUIRE X509 */
    bool verify_name; /* a backend's certificate must be for the name or address it was configured by */
};

/*
 * tls_context_new - read all files. |files| need not outlive the call; |cert|, |key| and |backend_ca| are not NULL.
 *
 * Returns 0 and |*out|, one reference of which is the caller's; or, with "KEY: FILE: what is wrong" in |out_error|:
 *   SLUICE_ERR_CONFIG  a file is missing, no PEM, not for its key, or a key that others can read.
 *   SLUICE_ERR_NOMEM
 * Blocks on the disk. Call from: any thread; all that follows is for one loop's thread.
 */
SLUICE_MUSTCHECK int tls_context_new(const struct tls_files *files, struct tls_context **out, struct text *out_error);
/* tls_context_ref - one reference more; returns |c|. tls_context_unref - one less; the last frees it. NULL is nothing. */
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);
/* tls_context_expires_unix - when the certificate shown to clients ends, in seconds since 1970. */
int64_t tls_context_expires_unix(const struct tls_context *c);

/*
 * tls_accept - |st|, plain so far, becomes a TLS server's side.
 * |prefix|  what was read from it already and belongs to the handshake; copied.
 *
 * tls_connect - |st| becomes a TLS client's side.
 * |peer|  keeps its session for the next connection, when below TLS_PEERS_MAX.
 * |host|  the name or numeric address that its certificate must be for, where the context verifies names; copied.
 *
 * Both return 0, or SLUICE_ERR_NOMEM with |st| as it was. A reference of |c| is taken. Then tls_handshake() until it ends.
 */
SLUICE_MUSTCHECK int tls_accept(struct stream *st, struct tls_context *c, const void *prefix, size_t prefix_len);
SLUICE_MUSTCHECK int tls_connect(struct stream *st, struct tls_context *c, uint32_t peer, const char *host);
/*
 * tls_handshake - go on, from the start and whenever |st| has an event; watch STREAM_READ meanwhile, whatever it waits for.
 * Returns 0 (done), -EAGAIN, or SLUICE_ERR_TLS: tls_why() says why, and nothing but stream_close() is left.
 */
SLUICE_MUSTCHECK int tls_handshake(struct stream *st);
/* tls_why - what broke TLS on |st|, in words for an operator; "" when nothing did, or |st| is plain. Valid until stream_close(). */
const char *tls_why(const struct stream *st);
/* tls_is_cut - the handshake failed because the connection below it ended or broke, not for what was said on it. */
bool tls_is_cut(const struct stream *st);
/* tls_is_resumed - the handshake went on from an earlier session. */
bool tls_is_resumed(const struct stream *st);
/* tls_version - "TLSv1.2"; "" for a plain stream. */
const char *tls_version(const struct stream *st);
