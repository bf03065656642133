/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - one source: its listener, sessions, backends, consumer and switch, wholly on one loop. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "core/attr.h"
#include "core/text.h"

struct source;
struct config_source;
struct journal;
struct journal_state;
struct mailbox;
struct tls_context;
struct upstream_pool;

/* What a source lives in. All of it outlives the source. */
struct source_host {
    uv_loop_t *loop;
    struct mailbox *mailbox; /* of |loop| */
    struct journal *journal;
    struct upstream_pool *pool;
    const char *state_dir;
    /* Publish the next event of a switch; the reference passes. Called on |loop|. */
    void (*publish)(void *arg, uint64_t switch_number, json_t *event);
    void *arg;
};

enum source_verb {
    SOURCE_VERB_STATUS,
    SOURCE_VERB_READY, /* {"ready": bool}: routed, or held for a reason that only an operator can change */
    SOURCE_VERB_CHECK,
    SOURCE_VERB_SWITCH,
    SOURCE_VERB_READDRESS,
    SOURCE_VERB_ABORT,
    SOURCE_VERB_ADOPT,
    SOURCE_VERB_REPIN,
    SOURCE_VERB_HOLD,
    SOURCE_VERB_RELEASE,
    SOURCE_VERB_HISTORY,
    SOURCE_VERB_SWITCH_GET, /* of any source: asked of one that has the journal at hand */
};

/* An operator's order. The source owns it from source_call() on and gives it back in |done|. */
struct source_call {
    enum source_verb verb;
    struct source *source; /* set by source_call() */
    json_t *body;          /* as admin_call's; owned by the call; NULL for GET */
    uint64_t number;       /* SWITCH_GET */
    uint32_t limit;        /* HISTORY; STATUS: so many clients are listed, 0: the list is left out */
    void (*done)(struct source_call *call, int http_status,
                 json_t *doc); /* on the source's loop; the reference passes */
    void *arg;
};

/*
 * source_listen - make the source and bind its listener; clients wait in the kernel's backlog.
 * Returns 0 and |*out|; or SLUICE_ERR_* with a text in |out_error|. Call from: main, before the loop runs.
 */
SLUICE_MUSTCHECK int source_listen(const struct config_source *config, uv_loop_t *loop, struct source **out,
                                   struct text *out_error);
/*
 * source_open - give it its state: record, pins, legs file, an open switch. Clients are held from here on.
 * Errors as source_listen(). Call from: main, after source_listen(), before the loop runs.
 */
SLUICE_MUSTCHECK int source_open(struct source *s, const struct source_host *host, const struct journal_state *state,
                                 struct text *out_error);
/*
 * source_tls_load - read the certificates of |config| anew. |*out| is NULL when its TLS is not ended here. Errors as
 * source_listen(). Call from: any thread; blocks on the disk.
 */
SLUICE_MUSTCHECK int source_tls_load(const struct config_source *config, struct tls_context **out,
                                     struct text *out_error);
/* source_tls_set - new sessions use |context|, whose reference passes; the others keep theirs. Call from: its loop. */
void source_tls_set(struct source *s, struct tls_context *context);
/* source_start - begin to probe, recover and route. Call from: its loop. */
void source_start(struct source *s);
/* source_call - do what is ordered, answer by call->done, maybe later. Call from: its loop. */
void source_call(struct source *s, struct source_call *call);
/* source_stop - see serve_run(); |on_stopped| when nothing of it is left on the loop but its memory. Call from: its loop. */
void source_stop(struct source *s, uint32_t stop_timeout_ms, void (*on_stopped)(void *arg), void *arg);
/* source_abandon - undo source_listen() and source_open() of one that was never started; the loop must run once after it. */
void source_abandon(struct source *s);
/* source_del - free a stopped or abandoned one. Call from: anywhere, once the loop has no handle of it. */
void source_del(struct source *s);
/* source_id - its name. */
const char *source_id(const struct source *s);
