/* SPDX-License-Identifier: Apache-2.0 */
#include "sluice/gtid_gate.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "set.h"

enum { RANGES_BYTES = 640 }; /* at least, for the ranges within a text */
static_assert((int)RANGES_BYTES >= (int)GTID_DESCRIBE_BYTES_MIN, "ranges can be described");

struct gate {
    const struct gtid_gate_input *in;
    struct gtid_gate_condition *conditions;
    size_t len;
    size_t room;
};

static struct gtid_gate_condition *add_condition(struct gate *g, enum gtid_gate_rule rule)
{
    if (!gtid_grow((void **)&g->conditions, &g->room, g->len, sizeof *g->conditions)) return NULL;
    struct gtid_gate_condition *c = &g->conditions[g->len++];
    *c = (struct gtid_gate_condition){ .rule = rule };
    return c;
}

__attribute__((format(printf, 2, 3))) static void set_title(struct gtid_gate_condition *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->title, sizeof c->title, fmt, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3))) static void set_text(struct gtid_gate_condition *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->text, sizeof c->text, fmt, args);
    va_end(args);
}

/* Says |fmt| with the ranges that are missing behind it; it fits, as names are cut to 100 bytes. */
__attribute__((format(printf, 2, 3))) static void set_text_with_missing(struct gtid_gate_condition *c, const char *fmt,
                                                                        ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(c->text, sizeof c->text - RANGES_BYTES, fmt, args);
    va_end(args);
    size_t len = strlen(c->text);
    assert(n >= 0);
    gtid_set_describe(c->missing, c->text + len, sizeof c->text - len);
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* Puts |sub| - |super| into the condition; nothing when it is empty. */
static int find_missing(struct gtid_gate_condition *c, const struct gtid_set *sub, const struct gtid_set *super)
{
    if (gtid_set_contains(super, sub)) return 0;
    int rv = gtid_set_subtract(sub, super, &c->missing);
    if (rv == 0) c->missing_count = gtid_set_count(c->missing);
    return rv;
}

/* P in what the reader called |name| has. */
static int judge_purged(struct gate *g, enum gtid_gate_rule rule, const char *name, const struct gtid_set *has)
{
    struct gtid_gate_condition *c = add_condition(g, rule);
    if (c == NULL) return GTID_ERR_NOMEM;
    set_title(c, "gtid-P in %.100s", name);
    int rv = find_missing(c, g->in->purged, has);
    if (rv != 0) return rv;
    c->status = c->missing == NULL ? GTID_GATE_OK : GTID_GATE_FAIL;
    if (c->missing == NULL)
        set_text(c, "%.100s has all that the new server has purged (%" PRIu64 " transaction%s)", name,
                 gtid_set_count(g->in->purged), plural(gtid_set_count(g->in->purged)));
    else
        set_text_with_missing(c, "%.100s lacks %" PRIu64 " transaction%s that the new server has purged: ", name,
                              c->missing_count, plural(c->missing_count));
    return 0;
}

/* What the reader called |name| has, in E; |own_uuid| is the new server's, NULL when waiting may bring what it lacks of it. */
static int judge_executed(struct gate *g, enum gtid_gate_rule rule, const char *name, const struct gtid_set *has,
                          const uint8_t *own_uuid)
{
    struct gtid_gate_condition *c = add_condition(g, rule);
    if (c == NULL) return GTID_ERR_NOMEM;
    set_title(c, "%.100s in gtid-E", name);
    int rv = find_missing(c, has, g->in->executed);
    if (rv != 0) return rv;
    if (c->missing == NULL) {
        set_text(c, "the new server has executed all of %.100s (%" PRIu64 " transaction%s)", name, gtid_set_count(has),
                 plural(gtid_set_count(has)));
        return 0;
    }
    c->is_rewound = own_uuid != NULL && gtid_set_has_uuid(c->missing, own_uuid);
    c->status = c->is_rewound ? GTID_GATE_FAIL : GTID_GATE_WAIT;
    set_text_with_missing(
        c, "the new server lacks %" PRIu64 " transaction%s of %.100s%s: ", c->missing_count, plural(c->missing_count),
        name, c->is_rewound ? ", some of its own UUID: it was set back, and waiting brings none of them" : "");
    return 0;
}

/* |set| without the accepted losses: itself, or a new one in |out_owned|. */
static int less_loss(const struct gate *g, const struct gtid_set *set, struct gtid_set **out_owned)
{
    const struct gtid_set *loss = g->in->accepted_loss;
    if (loss == NULL || !gtid_set_intersects(set, loss)) return 0;
    return gtid_set_subtract(set, loss, out_owned);
}

static int judge_reader(struct gate *g, const struct gtid_gate_set *reader)
{
    struct gtid_set *owned = NULL;
    int rv = less_loss(g, reader->set, &owned);
    const struct gtid_set *has = owned != NULL ? owned : reader->set;
    if (rv == 0) rv = judge_purged(g, GTID_GATE_PURGED_IN_READER, reader->name, has);
    if (rv == 0) rv = judge_executed(g, GTID_GATE_READER_IN_EXECUTED, reader->name, has, g->in->executed_uuid);
    gtid_set_del(owned);
    return rv;
}

/* Until its first checkpoint a validator tells an empty set, and starts where it likes. */
static int judge_empty_validator(struct gate *g, const struct gtid_gate_set *validator)
{
    struct gtid_gate_condition *c = add_condition(g, GTID_GATE_PURGED_IN_VALIDATOR);
    if (c == NULL) return GTID_ERR_NOMEM;
    set_title(c, "gtid-P in %.100s", validator->name);
    set_text(c, "%.100s is empty and says nothing", validator->name);
    c->status = GTID_GATE_UNKNOWN;
    return 0;
}

static int judge_validator(struct gate *g, const struct gtid_gate_set *validator)
{
    if (gtid_set_is_empty(validator->set)) return judge_empty_validator(g, validator);
    struct gtid_set *owned = NULL;
    int rv = less_loss(g, validator->set, &owned);
    if (rv == 0)
        rv = judge_purged(g, GTID_GATE_PURGED_IN_VALIDATOR, validator->name, owned != NULL ? owned : validator->set);
    gtid_set_del(owned);
    return rv;
}

static int judge_delivered_unknown(struct gate *g, enum gtid_gate_rule rule, const char *title)
{
    struct gtid_gate_condition *c = add_condition(g, rule);
    if (c == NULL) return GTID_ERR_NOMEM;
    set_title(c, "%s", title);
    bool is_accepted = g->in->delivered_rule == GTID_GATE_DELIVERED_ACCEPTED;
    c->status = is_accepted ? GTID_GATE_UNKNOWN : GTID_GATE_FAIL;
    set_text(c, "what was delivered is not known%s",
             is_accepted ? "; what may be lost was accepted" : ": the new server may lack some of it");
    return 0;
}

/* P in what was delivered whole: a transaction that was sent in part is asked for again, and the server must still have it. */
static int judge_purged_in_delivered(struct gate *g)
{
    const struct gtid_gate_input *in = g->in;
    struct gtid_set *owned = NULL;
    const struct gtid_set *whole = in->delivered_whole == NULL ? in->delivered : in->delivered_whole;
    const char *name = gtid_set_contains(whole, in->delivered) ? "gtid-D" : "gtid-D(sent whole)";
    int rv = less_loss(g, whole, &owned);
    if (rv == 0) rv = judge_purged(g, GTID_GATE_PURGED_IN_DELIVERED, name, owned != NULL ? owned : whole);
    gtid_set_del(owned);
    return rv;
}

static int judge_delivered(struct gate *g)
{
    const struct gtid_gate_input *in = g->in;
    struct gtid_set *owned = NULL;
    if (in->delivered_rule == GTID_GATE_DELIVERED_SKIP) return 0;
    if (in->delivered_rule != GTID_GATE_DELIVERED_KNOWN) {
        int rv = 0;
        if (in->delivered_is_reader) rv = judge_delivered_unknown(g, GTID_GATE_PURGED_IN_DELIVERED, "gtid-P in gtid-D");
        if (rv == 0) rv = judge_delivered_unknown(g, GTID_GATE_DELIVERED_IN_EXECUTED, "gtid-D in gtid-E");
        return rv;
    }
    int rv = in->delivered_is_reader ? judge_purged_in_delivered(g) : 0;
    if (rv == 0) rv = less_loss(g, in->delivered, &owned);
    const struct gtid_set *has = owned != NULL ? owned : in->delivered;
    const uint8_t *own_uuid = in->delivered_is_newer ? NULL : in->executed_uuid;
    if (rv == 0) rv = judge_executed(g, GTID_GATE_DELIVERED_IN_EXECUTED, "gtid-D", has, own_uuid);
    gtid_set_del(owned);
    return rv;
}

/* The set whose UUIDs tell which are of the group, when the old server is dead; NULL when nothing tells. */
static const struct gtid_set *known_of_dead(const struct gtid_gate_input *in)
{
    return in->delivered_rule == GTID_GATE_DELIVERED_KNOWN ? in->delivered : in->old_known;
}

/*
 * What of E is of a UUID that the dead server is not known to have had. Of the UUIDs that it had, what it may have had beyond
 * D cannot be told from errant transactions.
 */
static int find_foreign(const struct gtid_gate_input *in, struct gtid_set **out_errant)
{
    struct gtid_set *errant = gtid_set_new();
    if (errant == NULL) return GTID_ERR_NOMEM;
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < in->executed->len; i++) {
        const struct track *t = in->executed->tracks[i];
        if (gtid_set_has_uuid(known_of_dead(in), t->uuid)) continue;
        struct track *copy = track_copy(t);
        if (copy == NULL || !set_push(errant, copy)) rv = GTID_ERR_NOMEM;
    }
    if (rv == 0 && in->old_known != NULL) rv = gtid_set_remove_set(errant, in->old_known);
    if (rv == 0)
        *out_errant = errant;
    else
        gtid_set_del(errant);
    return rv;
}

/* |*errant|, which is replaced, without what is of other UUIDs than the one that is asked about. */
static int keep_asked(const struct gtid_gate_input *in, struct gtid_set **errant)
{
    struct gtid_set *only = NULL;
    if (in->errant_uuid == NULL) return 0;
    int rv = gtid_set_of_uuid(*errant, in->errant_uuid, &only);
    if (rv != 0) return rv;
    gtid_set_del(*errant);
    *errant = only;
    return 0;
}

/* Takes what was accepted by name from |errant|. */
static int take_accepted(const struct gtid_gate_input *in, struct gtid_set *errant)
{
    int rv = in->accepted_errant == NULL ? 0 : gtid_set_remove_set(errant, in->accepted_errant);
    for (size_t i = 0; rv == 0 && i < in->accepted_errant_uuid_count; i++) {
        struct gtid_set *whole = NULL;
        rv = gtid_set_of_uuid(errant, in->accepted_errant_uuids[i], &whole);
        if (rv == 0) rv = gtid_set_remove_set(errant, whole);
        gtid_set_del(whole);
    }
    return rv;
}

static void explain_errant(struct gtid_gate_condition *c, const struct gtid_gate_input *in, uint64_t accepted_count)
{
    char accepted[64] = "";
    if (accepted_count > 0)
        snprintf(accepted, sizeof accepted, ", beside %" PRIu64 " that %s accepted", accepted_count,
                 accepted_count == 1 ? "was" : "were");
    if (c->missing == NULL)
        set_text(c, "the new server has nothing errant%s", accepted);
    else
        set_text_with_missing(
            c, "the new server has %" PRIu64 " errant transaction%s, %s%s: ", c->missing_count,
            plural(c->missing_count),
            in->errant_rule == GTID_GATE_ERRANT_OLD_DEAD ? "of a UUID that the old server is not known to have had"
            : c->status == GTID_GATE_WAIT                ? "unless they still come to the old server, which replicates"
                                                         : "which the old server does not have",
            accepted);
}

static int judge_errant(struct gate *g)
{
    const struct gtid_gate_input *in = g->in;
    if (in->errant_rule == GTID_GATE_ERRANT_SKIP) return 0;
    if (in->errant_rule == GTID_GATE_ERRANT_OLD_DEAD && known_of_dead(in) == NULL)
        return judge_delivered_unknown(g, GTID_GATE_NOTHING_ERRANT, "nothing errant");
    struct gtid_gate_condition *c = add_condition(g, GTID_GATE_NOTHING_ERRANT);
    if (c == NULL) return GTID_ERR_NOMEM;
    set_title(c, "nothing errant");
    struct gtid_set *errant = NULL;
    int rv = in->errant_rule == GTID_GATE_ERRANT_OLD_DEAD ? find_foreign(in, &errant)
                                                          : gtid_set_subtract(in->executed, in->old_known, &errant);
    if (rv == 0) rv = keep_asked(in, &errant);
    if (rv != 0) {
        gtid_set_del(errant);
        return rv;
    }
    uint64_t all = gtid_set_count(errant);
    rv = take_accepted(in, errant);
    if (rv != 0 || gtid_set_is_empty(errant)) {
        gtid_set_del(errant);
    } else {
        c->missing = errant;
        c->missing_count = gtid_set_count(errant);
        c->status = in->errant_rule == GTID_GATE_ERRANT_OLD_ALIVE && in->old_follows ? GTID_GATE_WAIT : GTID_GATE_FAIL;
    }
    if (rv == 0) explain_errant(c, in, all - c->missing_count);
    return rv;
}

static enum gtid_gate_verdict sum_up(const struct gate *g)
{
    enum gtid_gate_verdict verdict = GTID_GATE_PASS;
    for (size_t i = 0; i < g->len; i++) {
        if (g->conditions[i].status == GTID_GATE_FAIL) return GTID_GATE_REFUSED;
        if (g->conditions[i].status == GTID_GATE_WAIT) verdict = GTID_GATE_LAGGING;
    }
    return verdict;
}

int gtid_gate_check(const struct gtid_gate_input *in, struct gtid_gate_result *out_result)
{
    assert(in->purged != NULL && in->executed != NULL);
    assert(in->delivered_rule != GTID_GATE_DELIVERED_KNOWN || in->delivered != NULL);
    assert(in->errant_rule != GTID_GATE_ERRANT_OLD_ALIVE || in->old_known != NULL);
    struct gate g = { .in = in };
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < in->reader_count; i++)
        rv = judge_reader(&g, &in->readers[i]);
    for (size_t i = 0; rv == 0 && i < in->validator_count; i++)
        rv = judge_validator(&g, &in->validators[i]);
    if (rv == 0) rv = judge_delivered(&g);
    if (rv == 0) rv = judge_errant(&g);
    struct gtid_gate_result result = { sum_up(&g), g.conditions, g.len };
    if (rv != 0)
        gtid_gate_result_free(&result);
    else
        *out_result = result;
    return rv;
}

void gtid_gate_result_free(struct gtid_gate_result *result)
{
    for (size_t i = 0; i < result->condition_count; i++)
        gtid_set_del(result->conditions[i].missing);
    gtid_free(result->conditions);
    *result = (struct gtid_gate_result){ 0 };
}
