/* SPDX-License-Identifier: Apache-2.0 */
/* value.c - durations and addresses as people write them. */
#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

static const struct unit {
    const char *name;
    uint32_t ms;
} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 } }; /* "ms" before "m" */

/* One "10s" at |*s|, which is moved behind it. */
static int parse_part(const char **s, uint64_t *out_ms)
{
    uint64_t n = 0;
    const char *p = *s;
    if (!isdigit((unsigned char)*p)) return SLUICE_ERR_SYNTAX;
    for (; isdigit((unsigned char)*p); p++) {
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > UINT32_MAX) return SLUICE_ERR_SYNTAX;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].name);
        if (strncmp(p, units[i].name, len) != 0) continue;
        *out_ms = n * units[i].ms;
        *s = p + len;
        return 0;
    }
    return SLUICE_ERR_SYNTAX;
}

int config_parse_duration(const char *s, uint32_t *out_ms)
{
    uint64_t sum = 0;
    if (strcmp(s, "0") == 0) {
        *out_ms = 0;
        return 0;
    }
    do {
        uint64_t part = 0;
        int rv = parse_part(&s, &part);
        if (rv != 0) return rv;
        sum += part;
        if (sum > UINT32_MAX) return SLUICE_ERR_SYNTAX;
    } while (*s != '\0');
    *out_ms = (uint32_t)sum;
    return 0;
}

void config_print_duration(uint32_t ms, struct text *out)
{
    size_t i = ARRAY_LEN(units) - 1;
    while (i > 0 && ms % units[i].ms != 0)
        i--;
    if (ms == 0)
        text_puts(out, "0");
    else
        text_printf(out, "%u%s", ms / units[i].ms, units[i].name);
}

static int parse_port(const char *s, uint16_t *out)
{
    uint32_t n = 0;
    if (*s == '\0' || strlen(s) > 5) return SLUICE_ERR_SYNTAX;
    for (; *s != '\0'; s++) {
        if (!isdigit((unsigned char)*s)) return SLUICE_ERR_SYNTAX;
        n = n * 10 + (uint32_t)(*s - '0');
    }
    if (n < 1 || n > UINT16_MAX) return SLUICE_ERR_SYNTAX;
    *out = (uint16_t)n;
    return 0;
}

/* A name in lower case, into |out|; false when |host| is none. Digits and dots alone would be an IPv4 address that is wrong. */
static bool normal_name(const char *host, char out[254])
{
    size_t len = strlen(host);
    bool has_letter = false;
    if (len == 0 || len > 253 || host[0] == '-' || host[0] == '.') return false;
    for (size_t i = 0; i <= len; i++) {
        unsigned char c = (unsigned char)host[i];
        if (c != '\0' && (c >= 0x80 || (!isalnum(c) && strchr("-._", c) == NULL))) return false;
        has_letter = has_letter || (c != '\0' && isalpha(c));
        out[i] = (char)tolower(c);
    }
    return has_letter;
}

static int parse_host(const char *host, bool is_bracketed, char **out)
{
    unsigned char raw[sizeof(struct in6_addr)];
    char normal[254];
    static_assert(sizeof normal > INET6_ADDRSTRLEN, "an address fits where a name does");
    int family = is_bracketed ? AF_INET6 : AF_INET;
    if (inet_pton(family, host, raw) == 1)
        inet_ntop(family, raw, normal, sizeof normal);
    else if (is_bracketed || !normal_name(host, normal))
        return SLUICE_ERR_SYNTAX;
    *out = mem_strdup(normal);
    return *out == NULL ? SLUICE_ERR_NOMEM : 0;
}

int config_parse_address(const char *s, struct config_address *out)
{
    char host[254];
    uint16_t port = 0;
    bool is_bracketed = s[0] == '[';
    const char *end = is_bracketed ? strchr(s, ']') : strchr(s, ':');
    if (end == NULL) return SLUICE_ERR_SYNTAX;
    const char *colon = is_bracketed ? end + 1 : end;
    if (is_bracketed) s++;
    if (*colon != ':' || (size_t)(end - s) >= sizeof host) return SLUICE_ERR_SYNTAX;
    int rv = parse_port(colon + 1, &port);
    if (rv != 0) return rv;
    memcpy(host, s, (size_t)(end - s));
    host[end - s] = '\0';
    char *kept = NULL;
    rv = parse_host(host, is_bracketed, &kept);
    if (rv != 0) return rv;
    *out = (struct config_address){ .host = kept, .port = port };
    return 0;
}

void config_print_address(const struct config_address *address, struct text *out)
{
    bool is_v6 = strchr(address->host, ':') != NULL;
    text_printf(out, is_v6 ? "[%s]:%u" : "%s:%u", address->host, address->port);
}
