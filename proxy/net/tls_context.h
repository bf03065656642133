/* SPDX-License-Identifier: Apache-2.0 */
/* tls_context.h - what a source's TLS is made of; private to tls_mbedtls.c, which speaks it, and tls_context.c, which loads it. */
#pragma once
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <stdint.h>
#include "net/tls_mbedtls.h"

struct identity {
    mbedtls_x509_crt cert;
    mbedtls_pk_context key;
};

struct tls_context {
    unsigned references;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    struct identity server, client;
    mbedtls_x509_crt client_ca, backend_ca;
    mbedtls_ssl_config accept, connect;
    mbedtls_ssl_ticket_context tickets; /* for clients that come back */
    bool verify_name;
    bool has_session[TLS_PEERS_MAX];
    mbedtls_ssl_session sessions[TLS_PEERS_MAX];
    int64_t session_until_unix[TLS_PEERS_MAX]; /* the certificates that were verified for it end then */
};

/* tls_unix_of - a certificate's time in seconds since 1970. */
int64_t tls_unix_of(const mbedtls_x509_time *t);
