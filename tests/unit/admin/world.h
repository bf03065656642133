/* SPDX-License-Identifier: Apache-2.0 */
/* world.h - an admin interface on a loop, a scripted handler, and libcurl as its client, all in the test's one thread. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <uv.h>
#include "admin/admin.h"
#include "config/config.h"
#include "core/text.h"

enum { WORLD_LIMIT_MS = 10000, WORLD_TOKENS_MAX = 64 };

/* What the handler does with a call. */
enum world_script {
    WORLD_REPLIES, /* at once, with |status| and |doc| */
    WORLD_KEEPS,   /* the token goes to |tokens| */
    WORLD_CLOSES,  /* calls admin_close(), and keeps the token */
};

struct world {
    uv_loop_t loop;
    struct admin *admin;
    bool is_closed; /* on_closed has run */
    struct config_admin config;
    char dir[64];
    char socket[96];
    CURLM *multi;

    enum world_script script;
    int status;
    json_t *doc; /* NULL: {"result":true,"msg":""} */
    struct admin_token *tokens[WORLD_TOKENS_MAX];
    size_t token_count;

    /* The last call. */
    unsigned calls;
    enum admin_verb verb;
    char source_id[ADMIN_SOURCE_ID_BYTES_MAX + 1]; /* "-" for NULL */
    uint64_t switch_number;
    uint32_t limit;
    json_t *body;
};

/* A request under way or done. */
struct request {
    CURL *easy;
    struct curl_slist *headers;
    struct world *world;
    bool is_done;
    CURLcode result;
    long status;
    struct text head; /* all header lines */
    struct text body;
    size_t take_max; /* stop taking bytes once the body has so many; 0: take all */
};

/* world_up - on a unix socket in a folder of its own; |limits| may be NULL. */
void world_up(struct world *w, const struct admin_limits *limits);
/* world_up_tcp - on a free port of 127.0.0.1; |token| NULL: insecure. */
void world_up_tcp(struct world *w, const char *token, const struct admin_limits *limits);
/* world_init - all but admin_start(): for tests of it. */
void world_init(struct world *w);
/* world_down - close the admin if it is open; fails when a handle is left on the loop. */
void world_down(struct world *w);
/* world_close - admin_close(), and wait until it has ended. */
void world_close(struct world *w);

typedef bool (*world_condition)(void *arg);
/* world_until - turn the loop and the client until |condition(arg)|; fails after WORLD_LIMIT_MS. */
void world_until(struct world *w, world_condition condition, void *arg);
/* world_turn - turn them once, for some milliseconds at most. */
void world_turn(struct world *w);

/* request_start - send |method| |path|; |body| NULL: none, otherwise as application/json. */
void request_start(struct world *w, struct request *r, const char *method, const char *path, const char *body);
/* request_begin, request_send - the same in two steps, for options between them; request_header adds one. */
void request_begin(struct world *w, struct request *r, const char *method, const char *path, const char *body);
void request_header(struct request *r, const char *line);
void request_send(struct request *r);
/* request_wait - until it is done; fails when the transfer failed. */
void request_wait(struct request *r);
/* request_end - free it; one that is not done is hung up. */
void request_end(struct request *r);
/* request_json - its body; the caller's reference. Fails when it is no JSON object of the right type. */
json_t *request_json(const struct request *r);
/* request_wait_for - until its body holds |words|. */
void request_wait_for(struct request *r, const char *words);

/* ask - a whole request; returns the status, and the document in |*out| (may be NULL). */
long ask(struct world *w, const char *method, const char *path, const char *body, json_t **out);
/* assert_refused - |status|, and a body of exactly {"result":false,"msg":<holds words>,"code":2}. */
void assert_refused(struct world *w, const char *method, const char *path, const char *body, long status,
                    const char *words);

/* world_wait_calls - until the handler was called so often. */
void world_wait_calls(struct world *w, unsigned calls);
/* raw_connect - a plain socket to the admin, non-blocking; raw_send sends all of |text|. */
int raw_connect(struct world *w);
void raw_send(int fd, const char *text);
/* raw_wait_end - until the admin has closed |fd|; what came before it goes to |out| (may be NULL). */
void raw_wait_end(struct world *w, int fd, struct text *out);
