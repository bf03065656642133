/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proxy_header.h"
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"

/* Of version 2: its signature, and what the bytes behind it mean (section 2.2). */
static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
enum { V2_VERSION = 0x20, V2_LOCAL = 0, V2_PROXY = 1 };
enum { V2_UNSPEC = 0, V2_INET = 1, V2_INET6 = 2, V2_UNIX = 3, V2_STREAM = 1, V2_DGRAM = 2 };
enum { INET_LEN = 12, INET6_LEN = 36, UNIX_LEN = 216, TLV_FRONT_LEN = 3 };

static const char v1_front[] = "PROXY ";
enum { V1_FRONT_LEN = sizeof v1_front - 1, V1_LEN_MIN = sizeof "PROXY UNKNOWN\r\n" - 1 };

const char *proxy_header_fault_text(enum proxy_header_fault fault)
{
    switch (fault) {
#define X(name, text)                                                                                                  \
    case name: return text;
        PROXY_HEADER_FAULTS(X)
#undef X
    }
    return "";
}

static bool is_v1(const struct proxy_header_reader *r)
{
    return r->len > 0 && r->bytes[0] == (uint8_t)v1_front[0];
}

size_t proxy_header_want(const struct proxy_header_reader *r)
{
    if (r->is_whole || r->fault != PROXY_HEADER_FINE) return 0;
    if (r->len < sizeof signature) return sizeof signature - r->len; /* no header is shorter */
    if (!is_v1(r)) return (r->len_all == 0 ? PROXY_HEADER_V2_FRONT_LEN : r->len_all) - r->len;
    if (r->len < V1_LEN_MIN) return V1_LEN_MIN - r->len;
    if (r->len == PROXY_HEADER_V1_LEN_MAX - 1 || r->bytes[r->len - 1] == '\r') return 1;
    return 2; /* CR LF at least */
}

/* ---- version 1 (section 2.1) ---- */

/* The word at |*at|, which ends at a space or at |end|; |*at| is moved behind the space. NULL when there is none. */
static const char *next_word(char **at, const char *end)
{
    char *word = *at;
    if (word > end) return NULL;
    char *space = memchr(word, ' ', (size_t)(end - word));
    char *stop = space == NULL ? *at + (end - word) : space;
    *stop = '\0';
    *at = stop + 1;
    return word;
}

static bool parse_port(const char *word, uint16_t *out)
{
    unsigned n = 0;
    size_t len = strlen(word);
    if (len < 1 || len > 5 || (word[0] == '0' && len > 1)) return false;
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9') return false;
        n = n * 10 + (unsigned)(*word - '0');
    }
    *out = (uint16_t)n;
    return n <= UINT16_MAX;
}

static bool parse_host(bool is_v6, const char *word, struct network_address *out)
{
    uint8_t bytes[16];
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, word, bytes) != 1) return false;
    network_address_set(is_v6 ? NETWORK_INET6 : NETWORK_INET, bytes, 0, out);
    return true;
}

static enum proxy_header_fault parse_addresses(bool is_v6, char *at, const char *end, struct proxy_header *out)
{
    struct network_address source, destination;
    const char *words[4];
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        words[i] = next_word(&at, end);
        if (words[i] == NULL || *words[i] == '\0') return PROXY_HEADER_V1_SHAPE;
    }
    if (at <= end) return PROXY_HEADER_V1_SHAPE;
    if (!parse_host(is_v6, words[0], &source) || !parse_host(is_v6, words[1], &destination))
        return PROXY_HEADER_V1_ADDRESS;
    if (!parse_port(words[2], &source.port) || !parse_port(words[3], &destination.port)) return PROXY_HEADER_V1_PORT;
    out->source = source;
    out->destination = destination;
    return PROXY_HEADER_FINE;
}

/* The line is whole. A byte of zero in it would hide what stands behind it. */
static enum proxy_header_fault parse_line(const struct proxy_header_reader *r, struct proxy_header *out)
{
    char line[PROXY_HEADER_V1_LEN_MAX + 1];
    size_t len = r->len - 2;
    *out = (struct proxy_header){ .version = 1 };
    memcpy(line, r->bytes, len);
    line[len] = '\0';
    char *at = line + V1_FRONT_LEN;
    static const char unknown[] = "UNKNOWN";
    size_t word_len = sizeof unknown - 1;
    if (len >= V1_FRONT_LEN + word_len && memcmp(at, unknown, word_len) == 0 &&
        (at[word_len] == ' ' || len == V1_FRONT_LEN + word_len))
        return PROXY_HEADER_FINE; /* whatever follows is ignored */
    if (memchr(line, '\0', len) != NULL) return PROXY_HEADER_V1_SHAPE;
    const char *protocol = next_word(&at, line + len);
    if (protocol == NULL) return PROXY_HEADER_V1_PROTOCOL;
    if (strcmp(protocol, "TCP4") == 0) return parse_addresses(false, at, line + len, out);
    if (strcmp(protocol, "TCP6") == 0) return parse_addresses(true, at, line + len, out);
    return PROXY_HEADER_V1_PROTOCOL;
}

static enum proxy_header_fault step_v1(struct proxy_header_reader *r)
{
    uint8_t byte = r->bytes[r->len - 1], before = r->len > 1 ? r->bytes[r->len - 2] : 0;
    if (r->len <= V1_FRONT_LEN) return byte == (uint8_t)v1_front[r->len - 1] ? PROXY_HEADER_FINE : PROXY_HEADER_NONE;
    if ((byte == '\n') != (before == '\r')) return PROXY_HEADER_V1_END;
    if (byte == '\n') {
        r->is_whole = true;
        return parse_line(r, &r->header);
    }
    return r->len == PROXY_HEADER_V1_LEN_MAX ? PROXY_HEADER_V1_LONG : PROXY_HEADER_FINE;
}

/* ---- version 2 (section 2.2) ---- */

static size_t addresses_len(unsigned family)
{
    static const size_t lens[] = {
        [V2_UNSPEC] = 0, [V2_INET] = INET_LEN, [V2_INET6] = INET6_LEN, [V2_UNIX] = UNIX_LEN
    };
    return lens[family];
}

/*
 * The 16 bytes are there: how long is it, and where do TLVs begin? Of LOCAL everything behind them is to be discarded unseen, the
 * family included; so too of addresses that nobody knows the form of.
 */
static enum proxy_header_fault parse_front(struct proxy_header_reader *r)
{
    const uint8_t *b = r->bytes;
    unsigned command = b[12] & 0x0f, family = b[13] >> 4, protocol = b[13] & 0x0f;
    size_t len = (size_t)b[14] << 8 | b[15];
    if ((b[12] & 0xf0) != V2_VERSION) return PROXY_HEADER_V2_VERSION;
    if (command != V2_LOCAL && command != V2_PROXY) return PROXY_HEADER_V2_COMMAND;
    if (command == V2_PROXY && (family > V2_UNIX || protocol > V2_DGRAM)) return PROXY_HEADER_V2_FAMILY;
    if (len > PROXY_HEADER_V2_LEN_MAX - PROXY_HEADER_V2_FRONT_LEN) return PROXY_HEADER_V2_LONG;
    bool is_known = command == V2_PROXY && family != V2_UNSPEC && protocol != V2_UNSPEC;
    if (is_known && len < addresses_len(family)) return PROXY_HEADER_V2_SHORT;
    r->len_all = PROXY_HEADER_V2_FRONT_LEN + len;
    r->tlvs_at = is_known ? PROXY_HEADER_V2_FRONT_LEN + addresses_len(family) : r->len_all;
    return PROXY_HEADER_FINE;
}

/* One byte of the TLVs; |left| bytes of the header are behind it. */
static enum proxy_header_fault step_tlv(struct proxy_header_reader *r, uint8_t byte, size_t left)
{
    if (r->tlv_have == TLV_FRONT_LEN && r->tlv_left > 0) {
        r->tlv_left--;
    } else {
        if (r->tlv_have == TLV_FRONT_LEN) r->tlv_have = 0;
        r->tlv_len[r->tlv_have++] = byte;
        if (r->tlv_have == TLV_FRONT_LEN) r->tlv_left = (size_t)r->tlv_len[1] << 8 | r->tlv_len[2];
    }
    size_t needed = r->tlv_have < TLV_FRONT_LEN ? TLV_FRONT_LEN - r->tlv_have : r->tlv_left;
    return needed > left ? PROXY_HEADER_V2_TLV : PROXY_HEADER_FINE;
}

static void take_v2(const struct proxy_header_reader *r, struct proxy_header *out)
{
    const uint8_t *b = r->bytes, *at = b + PROXY_HEADER_V2_FRONT_LEN;
    bool is_v6 = b[13] == (V2_INET6 << 4 | V2_STREAM);
    size_t size = is_v6 ? 16 : 4;
    const uint8_t *ports = at + 2 * size;
    *out = (struct proxy_header){ .version = 2, .is_local = (b[12] & 0x0f) == V2_LOCAL };
    if (out->is_local || (!is_v6 && b[13] != (V2_INET << 4 | V2_STREAM))) return;
    enum network_family family = is_v6 ? NETWORK_INET6 : NETWORK_INET;
    network_address_set(family, at, (uint16_t)(ports[0] << 8 | ports[1]), &out->source);
    network_address_set(family, at + size, (uint16_t)(ports[2] << 8 | ports[3]), &out->destination);
}

static enum proxy_header_fault step_v2(struct proxy_header_reader *r, uint8_t byte)
{
    enum proxy_header_fault fault = PROXY_HEADER_FINE;
    if (r->len <= sizeof signature) return byte == signature[r->len - 1] ? PROXY_HEADER_FINE : PROXY_HEADER_NONE;
    if (r->len < PROXY_HEADER_V2_FRONT_LEN) return PROXY_HEADER_FINE;
    if (r->len == PROXY_HEADER_V2_FRONT_LEN) {
        fault = parse_front(r);
    } else if (r->len > r->tlvs_at) {
        fault = step_tlv(r, byte, r->len_all - r->len);
    }
    if (fault == PROXY_HEADER_FINE && r->len == r->len_all) {
        r->is_whole = true;
        take_v2(r, &r->header);
    }
    return fault;
}

int proxy_header_feed(struct proxy_header_reader *r, const uint8_t *bytes, size_t len, size_t *out_used)
{
    size_t used = 0;
    while (used < len && !r->is_whole && r->fault == PROXY_HEADER_FINE) {
        uint8_t byte = bytes[used++];
        if (r->len < sizeof r->bytes) r->bytes[r->len] = byte;
        r->len++;
        r->fault = is_v1(r) ? step_v1(r) : step_v2(r, byte);
    }
    *out_used = used;
    if (r->fault == PROXY_HEADER_FINE) return 0;
    r->is_whole = false;
    return SLUICE_ERR_PROXY_HEADER;
}

/* ---- writing ---- */

static void to_inet6(const struct network_address *a, uint8_t out[16])
{
    if (a->family == NETWORK_INET6) {
        memcpy(out, a->bytes, 16);
        return;
    }
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, a->bytes, 4);
}

static size_t write_v1(bool is_v6, const struct network_address *source, const struct network_address *destination,
                       uint8_t *out)
{
    char hosts[2][INET6_ADDRSTRLEN], line[PROXY_HEADER_V1_LEN_MAX + 1];
    const struct network_address *ends[2] = { source, destination };
    for (int i = 0; i < 2; i++) {
        uint8_t bytes[16];
        if (is_v6) to_inet6(ends[i], bytes);
        inet_ntop(is_v6 ? AF_INET6 : AF_INET, is_v6 ? bytes : ends[i]->bytes, hosts[i], sizeof hosts[i]);
    }
    int len = snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n", is_v6 ? "TCP6" : "TCP4", hosts[0], hosts[1],
                       source->port, destination->port);
    assert(len > 0 && (size_t)len < sizeof line);
    memcpy(out, line, (size_t)len);
    return (size_t)len;
}

static void put_port(uint8_t *out, uint16_t port)
{
    out[0] = (uint8_t)(port >> 8);
    out[1] = (uint8_t)port;
}

static size_t write_v2(bool is_v6, const struct network_address *source, const struct network_address *destination,
                       uint8_t *out)
{
    uint8_t *at = out + PROXY_HEADER_V2_FRONT_LEN;
    size_t size = is_v6 ? 16 : 4;
    if (is_v6) {
        to_inet6(source, at);
        to_inet6(destination, at + size);
    } else {
        memcpy(at, source->bytes, size);
        memcpy(at + size, destination->bytes, size);
    }
    put_port(at + 2 * size, source->port);
    put_port(at + 2 * size + 2, destination->port);
    out[12] = V2_VERSION | V2_PROXY;
    out[13] = (uint8_t)((is_v6 ? V2_INET6 : V2_INET) << 4 | V2_STREAM);
    out[14] = 0;
    out[15] = is_v6 ? INET6_LEN : INET_LEN;
    return PROXY_HEADER_V2_FRONT_LEN + out[15];
}

size_t proxy_header_write(unsigned version, const struct network_address *source,
                          const struct network_address *destination, uint8_t out[PROXY_HEADER_WRITTEN_LEN_MAX])
{
    static const char unknown[] = "PROXY UNKNOWN\r\n";
    bool is_told = source->family != NETWORK_NONE && destination->family != NETWORK_NONE;
    bool is_v6 = source->family == NETWORK_INET6 || destination->family == NETWORK_INET6;
    assert(version == 1 || version == 2);
    if (version == 1) {
        if (is_told) return write_v1(is_v6, source, destination, out);
        memcpy(out, unknown, sizeof unknown - 1);
        return sizeof unknown - 1;
    }
    memset(out, 0, PROXY_HEADER_V2_FRONT_LEN);
    memcpy(out, signature, sizeof signature);
    if (is_told) return write_v2(is_v6, source, destination, out);
    out[12] = V2_VERSION | V2_LOCAL;
    return PROXY_HEADER_V2_FRONT_LEN;
}
