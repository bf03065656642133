/* SPDX-License-Identifier: Apache-2.0 */
/* player.h - feeds a tracker as a relay does, keeps what it left back, and notes what it forwarded and told. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/tracker.h"

struct bytes {
    uint8_t *at;
    size_t len, room;
};

void bytes_add(struct bytes *b, const void *more, size_t len);
void bytes_free(struct bytes *b);

struct player {
    struct tracker *tracker;
    struct bytes waiting[2]; /* left back by the tracker, by side */
    struct bytes forwarded[2];
    struct bytes gtids; /* what on_gtid told: "uuid:tag:n\n" each */
    size_t gtid_count, whole_count, request_count;
    struct tracker_dump_request request; /* the last; its set is not kept */
    size_t request_set_len;
    uint64_t request_set_hash;
    int status;   /* of the last tracker_feed() */
    bool asks;    /* with ask_dump or ask_kill: the client's bytes may be left back too */
    bool is_copy; /* of what it forwarded and told only the lengths and counts are kept */
};

/* player_start - |options|' hooks are replaced by the player's own; NULL is all defaults. */
void player_start(struct player *p, const struct tracker_options *options);
/* player_stop - free all; |p| may be started again. */
void player_stop(struct player *p);

/* player_copy - another player in the same state: what is fed to one does not change the other. Ended by player_stop(). */
void player_copy(struct player *out_copy, const struct player *p);

/* player_feed - as read from a socket: behind what was left back. Returns tracker_feed()'s result. */
int player_feed(struct player *p, enum tracker_side from, const void *bytes, size_t len);
/* player_packet - feed a packet with a header of its own; payloads of 16 MB and more are split as the protocol wants. */
int player_packet(struct player *p, enum tracker_side from, uint8_t seq, const void *payload, size_t len);
/* player_each_byte - player_packet(), one byte at a time. */
int player_each_byte(struct player *p, enum tracker_side from, uint8_t seq, const void *payload, size_t len);

/* player_log_in - greeting, response with |client_flags| and OK, so that the phase is COMMAND. */
void player_log_in(struct player *p, uint32_t server_flags, uint32_t client_flags);
/* What player_log_in() sends: payloads of a greeting and of a handshake response. Both are freed by bytes_free(). */
struct bytes greeting_make(uint32_t flags, uint32_t mariadb_flags);
struct bytes response_make(uint32_t flags, uint32_t mariadb_flags, const char *user);

/* A state that can be compared: equal for equal bytes fed, however they were split. */
struct snapshot {
    enum tracker_phase phase;
    enum tracker_opaque opaque;
    bool owed, transaction, boundary, quit, stream, between, parked, blocked, greeted;
    uint32_t thread_id;
    uint16_t flags;
    uint64_t unknown;
    size_t forwarded[2];
    size_t gtid_count, whole_count, request_count;
    char user[64], version[64], reader_uuid[40];
};

void snapshot_take(const struct player *p, struct snapshot *out_snapshot);
bool snapshot_is_equal(const struct snapshot *a, const struct snapshot *b);
/* snapshot_text - for messages; valid until the next call. */
const char *snapshot_text(const struct snapshot *s);

/* A string of bytes with its length, NUL bytes inside it included. */
#define BYTES(literal) (literal), sizeof(literal) - 1
