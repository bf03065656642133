/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asked of a switch, from JSON. */
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

void switch_options_free(struct switch_options *o)
{
    gtid_set_del(o->accept_loss);
    gtid_set_del(o->accept_errant);
    gtid_free(o->accept_errant_uuids);
    mem_free(o->gtid_s);
    json_decref(o->json);
    *o = (struct switch_options){ 0 };
}

static int parse_loss(const char *text, struct switch_options *out, struct text *out_error)
{
    struct gtid_parse_error error;
    if (strcmp(text, "unknown") == 0) {
        out->accepts_unknown = true;
        return 0;
    }
    int rv = gtid_set_parse(text, strlen(text), &out->accept_loss, &error);
    if (rv == 0) return 0;
    if (rv == GTID_ERR_NOMEM) return SLUICE_ERR_NOMEM;
    text_printf(out_error, "accept-loss: byte %zu: %s; give a GTID set, or the word unknown", error.offset,
                error.reason);
    return SLUICE_ERR_SYNTAX;
}

/* Several are one: their texts are joined by commas, as the syntax of a set allows. */
static int parse_errant(const json_t *list, struct switch_options *out, struct text *out_error)
{
    struct gtid_parse_error error;
    struct text all = TEXT_INIT;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (i > 0) text_puts(&all, ",");
        text_puts(&all, json_string_value(item));
    }
    int rv = all.status != 0 ? GTID_ERR_NOMEM
                             : gtid_errant_parse(text_str(&all), all.len, &out->accept_errant,
                                                 &out->accept_errant_uuids, &out->accept_errant_uuid_count, &error);
    text_free(&all);
    if (rv == 0) return 0;
    if (rv == GTID_ERR_NOMEM) return SLUICE_ERR_NOMEM;
    text_printf(out_error, "accept-errant: byte %zu: %s; give a GTID set or a whole UUID", error.offset, error.reason);
    return SLUICE_ERR_SYNTAX;
}

static int parse_gtid_s(const char *text, struct switch_options *out, struct text *out_error)
{
    struct gtid_parse_error error;
    struct gtid_set *set = NULL;
    int rv = gtid_set_parse(text, strlen(text), &set, &error);
    gtid_set_del(set);
    if (rv == GTID_ERR_SYNTAX) {
        text_printf(out_error, "gtid-s: byte %zu: %s", error.offset, error.reason);
        return SLUICE_ERR_SYNTAX;
    }
    out->gtid_s = mem_strdup(text);
    return rv != 0 || out->gtid_s == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int parse_waive(const json_t *list, struct switch_options *out, struct text *out_error)
{
    size_t i;
    json_t *item;
    text_puts(out_error, "waive: "); /* told only where a name is refused */
    json_array_foreach(list, i, item)
    {
        int rv = checks_waive_parse(json_string_value(item), &out->waived, out_error);
        if (rv != 0) return rv;
    }
    text_free(out_error);
    return 0;
}

int switch_options_parse(const json_t *body, const struct config_limits *limits, struct switch_options *out,
                         struct text *out_error)
{
    const char *loss = json_string_value(json_object_get(body, "accept-loss"));
    const char *gtid_s = json_string_value(json_object_get(body, "gtid-s"));
    const json_t *errant = json_object_get(body, "accept-errant");
    const json_t *waive = json_object_get(body, "waive");
    const json_t *wait = json_object_get(body, "wait-catchup");
    int rv = 0;
    *out = (struct switch_options){ .catchup_ms = limits->catchup_timeout_ms };
    if (wait != NULL) out->catchup_ms = (uint32_t)json_integer_value(wait); /* the admin checked its range */
    out->old_is_dead = json_is_true(json_object_get(body, "old-is-dead"));
    if (loss != NULL) rv = parse_loss(loss, out, out_error);
    if (rv == 0 && errant != NULL) rv = parse_errant(errant, out, out_error);
    if (rv == 0 && gtid_s != NULL) rv = parse_gtid_s(gtid_s, out, out_error);
    if (rv == 0 && waive != NULL) rv = parse_waive(waive, out, out_error);
    if (rv == 0) out->json = json_deep_copy(body);
    if (rv != 0) switch_options_free(out);
    return rv;
}
