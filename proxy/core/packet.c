/* SPDX-License-Identifier: Apache-2.0 */
#include "core/packet.h"
#include <assert.h>
#include <string.h>
#include "core/error.h"

void packet_write_header(uint8_t out[PACKET_HEADER_LEN], uint32_t payload_len, uint8_t seq)
{
    assert(payload_len <= PACKET_PAYLOAD_LEN_MAX);
    out[0] = (uint8_t)(payload_len & 0xff);
    out[1] = (uint8_t)(payload_len >> 8 & 0xff);
    out[2] = (uint8_t)(payload_len >> 16 & 0xff);
    out[3] = seq;
}

int packet_read_lenenc(const uint8_t *p, size_t len, uint64_t *out_value, size_t *out_used)
{
    if (len == 0 || p[0] == 0xfb || p[0] == 0xff) return SLUICE_ERR_PROTOCOL;
    if (p[0] < 0xfb) {
        *out_value = p[0];
        *out_used = 1;
        return 0;
    }
    size_t width = p[0] == 0xfc ? 2 : p[0] == 0xfd ? 3 : 8;
    if (len - 1 < width) return SLUICE_ERR_PROTOCOL;
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)p[1 + i] << (8 * i);
    *out_value = value;
    *out_used = 1 + width;
    return 0;
}

/* At most |len_max| bytes of |s|, and no character of UTF-8 cut in two. */
static size_t text_cut(const char *s, size_t len_max)
{
    size_t len = strlen(s);
    if (len <= len_max) return len;
    len = len_max;
    while (len > 0 && ((uint8_t)s[len] & 0xc0) == 0x80)
        len--;
    return len;
}

size_t packet_build_error(uint8_t *buf, size_t room, uint8_t seq, uint16_t err, const char *sqlstate,
                          const char *message)
{
    assert(sqlstate == NULL || strlen(sqlstate) == 5);
    size_t fixed = PACKET_HEADER_LEN + 3 + (sqlstate == NULL ? 0 : 6);
    if (room < fixed) return 0;
    size_t message_len = text_cut(message, room - fixed < 511 ? room - fixed : 511);
    uint8_t *p = buf;
    packet_write_header(p, (uint32_t)(fixed - PACKET_HEADER_LEN + message_len), seq);
    p += PACKET_HEADER_LEN;
    *p++ = 0xff;
    *p++ = (uint8_t)(err & 0xff);
    *p++ = (uint8_t)(err >> 8);
    if (sqlstate != NULL) {
        *p++ = '#';
        memcpy(p, sqlstate, 5);
        p += 5;
    }
    memcpy(p, message, message_len);
    p += message_len;
    assert(p <= buf + room);
    return (size_t)(p - buf);
}

int packet_parse_greeting(const uint8_t *payload, size_t len, struct packet_greeting *out_greeting)
{
    struct packet_greeting g = { 0 };
    if (len < 1 || payload[0] != 10) return SLUICE_ERR_PROTOCOL;
    const uint8_t *end = memchr(payload + 1, '\0', len - 1);
    if (end == NULL) return SLUICE_ERR_PROTOCOL;
    size_t version_len = (size_t)(end - payload) - 1;
    memcpy(g.version, payload + 1, version_len < PACKET_VERSION_LEN_MAX ? version_len : PACKET_VERSION_LEN_MAX);

    /* Thread id 4, scramble 8, filler 1, then the flags: 2, charset 1, status 2, flags 2, scramble length 1, reserved 10. */
    size_t at = version_len + 2;
    if (len - at < 4 + 8 + 1 + 2) return SLUICE_ERR_PROTOCOL;
    g.thread_id = packet_u32(payload + at);
    g.thread_id_at = at;
    g.capabilities_low_at = at + 13;
    g.capabilities = packet_u16(payload + g.capabilities_low_at);
    size_t rest = len - g.capabilities_low_at - 2;
    if (rest >= 5) {
        g.status = packet_u16(payload + g.capabilities_low_at + 3);
        g.capabilities_high_at = g.capabilities_low_at + 5;
        g.capabilities |= (uint32_t)packet_u16(payload + g.capabilities_high_at) << 16;
    }
    if (rest >= 16 && (g.capabilities & PACKET_CLIENT_LONG_PASSWORD) == 0)
        g.mariadb_capabilities = packet_u32(payload + g.capabilities_high_at + 2 + 1 + 6);
    *out_greeting = g;
    return 0;
}

uint16_t packet_error_errno(const uint8_t *payload, size_t len)
{
    return len >= 3 && payload[0] == 0xff ? packet_u16(payload + 1) : 0;
}
