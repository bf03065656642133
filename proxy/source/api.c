/* SPDX-License-Identifier: Apache-2.0 */
#include "source/api.h"
#include <stdlib.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "source/daemon.h"

enum { STATUS_CLIENTS_MAX = 200 }; /* where one source alone is asked for */

/* One HTTP call that all sources answer together. */
struct gather {
    struct admin_token *token;
    enum admin_verb verb;
    size_t left;
    json_t **docs; /* in the order of the configuration */
    size_t count;
};

/* One question to one source, on its way there or back. */
struct order {
    struct source_call call; /* first: source_call's done gives it back */
    struct daemon *daemon;
    struct daemon_source *to;
    struct admin_token *token; /* NULL: part of |gather| */
    struct gather *gather;
    size_t index;
    int http_status;
    json_t *doc;
};

/* What crosses threads must not be lost: out of memory ends the process, as in mailbox_post(). */
static void *must_alloc(size_t size)
{
    void *p = mem_calloc(1, size);
    if (p == NULL) abort();
    return p;
}

static void end_gather(struct gather *g)
{
    json_t *list = json_array();
    bool is_ready = true;
    for (size_t i = 0; i < g->count; i++) {
        if (g->verb == ADMIN_VERB_READY && !json_is_true(json_object_get(g->docs[i], "ready"))) is_ready = false;
        json_array_append_new(list, g->docs[i]);
    }
    if (g->verb == ADMIN_VERB_READY) {
        json_decref(list);
        admin_reply(
            g->token, is_ready ? 200 : 503,
            json_pack("{s:b,s:s}", "result", is_ready, "msg", is_ready ? "" : "not every source is recovered yet"));
    } else {
        admin_reply(g->token, 200, json_pack("{s:b,s:s,s:o}", "result", 1, "msg", "", "sources", list));
    }
    mem_free(g->docs);
    mem_free(g);
}

/* On the main loop. */
static void order_came_back(void *arg)
{
    struct order *o = arg;
    json_decref(o->call.body);
    if (o->gather != NULL) {
        o->gather->docs[o->index] = o->doc;
        if (--o->gather->left == 0) end_gather(o->gather);
    } else if (o->call.verb == SOURCE_VERB_STATUS) {
        admin_reply(o->token, 200, json_pack("{s:b,s:s,s:o}", "result", 1, "msg", "", "source", o->doc));
    } else {
        admin_reply(o->token, o->http_status, o->doc);
    }
    mem_free(o);
}

/* On the source's loop. */
static void order_done(struct source_call *call, int http_status, json_t *doc)
{
    struct order *o = call->arg;
    o->http_status = http_status;
    o->doc = doc;
    mailbox_post(&o->daemon->mailbox, order_came_back, o);
}

/* On the source's loop. */
static void order_arrives(void *arg)
{
    struct order *o = arg;
    source_call(o->to->source, &o->call);
}

static struct order *order_new(struct daemon *d, struct daemon_source *to, enum source_verb verb)
{
    struct order *o = must_alloc(sizeof *o);
    o->daemon = d;
    o->to = to;
    o->call.verb = verb;
    o->call.done = order_done;
    o->call.arg = o;
    return o;
}

static void send_order(struct order *o)
{
    mailbox_post(&o->to->loop->mailbox, order_arrives, o);
}

static void ask_all(struct daemon *d, struct admin_token *token, enum admin_verb verb)
{
    struct gather *g = must_alloc(sizeof *g);
    g->token = token;
    g->verb = verb;
    g->count = g->left = d->source_count;
    g->docs = must_alloc(g->count * sizeof *g->docs);
    for (size_t i = 0; i < d->source_count; i++) {
        struct order *o =
            order_new(d, &d->sources[i], verb == ADMIN_VERB_READY ? SOURCE_VERB_READY : SOURCE_VERB_STATUS);
        o->gather = g;
        o->index = i;
        send_order(o);
    }
}

static struct daemon_source *find_source(struct daemon *d, const char *id)
{
    for (size_t i = 0; i < d->source_count; i++) {
        if (strcmp(source_id(d->sources[i].source), id) == 0) return &d->sources[i];
    }
    return NULL;
}

/* The source that runs it knows most; of one that has ended, any source finds the record in the journal. */
static struct daemon_source *find_switch(struct daemon *d, uint64_t number)
{
    for (size_t i = 0; i < d->source_count; i++) {
        if (d->sources[i].switch_number == number) return &d->sources[i];
    }
    return &d->sources[0];
}

static enum source_verb verb_of(enum admin_verb verb)
{
    switch (verb) {
    case ADMIN_VERB_SOURCES:
    case ADMIN_VERB_SOURCE: return SOURCE_VERB_STATUS;
    case ADMIN_VERB_CHECK: return SOURCE_VERB_CHECK;
    case ADMIN_VERB_SWITCH: return SOURCE_VERB_SWITCH;
    case ADMIN_VERB_READDRESS: return SOURCE_VERB_READDRESS;
    case ADMIN_VERB_ABORT: return SOURCE_VERB_ABORT;
    case ADMIN_VERB_ADOPT: return SOURCE_VERB_ADOPT;
    case ADMIN_VERB_REPIN: return SOURCE_VERB_REPIN;
    case ADMIN_VERB_HOLD: return SOURCE_VERB_HOLD;
    case ADMIN_VERB_RELEASE: return SOURCE_VERB_RELEASE;
    case ADMIN_VERB_HISTORY: return SOURCE_VERB_HISTORY;
    case ADMIN_VERB_SWITCH_GET: return SOURCE_VERB_SWITCH_GET;
    case ADMIN_VERB_READY:
    case ADMIN_VERB_COUNT: return SOURCE_VERB_READY;
    }
    return SOURCE_VERB_STATUS;
}

void api_handle(void *daemon, struct admin_token *token, const struct admin_call *call)
{
    struct daemon *d = daemon;
    if (d->is_stopping && call->verb != ADMIN_VERB_SOURCES && call->verb != ADMIN_VERB_SOURCE) {
        admin_reply_error(token, 503, 1, "Sluice is being stopped");
        return;
    }
    if (d->stopped_count > 0) { /* a loop may have ended already */
        admin_reply_error(token, 503, 1, "Sluice is being stopped");
        return;
    }
    if (call->verb == ADMIN_VERB_SOURCES || call->verb == ADMIN_VERB_READY) {
        ask_all(d, token, call->verb);
        return;
    }
    struct daemon_source *to =
        call->verb == ADMIN_VERB_SWITCH_GET ? find_switch(d, call->switch_number) : find_source(d, call->source_id);
    if (to == NULL) {
        admin_reply_error(token, 404, 2, "there is no source named %s; see: sluice status", call->source_id);
        return;
    }
    struct order *o = order_new(d, to, verb_of(call->verb));
    o->token = token;
    o->call.number = call->switch_number;
    o->call.limit = call->verb == ADMIN_VERB_SOURCE ? STATUS_CLIENTS_MAX : call->limit;
    o->call.body = call->body == NULL ? NULL : json_incref(call->body);
    send_order(o);
}

struct event_letter {
    struct daemon_source *from;
    uint64_t number;
    json_t *event;
};

static void event_arrives(void *arg)
{
    struct event_letter *letter = arg;
    letter->from->switch_number = letter->number;
    admin_event(letter->from->loop->daemon->admin, letter->number, letter->event);
    mem_free(letter);
}

void api_publish(void *daemon_source, uint64_t switch_number, json_t *event)
{
    struct event_letter *letter = must_alloc(sizeof *letter);
    letter->from = daemon_source;
    letter->number = switch_number;
    letter->event = event;
    mailbox_post(&letter->from->loop->daemon->mailbox, event_arrives, letter);
}
