/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_header.h - the header of the PROXY protocol, versions 1 and 2: read in any split, never a byte too many; and written. Pure.
 * The rules are those of HAProxy's proxy-protocol.txt; its sections are named where they are coded.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/network.h"

enum {
    PROXY_HEADER_V1_LEN_MAX = 107, /* section 2.1: the longest line, CRLF included */
    PROXY_HEADER_V2_FRONT_LEN = 16,
    PROXY_HEADER_V2_LEN_MAX = 16 + 4096, /* addresses and TLVs; the protocol itself would allow 65,535 */
    PROXY_HEADER_WRITTEN_LEN_MAX = PROXY_HEADER_V1_LEN_MAX,
};

/* X(name, text): what can be wrong with a header. */
#define PROXY_HEADER_FAULTS(X)                                                                                         \
    X(PROXY_HEADER_FINE, "nothing is wrong")                                                                           \
    X(PROXY_HEADER_NONE, "what came is no PROXY header")                                                               \
    X(PROXY_HEADER_V1_LONG, "the line of version 1 does not end within 107 bytes")                                     \
    X(PROXY_HEADER_V1_END, "the line of version 1 does not end in CR LF")                                              \
    X(PROXY_HEADER_V1_PROTOCOL, "version 1 names a protocol that is neither TCP4, TCP6 nor UNKNOWN")                   \
    X(PROXY_HEADER_V1_SHAPE, "the line of version 1 has not two addresses and two ports, one space between")           \
    X(PROXY_HEADER_V1_ADDRESS, "an address of version 1 is none of its protocol")                                      \
    X(PROXY_HEADER_V1_PORT, "a port of version 1 is no number of 0 to 65535 without leading zeros")                    \
    X(PROXY_HEADER_V2_VERSION, "behind the signature of version 2 stands another version")                             \
    X(PROXY_HEADER_V2_COMMAND, "the command of version 2 is neither LOCAL nor PROXY")                                  \
    X(PROXY_HEADER_V2_FAMILY, "version 2 names an address family or a protocol that does not exist")                   \
    X(PROXY_HEADER_V2_SHORT, "the length of version 2 does not cover its addresses")                                   \
    X(PROXY_HEADER_V2_LONG, "the header of version 2 is longer than 4112 bytes")                                       \
    X(PROXY_HEADER_V2_TLV, "a TLV of version 2 reaches over the header's end")

enum proxy_header_fault {
#define X(name, text) name,
    PROXY_HEADER_FAULTS(X)
#undef X
};

/* proxy_header_fault_text - one clause without a full stop. Any thread. */
const char *proxy_header_fault_text(enum proxy_header_fault fault);

/* What a header said. */
struct proxy_header {
    unsigned version; /* 1 or 2 */
    bool is_local;    /* version 2: the sender speaks for itself, a health check */
    /* NETWORK_NONE, both: LOCAL, UNKNOWN, UNSPEC, or a family without an IP address: the connection's own ends hold (sections 2.1, 2.2). */
    struct network_address source, destination;
};

/* A header on its way. Begins as all zero; private but for |fault|, |is_whole| and |header|. */
struct proxy_header_reader {
    uint8_t bytes[PROXY_HEADER_V1_LEN_MAX]; /* version 1: the line; version 2: the front and the addresses */
    size_t len;                             /* bytes taken so far */
    size_t len_all;                         /* version 2, once its front is there */
    size_t tlvs_at;     /* version 2: where TLVs begin that must hold; |len_all| when there are none */
    uint8_t tlv_len[3]; /* type and length of the TLV in progress */
    size_t tlv_have, tlv_left;
    bool is_whole;
    enum proxy_header_fault fault; /* not FINE: it failed, and stays so */
    struct proxy_header header;    /* once |is_whole| */
};

/* proxy_header_want - so many more bytes certainly belong to the header: they may be read. 0 when it is whole or has failed. */
size_t proxy_header_want(const struct proxy_header_reader *r);
/*
 * proxy_header_feed - take what belongs to the header from the front of |len| bytes. Bytes behind it are not looked at.
 *
 * |out_used|  so many were taken; less than |len| only when the header is whole.
 * Returns 0, whole or not yet (|r->is_whole|), or SLUICE_ERR_PROXY_HEADER and |r->fault|; every call after that does so too. Feeding
 * a whole one takes nothing.
 */
SLUICE_MUSTCHECK int proxy_header_feed(struct proxy_header_reader *r, const uint8_t *bytes, size_t len,
                                       size_t *out_used);

/*
 * proxy_header_write - put a header at |out|; returns its length.
 *
 * |version|  1 or 2.
 * |source|   who connected; NETWORK_NONE: "UNKNOWN" in version 1, LOCAL in version 2, without addresses.
 * |destination|  what it connected to. Where its family is not that of |source| both are written as IPv6, the IPv4 one mapped.
 */
size_t proxy_header_write(unsigned version, const struct network_address *source,
                          const struct network_address *destination, uint8_t out[PROXY_HEADER_WRITTEN_LEN_MAX]);
