/* SPDX-License-Identifier: Apache-2.0 */
/* packet.h - MySQL's packets as plain bytes: numbers, headers, the error packet, the greeting; and the protocol's constants. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

enum {
    PACKET_HEADER_LEN = 4,             /* payload length (3 bytes, little endian) and sequence number */
    PACKET_PAYLOAD_LEN_MAX = 0xffffff, /* a payload of this length is continued in the next packet */
    PACKET_ERROR_LEN_MAX = 4 + 1 + 2 + 6 + 511,
    PACKET_VERSION_LEN_MAX = 127, /* longest server version that is kept */
};

/* Capability flags that matter to a relay (protocol_common_*.h of MySQL). */
enum packet_capability {
    PACKET_CLIENT_LONG_PASSWORD = 1 << 0, /* not set by MariaDB's greeting: extended flags follow there */
    PACKET_CLIENT_CONNECT_WITH_DB = 1 << 3,
    PACKET_CLIENT_COMPRESS = 1 << 5,
    PACKET_CLIENT_LOCAL_FILES = 1 << 7,
    PACKET_CLIENT_PROTOCOL_41 = 1 << 9,
    PACKET_CLIENT_SSL = 1 << 11,
    PACKET_CLIENT_SECURE_CONNECTION = 1 << 15,
    PACKET_CLIENT_PLUGIN_AUTH = 1 << 19,
    PACKET_CLIENT_SESSION_TRACK = 1 << 23,
    PACKET_CLIENT_DEPRECATE_EOF = 1 << 24,
    PACKET_CLIENT_OPTIONAL_RESULTSET_METADATA = 1 << 25,
    PACKET_CLIENT_ZSTD_COMPRESSION = 1 << 26,
    PACKET_CLIENT_QUERY_ATTRIBUTES = 1 << 27,
};

/* MariaDB's extended flags: the last four of the greeting's ten reserved bytes. */
enum packet_mariadb_capability {
    PACKET_MARIADB_PROGRESS = 1 << 0,
    PACKET_MARIADB_STMT_BULK = 1 << 2,
    PACKET_MARIADB_CACHE_METADATA = 1 << 4,
};

/* Server status flags, as OK and EOF packets carry them. */
enum packet_status {
    PACKET_STATUS_IN_TRANS = 0x0001,
    PACKET_STATUS_AUTOCOMMIT = 0x0002,
    PACKET_STATUS_MORE_RESULTS = 0x0008,
    PACKET_STATUS_CURSOR_EXISTS = 0x0040,
    PACKET_STATUS_LAST_ROW_SENT = 0x0080,
    PACKET_STATUS_IN_TRANS_READONLY = 0x2000,
    PACKET_STATUS_SESSION_STATE_CHANGED = 0x4000,
};

/* The first byte of a client's packet in the command phase. */
enum packet_command {
    PACKET_COM_SLEEP = 0x00,
    PACKET_COM_QUIT = 0x01,
    PACKET_COM_INIT_DB = 0x02,
    PACKET_COM_QUERY = 0x03,
    PACKET_COM_FIELD_LIST = 0x04,
    PACKET_COM_CREATE_DB = 0x05,
    PACKET_COM_DROP_DB = 0x06,
    PACKET_COM_REFRESH = 0x07,
    PACKET_COM_SHUTDOWN = 0x08,
    PACKET_COM_STATISTICS = 0x09,
    PACKET_COM_PROCESS_INFO = 0x0a,
    PACKET_COM_CONNECT = 0x0b,
    PACKET_COM_PROCESS_KILL = 0x0c,
    PACKET_COM_DEBUG = 0x0d,
    PACKET_COM_PING = 0x0e,
    PACKET_COM_TIME = 0x0f,
    PACKET_COM_DELAYED_INSERT = 0x10,
    PACKET_COM_CHANGE_USER = 0x11,
    PACKET_COM_BINLOG_DUMP = 0x12,
    PACKET_COM_TABLE_DUMP = 0x13,
    PACKET_COM_CONNECT_OUT = 0x14,
    PACKET_COM_REGISTER_SLAVE = 0x15,
    PACKET_COM_STMT_PREPARE = 0x16,
    PACKET_COM_STMT_EXECUTE = 0x17,
    PACKET_COM_STMT_SEND_LONG_DATA = 0x18,
    PACKET_COM_STMT_CLOSE = 0x19,
    PACKET_COM_STMT_RESET = 0x1a,
    PACKET_COM_SET_OPTION = 0x1b,
    PACKET_COM_STMT_FETCH = 0x1c,
    PACKET_COM_DAEMON = 0x1d,
    PACKET_COM_BINLOG_DUMP_GTID = 0x1e,
    PACKET_COM_RESET_CONNECTION = 0x1f,
    PACKET_COM_SEMI_SYNC_ACK = 0xef,     /* not a command: what a semi-sync replica sends on its stream */
    PACKET_COM_STMT_BULK_EXECUTE = 0xfa, /* MariaDB */
};

/* packet_u16, packet_u24, packet_u32, packet_u64 - read a little-endian number. */
static inline uint16_t packet_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t packet_u24(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static inline uint32_t packet_u32(const uint8_t *p)
{
    return packet_u24(p) | (uint32_t)p[3] << 24;
}

static inline uint64_t packet_u64(const uint8_t *p)
{
    return (uint64_t)packet_u32(p) | (uint64_t)packet_u32(p + 4) << 32;
}

/* packet_write_header - put a packet's header at |out|. |payload_len| is at most PACKET_PAYLOAD_LEN_MAX. */
void packet_write_header(uint8_t out[PACKET_HEADER_LEN], uint32_t payload_len, uint8_t seq);

/*
 * packet_read_lenenc - read a length-encoded number at the front of |len| bytes.
 *
 * |out_value|  the number.
 * |out_used|   how many bytes it took, 1..9.
 *
 * Returns 0, or SLUICE_ERR_PROTOCOL when the bytes end before it does, or its first byte is 0xfb (NULL) or 0xff.
 */
SLUICE_MUSTCHECK int packet_read_lenenc(const uint8_t *p, size_t len, uint64_t *out_value, size_t *out_used);

/*
 * packet_build_error - write a whole ERR packet, header included.
 *
 * |buf|, |room|  where it goes; PACKET_ERROR_LEN_MAX bytes are always enough. With less room the message is cut short.
 * |seq|          its sequence number: 0 in place of a greeting, else one more than that of the packet it answers.
 * |err|          MySQL's error number.
 * |sqlstate|     five characters; NULL leaves the "#sqlstate" part out, as servers do before a client has told its
 *                capabilities, which is everything before its handshake response was read.
 * |message|      UTF-8; cut at 511 bytes, never inside a character.
 *
 * Returns the packet's length in bytes, or 0 when |room| is too small for the packet without its message.
 */
SLUICE_MUSTCHECK size_t packet_build_error(uint8_t *buf, size_t room, uint8_t seq, uint16_t err, const char *sqlstate,
                                           const char *message);

/* A server's first packet (Protocol::HandshakeV10). */
struct packet_greeting {
    char version[PACKET_VERSION_LEN_MAX + 1]; /* cut when longer */
    uint32_t thread_id;
    size_t thread_id_at;           /* its offset in the payload; 4 bytes */
    uint32_t capabilities;         /* both words; enum packet_capability */
    uint32_t mariadb_capabilities; /* 0 when the server is no MariaDB */
    uint16_t status;
    size_t capabilities_low_at;  /* offset in the payload of the lower two bytes of the flags */
    size_t capabilities_high_at; /* offset of the upper two; 0 when the greeting is too old to have them */
};

/*
 * packet_parse_greeting - read a greeting's payload (without the packet's header).
 *
 * |payload|, |len|  the packet, or as much of its front as reaches over the flags; what follows them is not looked at.
 * |out_greeting|    plain values, nothing to free.
 *
 * Returns 0, or SLUICE_ERR_PROTOCOL when it is none: other protocol version than 10, no end of the version, too short.
 */
SLUICE_MUSTCHECK int packet_parse_greeting(const uint8_t *payload, size_t len, struct packet_greeting *out_greeting);

/* packet_error_errno - the number in an ERR packet's payload, 0 when it is none (or too short to tell). */
uint16_t packet_error_errno(const uint8_t *payload, size_t len);
