/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <stdlib.h>
#include "sluice/gtid_gate.h"

/* The sets of one case as texts; NULL is "not given". */
struct gate_case {
    const char *p, *e;
    const char *s1, *s2, *v;
    const char *d, *d_whole;
    enum gtid_gate_delivered d_rule;
    bool d_is_reader, d_is_newer;
    const char *loss;
    enum gtid_gate_errant errant;
    const char *old;
    const char *accept_errant;
    const char *own_uuid;
    const char *errant_uuid;
};

static struct gtid_set *maybe(const char *text)
{
    return text == NULL ? NULL : set_of(text);
}

/* Runs the gate and writes "VERDICT", then a line for each condition: "status title: text". */
static void run(const struct gate_case *c, char *out, size_t size)
{
    struct gtid_set *p = set_of(c->p), *e = set_of(c->e), *d = maybe(c->d), *d_whole = maybe(c->d_whole),
                    *loss = maybe(c->loss), *old = maybe(c->old);
    struct gtid_set *s1 = maybe(c->s1), *s2 = maybe(c->s2), *v = maybe(c->v), *errant = NULL;
    uint8_t(*uuids)[GTID_UUID_BYTES] = NULL;
    size_t uuid_count = 0;
    if (c->accept_errant != NULL)
        assert_int_equal(
            gtid_errant_parse(c->accept_errant, strlen(c->accept_errant), &errant, &uuids, &uuid_count, NULL), 0);
    struct gtid_gate_set readers[2] = { { "gtid-S(orders)", s1 }, { "gtid-W", s2 } };
    struct gtid_gate_set validator = { "gtid-V(orders)", v };
    struct gtid_gate_input in = {
        .purged = p,
        .executed = e,
        .executed_uuid = c->own_uuid == NULL ? NULL : uuid_of(c->own_uuid),
        .readers = readers,
        .reader_count = (size_t)(s1 != NULL) + (size_t)(s2 != NULL),
        .validators = &validator,
        .validator_count = v != NULL,
        .delivered_rule = c->d_rule,
        .delivered = d,
        .delivered_whole = d_whole,
        .delivered_is_newer = c->d_is_newer,
        .delivered_is_reader = c->d_is_reader,
        .accepted_loss = loss,
        .errant_rule = c->errant,
        .old_known = old,
        .errant_uuid = c->errant_uuid == NULL ? NULL : uuid_of(c->errant_uuid),
        .accepted_errant = errant,
        .accepted_errant_uuids = (const uint8_t(*)[GTID_UUID_BYTES])uuids,
        .accepted_errant_uuid_count = uuid_count,
    };
    struct gtid_gate_result result;
    assert_int_equal(gtid_gate_check(&in, &result), 0);
    static const char *const verdicts[] = { "PASS", "LAGGING", "REFUSED" }, *const statuses[] = { "ok", "unknown",
                                                                                                  "wait", "fail" };
    size_t len = (size_t)snprintf(out, size, "%s\n", verdicts[result.verdict]);
    for (size_t i = 0; i < result.condition_count; i++) {
        const struct gtid_gate_condition *now = &result.conditions[i];
        assert_int_equal(now->missing == NULL, now->missing_count == 0);
        if (now->missing != NULL) assert_int_equal(gtid_set_count(now->missing), now->missing_count);
        len += (size_t)snprintf(out + len, size - len, "%s%s %s: %s\n", statuses[now->status],
                                now->is_rewound ? "(rewound)" : "", now->title, now->text);
    }
    gtid_gate_result_free(&result);
    gtid_gate_result_free(&result); /* a freed result is empty, and may be freed again */
    struct gtid_set *all[] = { p, e, d, d_whole, loss, old, s1, s2, v, errant };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        gtid_set_del(all[i]);
    gtid_free(uuids);
}

static void expect(const struct gate_case *c, const char *wanted)
{
    char got[8192];
    run(c, got, sizeof got);
    assert_string_equal(got, wanted);
}

/* All conditions hold: each is listed with what was compared. */
static void test_gate_passes_when_every_condition_holds(void **state)
{
    (void)state;
    expect(&(struct gate_case){ .p = U ":1-3",
                                .e = U ":1-100",
                                .s1 = U ":1-90",
                                .s2 = U ":1-95",
                                .v = U ":1-50",
                                .d = U ":1-99",
                                .d_rule = GTID_GATE_DELIVERED_KNOWN,
                                .errant = GTID_GATE_ERRANT_OLD_ALIVE,
                                .old = U ":1-100" },
           "PASS\n"
           "ok gtid-P in gtid-S(orders): gtid-S(orders) has all that the new server has purged (3 transactions)\n"
           "ok gtid-S(orders) in gtid-E: the new server has executed all of gtid-S(orders) (90 transactions)\n"
           "ok gtid-P in gtid-W: gtid-W has all that the new server has purged (3 transactions)\n"
           "ok gtid-W in gtid-E: the new server has executed all of gtid-W (95 transactions)\n"
           "ok gtid-P in gtid-V(orders): gtid-V(orders) has all that the new server has purged (3 transactions)\n"
           "ok gtid-D in gtid-E: the new server has executed all of gtid-D (99 transactions)\n"
           "ok nothing errant: the new server has nothing errant\n");
}

/* The new server purged what a task needs: refused, for each reader on its own. */
static void test_gate_refuses_when_new_backend_purged_what_a_reader_needs(void **state)
{
    (void)state;
    expect(
        &(struct gate_case){
            .p = U ":1-60," V ":1", .e = U ":1-100," V ":1", .s1 = U ":1-30," V ":1", .s2 = U ":1-60:62-70," V ":1" },
        "REFUSED\n"
        "fail gtid-P in gtid-S(orders): gtid-S(orders) lacks 30 transactions that the new server has purged: " U
        ":31-60\n"
        "ok gtid-S(orders) in gtid-E: the new server has executed all of gtid-S(orders) (31 transactions)\n"
        "ok gtid-P in gtid-W: gtid-W has all that the new server has purged (61 transactions)\n"
        "ok gtid-W in gtid-E: the new server has executed all of gtid-W (70 transactions)\n");
}

/* The new server is behind: lagging, as it may catch up; beside another failure: refused. */
static void test_gate_lags_when_new_backend_is_only_behind(void **state)
{
    (void)state;
    struct gate_case c = { .p = "", .e = U ":1-17:t:1", .s1 = U ":1-17:19:t:1-2" };
    expect(&c, "LAGGING\n"
               "ok gtid-P in gtid-S(orders): gtid-S(orders) has all that the new server has purged (0 transactions)\n"
               "wait gtid-S(orders) in gtid-E: the new server lacks 2 transactions of gtid-S(orders): " U ":19:t:2\n");
    c.p = U ":18";
    c.e = U ":1-18:t:1";
    expect(&c, "REFUSED\n"
               "fail gtid-P in gtid-S(orders): gtid-S(orders) lacks 1 transaction that the new server has purged: " U
               ":18\n"
               "wait gtid-S(orders) in gtid-E: the new server lacks 2 transactions of gtid-S(orders): " U ":19:t:2\n");
}

/* S is in E, and yet what was delivered is not: rows of half a transaction would stay downstream for ever (promise 2). */
static void test_gate_lags_when_delivered_is_not_executed_although_s_is(void **state)
{
    (void)state;
    expect(
        &(struct gate_case){
            .p = "", .e = U ":1-17", .s1 = U ":1-17", .d = U ":1-18", .d_rule = GTID_GATE_DELIVERED_KNOWN },
        "LAGGING\n"
        "ok gtid-P in gtid-S(orders): gtid-S(orders) has all that the new server has purged (0 transactions)\n"
        "ok gtid-S(orders) in gtid-E: the new server has executed all of gtid-S(orders) (17 transactions)\n"
        "wait gtid-D in gtid-E: the new server lacks 1 transaction of gtid-D: " U ":18\n");
}

/* What the new server lacks of its own UUID no waiting brings back: it was set back. */
static void test_gate_refuses_when_new_backend_lacks_its_own_transactions(void **state)
{
    (void)state;
    struct gate_case c = { .p = "",
                           .e = V ":1-10," U ":1-17",
                           .d = V ":1-12," U ":1-18",
                           .own_uuid = V,
                           .d_rule = GTID_GATE_DELIVERED_KNOWN };
    expect(
        &c,
        "REFUSED\n"
        "fail(rewound) gtid-D in gtid-E: the new server lacks 3 transactions of gtid-D, some of its own UUID: it was "
        "set back, and waiting brings none of them: " V ":11-12," U ":18\n");
    c.own_uuid = W;
    expect(&c, "LAGGING\n"
               "wait gtid-D in gtid-E: the new server lacks 3 transactions of gtid-D: " V ":11-12," U ":18\n");
}

/* D read after E may hold what the new server wrote in between: that is waited for. A reader's set is older than E always. */
static void test_gate_waits_where_delivered_was_read_after_executed(void **state)
{
    (void)state;
    struct gate_case c = {
        .p = "", .e = V ":1-10", .d = V ":1-12", .own_uuid = V, .d_is_newer = true, .d_rule = GTID_GATE_DELIVERED_KNOWN
    };
    expect(&c, "LAGGING\n"
               "wait gtid-D in gtid-E: the new server lacks 2 transactions of gtid-D: " V ":11-12\n");
    c.s1 = V ":1-12";
    expect(&c,
           "REFUSED\n"
           "ok gtid-P in gtid-S(orders): gtid-S(orders) has all that the new server has purged (0 transactions)\n"
           "fail(rewound) gtid-S(orders) in gtid-E: the new server lacks 2 transactions of gtid-S(orders), some of its "
           "own UUID: it was set back, and waiting brings none of them: " V ":11-12\n"
           "wait gtid-D in gtid-E: the new server lacks 2 transactions of gtid-D: " V ":11-12\n");
}

/* D unknown: refused, unless the operator accepted what may be lost. */
static void test_gate_refuses_when_delivered_is_unknown(void **state)
{
    (void)state;
    struct gate_case c = { .p = "", .e = U ":1-17", .d_rule = GTID_GATE_DELIVERED_UNKNOWN, .d_is_reader = true };
    expect(&c, "REFUSED\n"
               "fail gtid-P in gtid-D: what was delivered is not known: the new server may lack some of it\n"
               "fail gtid-D in gtid-E: what was delivered is not known: the new server may lack some of it\n");
    c.d_rule = GTID_GATE_DELIVERED_ACCEPTED;
    c.d_is_reader = false;
    expect(&c, "PASS\n"
               "unknown gtid-D in gtid-E: what was delivered is not known; what may be lost was accepted\n");
}

/* A consumer that cannot tell its set: P in D in E. */
static void test_gate_takes_delivered_for_a_reader_that_cannot_tell(void **state)
{
    (void)state;
    expect(
        &(struct gate_case){
            .p = U ":1-5", .e = U ":1-17", .d = U ":1-4", .d_rule = GTID_GATE_DELIVERED_KNOWN, .d_is_reader = true },
        "REFUSED\n"
        "fail gtid-P in gtid-D: gtid-D lacks 1 transaction that the new server has purged: " U ":5\n"
        "ok gtid-D in gtid-E: the new server has executed all of gtid-D (4 transactions)\n");
}

/* What was sent in part must be in E, and is not had: a server that purged it would answer 1236 to the reader that has a half. */
static void test_gate_counts_as_had_only_what_was_delivered_whole(void **state)
{
    (void)state;
    struct gate_case c = { .p = U ":1-5",
                           .e = U ":1-17",
                           .d = U ":1-5",
                           .d_whole = U ":1-4",
                           .d_rule = GTID_GATE_DELIVERED_KNOWN,
                           .d_is_reader = true };
    expect(
        &c,
        "REFUSED\n"
        "fail gtid-P in gtid-D(sent whole): gtid-D(sent whole) lacks 1 transaction that the new server has purged: " U
        ":5\n"
        "ok gtid-D in gtid-E: the new server has executed all of gtid-D (5 transactions)\n");
    c.p = U ":1-4"; /* not purged: it is sent again from its beginning */
    expect(
        &c,
        "PASS\n"
        "ok gtid-P in gtid-D(sent whole): gtid-D(sent whole) has all that the new server has purged (4 transactions)\n"
        "ok gtid-D in gtid-E: the new server has executed all of gtid-D (5 transactions)\n");
    c.e = U ":1-4"; /* the half is in nobody's E: its rows would stay for ever */
    expect(
        &c,
        "LAGGING\n"
        "ok gtid-P in gtid-D(sent whole): gtid-D(sent whole) has all that the new server has purged (4 transactions)\n"
        "wait gtid-D in gtid-E: the new server lacks 1 transaction of gtid-D: " U ":5\n");
    c.e = U ":1-17"; /* a loss is taken from both */
    c.p = "";
    c.d = U ":1-18";
    c.d_whole = U ":1-17";
    c.loss = U ":17-18";
    expect(
        &c,
        "PASS\n"
        "ok gtid-P in gtid-D(sent whole): gtid-D(sent whole) has all that the new server has purged (0 transactions)\n"
        "ok gtid-D in gtid-E: the new server has executed all of gtid-D (16 transactions)\n");
    c.p = U ":17";
    expect(
        &c,
        "REFUSED\n"
        "fail gtid-P in gtid-D(sent whole): gtid-D(sent whole) lacks 1 transaction that the new server has purged: " U
        ":17\n"
        "ok gtid-D in gtid-E: the new server has executed all of gtid-D (16 transactions)\n");
}

/* An empty V says nothing; one that is known is judged by P alone, as the validator reads behind the syncer. */
static void test_gate_asks_of_a_validator_only_what_it_can_tell(void **state)
{
    (void)state;
    struct gate_case c = { .p = U ":1-5", .e = U ":1-17", .v = "" };
    expect(&c, "PASS\nunknown gtid-P in gtid-V(orders): gtid-V(orders) is empty and says nothing\n");
    c.v = U ":1-4";
    expect(&c, "REFUSED\nfail gtid-P in gtid-V(orders): gtid-V(orders) lacks 1 transaction that the new server has "
               "purged: " U ":5\n");
}

/* What was accepted as lost is taken from S, W, V and D before they are judged, and only that. */
static void test_gate_takes_accepted_losses_from_every_set(void **state)
{
    (void)state;
    struct gate_case c = { .p = U ":1-2",
                           .e = U ":1-17",
                           .s1 = U ":1-18",
                           .s2 = U ":1-19",
                           .d = U ":1-19",
                           .d_rule = GTID_GATE_DELIVERED_KNOWN,
                           .v = U ":1-18",
                           .loss = U ":18-19" };
    char got[4096];
    run(&c, got, sizeof got);
    assert_non_null(strstr(got, "PASS\n"));
    c.loss = U ":18";
    expect(&c, "LAGGING\n"
               "ok gtid-P in gtid-S(orders): gtid-S(orders) has all that the new server has purged (2 transactions)\n"
               "ok gtid-S(orders) in gtid-E: the new server has executed all of gtid-S(orders) (17 transactions)\n"
               "ok gtid-P in gtid-W: gtid-W has all that the new server has purged (2 transactions)\n"
               "wait gtid-W in gtid-E: the new server lacks 1 transaction of gtid-W: " U ":19\n"
               "ok gtid-P in gtid-V(orders): gtid-V(orders) has all that the new server has purged (2 transactions)\n"
               "wait gtid-D in gtid-E: the new server lacks 1 transaction of gtid-D: " U ":19\n");
}

/* A loss is no longer asked for; if the new server has it and purged it, the first request would meet error 1236. */
static void test_gate_refuses_a_loss_that_the_new_backend_has_purged(void **state)
{
    (void)state;
    char got[4096];
    run(&(struct gate_case){ .p = U ":1-18", .e = U ":1-20", .s1 = U ":1-18", .loss = U ":18" }, got, sizeof got);
    assert_non_null(strstr(got, "REFUSED\nfail gtid-P in gtid-S(orders): gtid-S(orders) lacks 1 transaction"));
}

/* Only the new server has it: errant, by whatever UUID; owned ones of the old server are not. */
static void test_gate_refuses_errant_transactions(void **state)
{
    (void)state;
    struct gate_case c = {
        .p = "", .e = V ":1-2," U ":1-17:x:4", .errant = GTID_GATE_ERRANT_OLD_ALIVE, .old = U ":1-18"
    };
    expect(&c, "REFUSED\nfail nothing errant: the new server has 3 errant transactions, which the old server does not "
               "have: " V ":1-2," U ":x:4\n");
    c.accept_errant = V ":1";
    expect(&c, "REFUSED\nfail nothing errant: the new server has 2 errant transactions, which the old server does not "
               "have, beside 1 that was accepted: " V ":2," U ":x:4\n");
    c.accept_errant = V "," U ":x:1-9";
    expect(&c, "PASS\nok nothing errant: the new server has nothing errant, beside 3 that were accepted\n");
    c.accept_errant = U; /* with all its tags */
    expect(&c, "REFUSED\nfail nothing errant: the new server has 2 errant transactions, which the old server does not "
               "have, beside 1 that was accepted: " V ":1-2\n");
}

/* While the old server goes on writing, only what is of the new server's own UUID can be told to be errant. */
static void test_gate_judges_errant_of_one_uuid(void **state)
{
    (void)state;
    struct gate_case c = { .p = "",
                           .e = V ":1-3," U ":1-17",
                           .errant = GTID_GATE_ERRANT_OLD_ALIVE,
                           .old = V ":1-2," U ":1-9",
                           .errant_uuid = V };
    expect(&c, "REFUSED\n"
               "fail nothing errant: the new server has 1 errant transaction, which the old server does not have: " V
               ":3\n");
    c.old = V ":1-3," U ":1-9";
    expect(&c, "PASS\nok nothing errant: the new server has nothing errant\n");
}

/* With the old server dead, what is beyond D under a UUID of D's may have come from it; another UUID cannot have. */
static void test_gate_judges_errant_by_uuid_when_old_backend_is_dead(void **state)
{
    (void)state;
    struct gate_case c = { .p = "",
                           .e = V ":1-2," U ":1-17:x:4",
                           .errant = GTID_GATE_ERRANT_OLD_DEAD,
                           .d = U ":1-10",
                           .d_rule = GTID_GATE_DELIVERED_KNOWN };
    expect(
        &c,
        "REFUSED\n"
        "ok gtid-D in gtid-E: the new server has executed all of gtid-D (10 transactions)\n"
        "fail nothing errant: the new server has 2 errant transactions, of a UUID that the old server is not known to "
        "have had: " V ":1-2\n");
    c.old = V ":2"; /* when it was last asked */
    c.accept_errant = V ":1";
    expect(&c, "PASS\n"
               "ok gtid-D in gtid-E: the new server has executed all of gtid-D (10 transactions)\n"
               "ok nothing errant: the new server has nothing errant, beside 1 that was accepted\n");
}

/* Dead, and D not known: what the old server had when it was last asked tells which UUIDs are of the group. */
static void test_gate_judges_errant_by_the_last_reading_when_delivered_is_unknown(void **state)
{
    (void)state;
    struct gate_case c = { .p = "",
                           .e = V ":1-2," U ":1-17",
                           .errant = GTID_GATE_ERRANT_OLD_DEAD,
                           .d_rule = GTID_GATE_DELIVERED_ACCEPTED,
                           .old = U ":1-10" };
    expect(
        &c,
        "REFUSED\n"
        "unknown gtid-D in gtid-E: what was delivered is not known; what may be lost was accepted\n"
        "fail nothing errant: the new server has 2 errant transactions, of a UUID that the old server is not known to "
        "have had: " V ":1-2\n");
    c.old = NULL;
    expect(&c, "PASS\n"
               "unknown gtid-D in gtid-E: what was delivered is not known; what may be lost was accepted\n"
               "unknown nothing errant: what was delivered is not known; what may be lost was accepted\n");
    c.d_rule = GTID_GATE_DELIVERED_UNKNOWN;
    expect(&c, "REFUSED\n"
               "fail gtid-D in gtid-E: what was delivered is not known: the new server may lack some of it\n"
               "fail nothing errant: what was delivered is not known: the new server may lack some of it\n");
}

/* Names and sets of any length leave every text whole: cut with a count, ended, inside its field. */
static void test_gate_texts_are_bounded(void **state)
{
    (void)state;
    struct gtid_set *e = set_of(""), *s = set_of("");
    char name[2000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    for (uint64_t n = 1; n < 100000; n++)
        assert_int_equal(gtid_set_add(s, uuid_of(U), "tag", 2 * n), 0);
    struct gtid_gate_set reader = { name, s };
    struct gtid_gate_input in = { .purged = s,
                                  .executed = e,
                                  .executed_uuid = uuid_of(U),
                                  .readers = &reader,
                                  .reader_count = 1,
                                  .errant_rule = GTID_GATE_ERRANT_OLD_ALIVE,
                                  .old_known = e };
    struct gtid_gate_result result;
    assert_int_equal(gtid_gate_check(&in, &result), 0);
    assert_int_equal(result.condition_count, 3);
    const struct gtid_gate_condition *c = &result.conditions[1];
    assert_true(strlen(c->title) < sizeof c->title && strlen(c->text) < sizeof c->text);
    assert_non_null(strstr(c->text, "the new server lacks 99999 transactions of nnnn"));
    assert_non_null(strstr(c->text, " more ranges, "));
    assert_int_equal(c->text[strlen(c->text) - 1], ')');
    gtid_gate_result_free(&result);
    gtid_set_del(e);
    gtid_set_del(s);
}

/* What an operator accepts as errant: a bare UUID is all of it; else the syntax is the server's. */
static void test_errant_text_takes_whole_uuids(void **state)
{
    (void)state;
    static const char text[] = U " , " V ":5," W;
    struct gtid_set *set = NULL;
    uint8_t(*uuids)[GTID_UUID_BYTES] = NULL;
    size_t count = 0;
    struct gtid_parse_error error = { 0, NULL };
    assert_int_equal(gtid_errant_parse(text, strlen(text), &set, &uuids, &count, &error), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(uuids[0], uuid_of(U), GTID_UUID_BYTES);
    assert_memory_equal(uuids[1], uuid_of(W), GTID_UUID_BYTES);
    assert_prints(set, V ":5");
    gtid_free(uuids);
    set = NULL;
    assert_int_equal(gtid_errant_parse(U ",x", strlen(U ",x"), &set, &uuids, &count, &error), GTID_ERR_SYNTAX);
    assert_null(set);
    assert_int_equal(error.offset, 37);
}

static unsigned long allocations, fail_at;

static void *failing_realloc(void *p, size_t size)
{
    if (++allocations == fail_at) return NULL;
    return realloc(p, size);
}

/* Whichever allocation fails, the gate gives no verdict at all, and leaks nothing. */
static void test_gate_gives_no_verdict_without_memory(void **state)
{
    (void)state;
    static const struct gtid_allocator failing = { failing_realloc, free };
    gtid_use_allocator(&failing);
    struct gtid_set *p = set_of(U ":1-60"), *e = set_of(V ":1:2:w:3," U ":1-100"), *s = set_of(U ":1-30:101"),
                    *loss = set_of(U ":7"), *old = set_of(U ":1-3"), *accepted = set_of(V ":1");
    uint8_t uuids[1][GTID_UUID_BYTES];
    memcpy(uuids[0], uuid_of(U), GTID_UUID_BYTES);
    struct gtid_gate_set reader = { "gtid-S", s };
    struct gtid_gate_input in = { .purged = p,
                                  .executed = e,
                                  .readers = &reader,
                                  .reader_count = 1,
                                  .validators = &reader,
                                  .validator_count = 1,
                                  .delivered_rule = GTID_GATE_DELIVERED_KNOWN,
                                  .delivered = s,
                                  .accepted_loss = loss,
                                  .errant_rule = GTID_GATE_ERRANT_OLD_ALIVE,
                                  .old_known = old,
                                  .accepted_errant = accepted,
                                  .accepted_errant_uuids = (const uint8_t(*)[GTID_UUID_BYTES])uuids,
                                  .accepted_errant_uuid_count = 1 };
    for (int rule = 0; rule < 2; rule++) {
        in.errant_rule = rule == 0 ? GTID_GATE_ERRANT_OLD_ALIVE : GTID_GATE_ERRANT_OLD_DEAD;
        int rv = GTID_ERR_NOMEM;
        for (unsigned long n = 1; rv != 0; n++) {
            struct gtid_gate_result result = { 0 };
            allocations = 0;
            fail_at = n;
            rv = gtid_gate_check(&in, &result);
            assert_int_equal(rv, allocations >= n ? GTID_ERR_NOMEM : 0);
            assert_int_equal(result.condition_count, rv == 0 ? 5 : 0);
            gtid_gate_result_free(&result);
        }
        assert_true(allocations > 10);
    }
    struct gtid_set *all[] = { p, e, s, loss, old, accepted };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        gtid_set_del(all[i]);
    gtid_use_allocator(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_passes_when_every_condition_holds),
        cmocka_unit_test(test_gate_refuses_when_new_backend_purged_what_a_reader_needs),
        cmocka_unit_test(test_gate_lags_when_new_backend_is_only_behind),
        cmocka_unit_test(test_gate_lags_when_delivered_is_not_executed_although_s_is),
        cmocka_unit_test(test_gate_refuses_when_new_backend_lacks_its_own_transactions),
        cmocka_unit_test(test_gate_waits_where_delivered_was_read_after_executed),
        cmocka_unit_test(test_gate_refuses_when_delivered_is_unknown),
        cmocka_unit_test(test_gate_takes_delivered_for_a_reader_that_cannot_tell),
        cmocka_unit_test(test_gate_counts_as_had_only_what_was_delivered_whole),
        cmocka_unit_test(test_gate_asks_of_a_validator_only_what_it_can_tell),
        cmocka_unit_test(test_gate_takes_accepted_losses_from_every_set),
        cmocka_unit_test(test_gate_refuses_a_loss_that_the_new_backend_has_purged),
        cmocka_unit_test(test_gate_refuses_errant_transactions),
        cmocka_unit_test(test_gate_judges_errant_of_one_uuid),
        cmocka_unit_test(test_gate_judges_errant_by_uuid_when_old_backend_is_dead),
        cmocka_unit_test(test_gate_judges_errant_by_the_last_reading_when_delivered_is_unknown),
        cmocka_unit_test(test_gate_texts_are_bounded),
        cmocka_unit_test(test_errant_text_takes_whole_uuids),
        cmocka_unit_test(test_gate_gives_no_verdict_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
