/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.h - where the daemon is, and the token it wants. */
#pragma once
#include "core/attr.h"
#include "core/text.h"

struct args;

struct endpoint {
    char *socket;  /* path; NULL: TCP */
    char *host;    /* TCP; with brackets when it is IPv6 */
    unsigned port; /* TCP */
    char *token;   /* NULL: none */
};

/* endpoint_find - see client_open(). On failure nothing is left to free. */
SLUICE_MUSTCHECK int endpoint_find(const struct args *args, struct endpoint *out, struct text *error);
/* endpoint_free - clears the token. */
void endpoint_free(struct endpoint *e);
/* endpoint_print - "unix:/run/sluice/admin.sock", "http://10.0.0.1:3480". */
void endpoint_print(const struct endpoint *e, struct text *out);
