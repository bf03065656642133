/* SPDX-License-Identifier: Apache-2.0 */
#include "core/network.h"
#include <arpa/inet.h>
#include <string.h>
#include "core/error.h"

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static unsigned bits_of(enum network_family family)
{
    return family == NETWORK_INET ? 32 : 128;
}

void network_address_set(enum network_family family, const uint8_t *bytes, uint16_t port, struct network_address *out)
{
    *out = (struct network_address){ .family = family, .port = port };
    if (family == NETWORK_INET6 && memcmp(bytes, mapped_prefix, sizeof mapped_prefix) == 0) {
        out->family = NETWORK_INET;
        memcpy(out->bytes, bytes + sizeof mapped_prefix, 4);
    } else {
        memcpy(out->bytes, bytes, bits_of(family) / 8);
    }
}

int network_address_parse(const char *text, uint16_t port, struct network_address *out)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1) {
        network_address_set(NETWORK_INET, bytes, port, out);
        return 0;
    }
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        network_address_set(NETWORK_INET6, bytes, port, out);
        return 0;
    }
    return SLUICE_ERR_SYNTAX;
}

void network_address_print(const struct network_address *address, char out[NETWORK_TEXT_LEN + 1])
{
    out[0] = '\0';
    if (address->family == NETWORK_INET) inet_ntop(AF_INET, address->bytes, out, NETWORK_TEXT_LEN + 1);
    if (address->family == NETWORK_INET6) inet_ntop(AF_INET6, address->bytes, out, NETWORK_TEXT_LEN + 1);
}

bool network_address_same(const struct network_address *a, const struct network_address *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool network_address_is_loopback(const struct network_address *address)
{
    static const uint8_t inet[4] = { 127, 0, 0, 1 }, inet6[16] = { [15] = 1 };
    if (address->family == NETWORK_INET) return memcmp(address->bytes, inet, sizeof inet) == 0;
    return address->family == NETWORK_INET6 && memcmp(address->bytes, inet6, sizeof inet6) == 0;
}

static bool is_same_front(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0) return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

/* Bits behind the prefix would be ignored, and were hardly meant so: a network that is written wrongly lets in others than it seems. */
static bool has_bits_behind(const struct network *n)
{
    uint8_t masked[16] = { 0 };
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    memcpy(masked, n->base.bytes, whole);
    if (rest != 0) masked[whole] = (uint8_t)(n->base.bytes[whole] & (0xff00 >> rest));
    return memcmp(masked, n->base.bytes, sizeof masked) != 0;
}

/* Digits alone, without a leading zero; -1 when it is none, or more than three of them. */
static int parse_bits(const char *text)
{
    int n = 0;
    size_t len = strlen(text);
    if (len < 1 || len > 3 || (text[0] == '0' && len > 1)) return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return -1;
        n = n * 10 + (*text - '0');
    }
    return n;
}

static int refuse(const char **out_why, const char *why)
{
    *out_why = why;
    return SLUICE_ERR_SYNTAX;
}

int network_parse(const char *text, struct network *out, const char **out_why)
{
    char host[NETWORK_TEXT_LEN + 1];
    struct network n;
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (len >= sizeof host) return refuse(out_why, "is no network; write one as 10.0.0.0/8 or \"fd00::/8\"");
    memcpy(host, text, len);
    host[len] = '\0';
    if (network_address_parse(host, 0, &n.base) != 0)
        return refuse(out_why, "is no network; write one as 10.0.0.0/8 or \"fd00::/8\"");
    if (strchr(host, ':') != NULL && n.base.family == NETWORK_INET)
        return refuse(out_why, "is an IPv4 network inside IPv6; write it as IPv4");
    int bits = slash == NULL ? (int)bits_of(n.base.family) : parse_bits(slash + 1);
    if (bits < 0 || bits > (int)bits_of(n.base.family))
        return refuse(out_why, n.base.family == NETWORK_INET ? "has no such prefix; it is /0 to /32"
                                                             : "has no such prefix; it is /0 to /128");
    n.bits = (unsigned)bits;
    if (has_bits_behind(&n))
        return refuse(out_why, "has bits behind its prefix; clear them, or write the prefix that is meant");
    *out = n;
    return 0;
}

bool network_holds(const struct network *network, const struct network_address *address)
{
    return network->base.family == address->family && address->family != NETWORK_NONE &&
           is_same_front(network->base.bytes, address->bytes, network->bits);
}
