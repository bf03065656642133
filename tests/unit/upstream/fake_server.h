/* SPDX-License-Identifier: Apache-2.0 */
/* fake_server.h - servers that misbehave: each accepts on a free port of 127.0.0.1 and does one bad thing to every client. */
#pragma once
#include <stdint.h>
#include "upstream/connector.h"

enum fake_manner {
    FAKE_SILENT,       /* accepts and says nothing */
    FAKE_DRIP,         /* a byte of an endless greeting every 20 ms */
    FAKE_RESET,        /* half a greeting, then RST */
    FAKE_GARBAGE,      /* an HTTP server's answer, then closes */
    FAKE_CLOSE,        /* closes at once */
    FAKE_ERROR,        /* error 1040 instead of a greeting */
    FAKE_MUTE_TLS,     /* a greeting that offers TLS, then nothing */
    FAKE_DRIP_TLS,     /* a greeting that offers TLS, then a byte of a TLS record every 20 ms */
    FAKE_NO_TLS,       /* a greeting that offers no TLS, then asks for the password by RSA */
    FAKE_PROXY_V1,     /* says nothing before a PROXY header "UNKNOWN", then error 1040 instead of a greeting */
    FAKE_PROXY_V2,     /* the same with LOCAL of version 2 */
    FAKE_ROWS_FOR_EVER /* logs everybody in and answers every query with endless rows */
};

struct fake_server;

/* fake_server_up - starts it; fails the test when it cannot. */
struct fake_server *fake_server_up(enum fake_manner manner);
/* fake_server_down - ends it and its connections; frees it. */
void fake_server_down(struct fake_server *s);
/* fake_server_target - a target for connector_open(); valid while the server is up, nothing in it to free. */
struct upstream_target fake_server_target(const struct fake_server *s);
/* fake_server_clients - how many clients it has accepted. */
unsigned fake_server_clients(const struct fake_server *s);
/* fake_server_got_secret - it was sent an RSA-encrypted password (256 bytes) or the password's text. */
int fake_server_got_secret(const struct fake_server *s);
