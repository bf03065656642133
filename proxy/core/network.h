/* SPDX-License-Identifier: Apache-2.0 */
/* network.h - addresses and networks of IPv4 and IPv6 as values: read from text, written as text, compared. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

enum network_family { NETWORK_NONE, NETWORK_INET, NETWORK_INET6 };

enum { NETWORK_TEXT_LEN = 45 }; /* longest numeric address */

/* One end of a connection. An IPv4 address inside IPv6 is kept as IPv4, as MySQL shows it. */
struct network_address {
    enum network_family family; /* NONE: not known; the rest is 0 then */
    uint8_t bytes[16];          /* network byte order; 4 of them with INET, the others are 0 */
    uint16_t port;              /* host byte order */
};

/* A network, as CIDR writes it. */
struct network {
    struct network_address base; /* its port is 0 */
    unsigned bits;               /* 0..32, 0..128 */
};

/* network_address_set - from |bytes| in network byte order, 4 or 16 of them; "::ffff:10.0.0.5" becomes "10.0.0.5". */
void network_address_set(enum network_family family, const uint8_t *bytes, uint16_t port, struct network_address *out);
/* network_address_parse - a numeric address without brackets. Returns 0 and |*out|, or SLUICE_ERR_SYNTAX. Any thread. */
SLUICE_MUSTCHECK int network_address_parse(const char *text, uint16_t port, struct network_address *out);
/* network_address_print - the numeric host into |out|; "" for NETWORK_NONE. */
void network_address_print(const struct network_address *address, char out[NETWORK_TEXT_LEN + 1]);
/* network_address_same - host and port. */
bool network_address_same(const struct network_address *a, const struct network_address *b);
/* network_address_is_loopback - exactly 127.0.0.1 or ::1. */
bool network_address_is_loopback(const struct network_address *address);
/*
 * network_parse - "10.0.0.0/8", "fd00::/8", or an address alone, which is a network of one.
 * Returns 0 and |*out|; or SLUICE_ERR_SYNTAX and |*out_why|, a static text that goes on from "'10.0.0.5/8' ": what is wrong and
 * what to do. Any thread.
 */
SLUICE_MUSTCHECK int network_parse(const char *text, struct network *out, const char **out_why);
/* network_holds - |address| is in |network|. An address of the other family never is. */
bool network_holds(const struct network *network, const struct network_address *address);
