/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/route.h"
#include <string.h>

enum { SEGMENTS_MAX = 4 };

/* Segments in front of which stands '/': literal words, ":id" a source's id, ":n" the number of a switch. */
struct entry {
    const char *segments[SEGMENTS_MAX + 1];
    enum admin_route_kind kind;
    enum admin_verb verb;
    bool is_post;
};

static const struct entry entries[] = {
    { { "v1", "sources" }, ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCES, false },
    { { "v1", "sources", ":id" }, ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCE, false },
    { { "v1", "sources", ":id", "check" }, ADMIN_ROUTE_CALL, ADMIN_VERB_CHECK, true },
    { { "v1", "sources", ":id", "switch" }, ADMIN_ROUTE_CALL, ADMIN_VERB_SWITCH, true },
    { { "v1", "sources", ":id", "readdress" }, ADMIN_ROUTE_CALL, ADMIN_VERB_READDRESS, true },
    { { "v1", "sources", ":id", "abort" }, ADMIN_ROUTE_CALL, ADMIN_VERB_ABORT, true },
    { { "v1", "sources", ":id", "adopt" }, ADMIN_ROUTE_CALL, ADMIN_VERB_ADOPT, true },
    { { "v1", "sources", ":id", "repin" }, ADMIN_ROUTE_CALL, ADMIN_VERB_REPIN, true },
    { { "v1", "sources", ":id", "hold" }, ADMIN_ROUTE_CALL, ADMIN_VERB_HOLD, true },
    { { "v1", "sources", ":id", "release" }, ADMIN_ROUTE_CALL, ADMIN_VERB_RELEASE, true },
    { { "v1", "sources", ":id", "history" }, ADMIN_ROUTE_CALL, ADMIN_VERB_HISTORY, false },
    { { "v1", "switches", ":n" }, ADMIN_ROUTE_CALL, ADMIN_VERB_SWITCH_GET, false },
    { { "v1", "switches", ":n", "events" }, ADMIN_ROUTE_EVENTS, ADMIN_VERB_SWITCH_GET, false },
    { { "metrics" }, ADMIN_ROUTE_METRICS, ADMIN_VERB_SOURCES, false },
    { { "healthz" }, ADMIN_ROUTE_HEALTHZ, ADMIN_VERB_READY, false },
    { { "readyz" }, ADMIN_ROUTE_CALL, ADMIN_VERB_READY, false },
};

static const char *const verb_names[] = {
    [ADMIN_VERB_SOURCES] = "sources", [ADMIN_VERB_SOURCE] = "source",       [ADMIN_VERB_CHECK] = "check",
    [ADMIN_VERB_SWITCH] = "switch",   [ADMIN_VERB_READDRESS] = "readdress", [ADMIN_VERB_ABORT] = "abort",
    [ADMIN_VERB_ADOPT] = "adopt",     [ADMIN_VERB_REPIN] = "repin",         [ADMIN_VERB_HOLD] = "hold",
    [ADMIN_VERB_RELEASE] = "release", [ADMIN_VERB_HISTORY] = "history",     [ADMIN_VERB_SWITCH_GET] = "get",
    [ADMIN_VERB_READY] = "ready",
};
_Static_assert(ARRAY_LEN(verb_names) == ADMIN_VERB_COUNT, "every verb has a name");

const char *admin_verb_name(enum admin_verb verb)
{
    return verb_names[verb];
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Percent-decode |len| bytes; false when they are no text of 1..255 bytes. Whether it is UTF-8 is seen by jansson. */
static bool decode(const char *s, size_t len, char out[static ADMIN_SOURCE_ID_BYTES_MAX + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            if (len - i < 3 || hex_digit(s[i + 1]) < 0 || hex_digit(s[i + 2]) < 0) return false;
            c = (char)(hex_digit(s[i + 1]) * 16 + hex_digit(s[i + 2]));
            i += 2;
        }
        if (c == '\0' || n == ADMIN_SOURCE_ID_BYTES_MAX) return false;
        out[n++] = c;
    }
    out[n] = '\0';
    json_t *utf8 = json_string(out);
    bool is_text = n > 0 && utf8 != NULL;
    json_decref(utf8);
    return is_text;
}

/* A switch number is decimal, 1.. 2^63-1, without sign or leading zero. */
static bool parse_number(const char *s, size_t len, uint64_t *out)
{
    uint64_t n = 0;
    if (len == 0 || len > 19 || s[0] == '0') return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        n = n * 10 + (uint64_t)(s[i] - '0');
    }
    if (n > INT64_MAX) return false;
    *out = n;
    return true;
}

/* 0 when |path| has the shape of |e|, else 404, or 400 when only a name in it is malformed. */
static int match(const struct entry *e, const char *path, struct admin_route *route)
{
    int status = 0;
    for (size_t i = 0; e->segments[i] != NULL; i++) {
        if (*path++ != '/') return 404;
        size_t len = strcspn(path, "/");
        const char *want = e->segments[i];
        if (strcmp(want, ":id") == 0) {
            if (!decode(path, len, route->source_id)) status = 400;
        } else if (strcmp(want, ":n") == 0) {
            if (!parse_number(path, len, &route->switch_number)) status = 400;
        } else if (strlen(want) != len || memcmp(want, path, len) != 0) {
            return 404;
        }
        path += len;
    }
    return *path == '\0' ? status : 404;
}

int admin_route_find(const char *method, const char *path, struct admin_route *out_route, const char **out_allow)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        const struct entry *e = &entries[i];
        struct admin_route route = { .kind = e->kind, .verb = e->verb, .is_post = e->is_post };
        int status = match(e, path, &route);
        if (status == 404) continue;
        bool is_read = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
        bool is_fit = e->is_post ? strcmp(method, "POST") == 0 : is_read;
        if (!is_fit) {
            *out_allow = e->is_post ? "POST" : "GET, HEAD";
            return 405;
        }
        if (status == 0) *out_route = route;
        return status;
    }
    return 404;
}
