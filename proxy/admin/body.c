/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/body.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"

enum value_kind { VALUE_NAME, VALUE_TEXT, VALUE_BOOL, VALUE_DURATION, VALUE_TEXTS, VALUE_LIST };

struct known_key {
    const char *key;
    enum value_kind kind;
    bool is_required;
};

static const struct known_key switch_keys[] = {
    { "to", VALUE_NAME, true },
    { "wait-catchup", VALUE_DURATION, false },
    { "old-is-dead", VALUE_BOOL, false },
    { "accept-loss", VALUE_TEXT, false },
    { "accept-errant", VALUE_TEXTS, false },
    { "gtid-s", VALUE_TEXT, false },
    { "waive", VALUE_TEXTS, false },
    { NULL, VALUE_TEXT, false },
};
static const struct known_key readdress_keys[] = {
    { "source-file", VALUE_NAME, true },
    { "task-files", VALUE_LIST, true },
    { "to", VALUE_NAME, false },
    { "dry-run", VALUE_BOOL, false },
    { "resume", VALUE_BOOL, false },
    { "undo", VALUE_BOOL, false },
    { "wait-catchup", VALUE_DURATION, false },
    { "accept-loss", VALUE_TEXT, false },
    { "accept-errant", VALUE_TEXTS, false },
    { NULL, VALUE_TEXT, false },
};
static const struct known_key backend_keys[] = { { "backend", VALUE_NAME, true }, { NULL, VALUE_TEXT, false } };
static const struct known_key no_keys[] = { { NULL, VALUE_TEXT, false } };

static const struct known_key *keys_of(enum admin_verb verb)
{
    switch (verb) {
    case ADMIN_VERB_CHECK:
    case ADMIN_VERB_SWITCH: return switch_keys;
    case ADMIN_VERB_READDRESS: return readdress_keys;
    case ADMIN_VERB_ADOPT:
    case ADMIN_VERB_REPIN: return backend_keys;
    case ADMIN_VERB_SOURCES:
    case ADMIN_VERB_SOURCE:
    case ADMIN_VERB_ABORT:
    case ADMIN_VERB_HOLD:
    case ADMIN_VERB_RELEASE:
    case ADMIN_VERB_HISTORY:
    case ADMIN_VERB_SWITCH_GET:
    case ADMIN_VERB_READY:
    case ADMIN_VERB_COUNT: break;
    }
    return no_keys;
}

int admin_duration_parse(const char *s, uint32_t *out_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    uint64_t total = 0;
    if (strcmp(s, "0") == 0) {
        *out_ms = 0;
        return 0;
    }
    do {
        size_t digits = strspn(s, "0123456789");
        if (digits == 0 || digits > 9) return SLUICE_ERR_SYNTAX;
        uint64_t n = 0;
        for (size_t i = 0; i < digits; i++)
            n = n * 10 + (uint64_t)(s[i] - '0');
        s += digits;
        size_t letters = strcspn(s, "0123456789");
        size_t u = 0;
        while (u < ARRAY_LEN(units) && (strlen(units[u].unit) != letters || memcmp(units[u].unit, s, letters) != 0))
            u++;
        if (u == ARRAY_LEN(units)) return SLUICE_ERR_SYNTAX;
        total += n * units[u].ms;
        if (total > ADMIN_WAIT_MS_MAX) return SLUICE_ERR_SYNTAX;
        s += letters;
    } while (*s != '\0');
    *out_ms = (uint32_t)total;
    return 0;
}

static const char *duration_take(json_t *value, json_t **out)
{
    uint32_t ms = 0;
    if (json_is_integer(value)) {
        json_int_t n = json_integer_value(value);
        if (n < 0 || n > ADMIN_WAIT_MS_MAX) return "is not between 0 and 86400000 milliseconds";
        ms = (uint32_t)n;
    } else if (!json_is_string(value)) {
        return "is neither a duration like \"10s\" nor a whole number of milliseconds";
    } else if (admin_duration_parse(json_string_value(value), &ms) != 0) {
        return "is no duration like \"500ms\", \"10s\", \"1m30s\" or \"0\" up to 24h";
    }
    *out = json_integer(ms);
    return NULL;
}

/* Strings, maybe none. */
static const char *list_take(json_t *value, json_t **out)
{
    if (!json_is_array(value)) return "is not a list of strings";
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i))) return "is a list that holds something else than strings";
    }
    *out = json_incref(value);
    return NULL;
}

static const char *texts_take(json_t *value, json_t **out)
{
    if (json_is_string(value)) {
        *out = json_pack("[O]", value);
        return NULL;
    }
    if (!json_is_array(value) || json_array_size(value) == 0) return "is neither a string nor a list of strings";
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i))) return "is a list that holds something else than strings";
    }
    *out = json_incref(value);
    return NULL;
}

/* The checked value as a new reference in |*out| (NULL: memory ran out), or what is wrong with it. */
static const char *value_take(enum value_kind kind, json_t *value, json_t **out)
{
    switch (kind) {
    case VALUE_NAME:
        if (!json_is_string(value)) return "is not a string";
        if (json_string_length(value) == 0) return "is empty";
        break;
    case VALUE_TEXT:
        if (!json_is_string(value)) return "is not a string";
        break;
    case VALUE_BOOL:
        if (!json_is_boolean(value)) return "is neither true nor false";
        break;
    case VALUE_DURATION: return duration_take(value, out);
    case VALUE_TEXTS: return texts_take(value, out);
    case VALUE_LIST: return list_take(value, out);
    }
    *out = json_incref(value);
    return NULL;
}

static int object_take(const struct known_key *keys, json_t *object, json_t *body, char *out_error)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const struct known_key *known = keys;
        while (known->key != NULL && strcmp(known->key, key) != 0)
            known++;
        if (known->key == NULL) {
            snprintf(out_error, ADMIN_BODY_ERROR_BYTES, "unknown key \"%.64s\" in the body", key);
            return SLUICE_ERR_SYNTAX;
        }
        json_t *taken = NULL;
        const char *wrong = value_take(known->kind, value, &taken);
        if (wrong != NULL) {
            snprintf(out_error, ADMIN_BODY_ERROR_BYTES, "\"%s\" %s", key, wrong);
            return SLUICE_ERR_SYNTAX;
        }
        if (json_object_set_new(body, key, taken) != 0) return SLUICE_ERR_NOMEM;
    }
    for (const struct known_key *known = keys; known->key != NULL; known++) {
        if (!known->is_required || json_object_get(body, known->key) != NULL) continue;
        snprintf(out_error, ADMIN_BODY_ERROR_BYTES, "\"%s\" is missing in the body", known->key);
        return SLUICE_ERR_SYNTAX;
    }
    return 0;
}

static int bytes_load(const char *bytes, size_t len, json_t **out, char *out_error)
{
    json_error_t where;
    *out = len == 0 ? json_object() : json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &where);
    if (*out == NULL && (len == 0 || json_error_code(&where) == json_error_out_of_memory)) return SLUICE_ERR_NOMEM;
    if (*out == NULL) {
        snprintf(out_error, ADMIN_BODY_ERROR_BYTES, "the body is not JSON: line %d column %d: %s", where.line,
                 where.column, where.text);
        return SLUICE_ERR_SYNTAX;
    }
    if (json_is_object(*out)) return 0;
    json_decref(*out);
    snprintf(out_error, ADMIN_BODY_ERROR_BYTES, "the body is not a JSON object");
    return SLUICE_ERR_SYNTAX;
}

int admin_body_parse(enum admin_verb verb, const char *bytes, size_t len, json_t **out_body,
                     char out_error[static ADMIN_BODY_ERROR_BYTES])
{
    json_t *object;
    int rv = bytes_load(bytes, len, &object, out_error);
    if (rv != 0) return rv;
    json_t *body = json_object();
    rv = body == NULL ? SLUICE_ERR_NOMEM : object_take(keys_of(verb), object, body, out_error);
    json_decref(object);
    if (rv != 0) {
        json_decref(body);
        return rv;
    }
    *out_body = body;
    return 0;
}
