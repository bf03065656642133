/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracker_pair.h - two trackers that see the same bytes: one as the pieces are, the other one byte at a time. They must agree, and
 * what holds of any tracker must hold of both; else the program aborts. What the fuzzers of the tracker share.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/tracker.h"

/* A tracker, what it left back, and what it told. */
struct line {
    struct tracker *tracker;
    uint8_t *waiting[2];
    size_t waiting_len[2], forwarded[2];
    uint8_t *buffer; /* of |room| bytes, as both of |waiting| */
    size_t room;
    size_t gtids, wholes, requests;
    bool in_part;
};

struct tracker_pair {
    struct line lines[2];
    bool is_parked;
    bool goes_on; /* false: the trackers have refused what came */
};

/* How the client of pair_log_in() is. */
enum pair_client {
    PAIR_DEPRECATE_EOF = 1,
    PAIR_OPTIONAL_METADATA = 2,
    PAIR_QUERY_ATTRIBUTES = 4,
    PAIR_SESSION_TRACK = 8,
    PAIR_MARIADB = 16, /* it, and the server */
};

/* pair_up - |options|' hooks are replaced. |size|: of the fuzzer's input; what is fed beside it is less than 256 bytes. */
void pair_up(struct tracker_pair *p, const struct tracker_options *options, size_t size);
void pair_down(struct tracker_pair *p);
/* pair_feed - to both; nothing when !goes_on. */
void pair_feed(struct tracker_pair *p, enum tracker_side from, const void *bytes, size_t len);
/* pair_greet - the server's greeting. pair_log_in - the same, the client's response, and OK. |client|: enum pair_client. */
void pair_greet(struct tracker_pair *p, unsigned client);
void pair_log_in(struct tracker_pair *p, unsigned client);
/*
 * pair_play - feed the fuzzer's pieces: a byte whose bit 0 is the side (0 the client), bit 1 parks or unparks, the upper six a
 * length (63: two more bytes of length), and so many bytes.
 */
void pair_play(struct tracker_pair *p, const uint8_t *data, size_t size);
