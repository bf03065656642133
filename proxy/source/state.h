/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - what the files of source/ share: a source's parts. Not for other modules. All of it lives on the source's loop. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "config/config.h"
#include "consumer/consumer.h"
#include "core/admission.h"
#include "core/checks.h"
#include "core/cutover.h"
#include "core/delivered.h"
#include "core/facts.h"
#include "core/threads.h"
#include "journal/journal.h"
#include "net/legs.h"
#include "net/listener.h"
#include "net/sessions.h"
#include "sluice/gtid.h"
#include "source/dump_gate.h"
#include "source/positions.h"
#include "source/readdress.h"
#include "source/source.h"
#include "source/twins.h"
#include "upstream/pool.h"
#include "upstream/queries.h"

enum { BACKEND_ADDRESSES_MAX = 8, BACKEND_ERROR_LEN = 300, SOURCE_WAITING_LEN = 360, SOURCE_STREAM_USERS_MAX = 8 };

/* One server of the group, as the probes see it. */
struct backend {
    struct source *source;
    const struct config_backend *config;
    uint32_t index;
    struct upstream_target target; /* |addr| is the address in use; valid once |address_count| > 0 */
    struct sockaddr_storage addresses[BACKEND_ADDRESSES_MAX];
    size_t address_count, address_at;
    uv_getaddrinfo_t resolve;
    uv_timer_t timer; /* the next probe */
    enum { BACKEND_IDLE, BACKEND_RESOLVING, BACKEND_PROBING } activity;
    bool wants_probe;   /* asked for while one was under way: its answer may be older than the question */
    bool is_reachable;  /* the last probe was answered */
    bool has_facts;     /* |facts| were read at least once */
    bool is_wrong;      /* another server_uuid than the pinned one answers */
    bool is_confirmed;  /* the pinned uuid was seen under target.addr, and no leg there has ended by itself since */
    struct facts facts; /* of the last answered probe */
    struct facts incoming;
    int probe_status;
    char probe_error[BACKEND_ERROR_LEN + 1];
    char pin[FACTS_UUID_LEN + 1]; /* durable; "" while none */
    bool is_pinning;
    char pinning[FACTS_UUID_LEN + 1]; /* the uuid on its way to the disk */
    bool pin_is_behind;               /* |executed| has grown since it was last written */
    struct gtid_set *executed;        /* the largest E seen under the pin; it never shrinks */
    struct gtid_set
        *sent; /* of the active one: what it had sent when the probe that is under way was asked; else NULL */
    uint64_t pin_written_ms;
};

/* What an operator asked of a switch or a check. */
struct switch_options {
    uint32_t catchup_ms;
    bool old_is_dead;
    bool accepts_unknown;           /* --accept-loss=unknown */
    struct gtid_set *accept_loss;   /* NULL: nothing */
    struct gtid_set *accept_errant; /* NULL: nothing */
    uint8_t (*accept_errant_uuids)[GTID_UUID_BYTES];
    size_t accept_errant_uuid_count;
    char *gtid_s;    /* consumer manual; NULL: not given */
    uint32_t waived; /* checks_waive_parse() */
    json_t *json;    /* as asked, for the record */
};

/* Read both servers and the consumer, judge, tell. One of a source at a time. */
enum reading_kind { READING_CHECK, READING_GATE, READING_NEW };
struct reading;
typedef void (*reading_done_fn)(struct source *s, void *arg, enum cutover_verdict verdict, int status,
                                const char *text);

struct reading {
    enum reading_kind kind;
    bool is_active;
    struct backend *from; /* NULL: declared dead, not asked */
    struct backend *to;
    const struct switch_options *options;
    struct positions positions; /* of the last consumer status; kept for READING_NEW */
    bool consumer_is_known;
    uint32_t check_rounds;     /* READING_CHECK in a row that were judged */
    char *plan;                /* what a pause would pause */
    struct gtid_set *snapshot; /* what the old server had when first asked in this phase: D's forecast, then D itself */
    bool snapshot_is_delivered;    /* frozen after the last stream ended */
    struct gtid_set *old_at_empty; /* executed and owned of the old server then; NULL before, and where it is dead */
    bool new_replicates;
    bool old_replicates; /* from whomever: a backend that is merely ahead of it is waited for */
    bool waits_for_old;  /* the last judgement: it is */
    enum reading_kind lag_kind;
    uint64_t lag_first, lag_last; /* transactions that were missing at first, and are now */
    uint64_t lag_first_ms;
    struct facts new_facts, old_facts;
    struct gtids new_gtids, old_gtids;
    struct check_list server_checks; /* of READING_CHECK */
    struct check_list gate_checks;   /* of the last reading */
    struct check_list list_checks;   /* of the last reading but READING_NEW: who goes around Sluice */
    reading_done_fn done;
    void *arg;
    uint32_t generation; /* answers of an abandoned reading are dropped */
};

/* The listing of the old server, done in one job on a probe thread. */
struct listing;

/* A switch in progress. */
struct switch_run {
    bool is_open;
    uint64_t number;
    struct backend *from, *to;
    struct switch_options options;
    char *plan;
    uint64_t epoch_from, epoch_to;
    uint64_t started_ms, started_unix_ms;
    uint64_t hold_began_ms, hold_ended_ms;
    struct sessions_counters before; /* at HOLD */
    uint32_t legs_at_hold, thread_kills;
    struct threads_leg *drained; /* the legs of the old epoch, as the old server's processlist knows them */
    size_t drained_count;
    bool has_flipped;
    char waiting[SOURCE_WAITING_LEN + 1]; /* what a pause, a resume or a verify waits for; "" when nothing is known */
    char *delivered_text;                 /* D as frozen */
    json_t *steps;                        /* array */
    struct record_switch record;
    struct record_source next; /* what the flip writes */
    uint32_t reading_op;
};

/* An event with its text kept. */
struct source_event {
    struct cutover_event ev;
    char text[CUTOVER_TEXT_LEN + 1];
};

typedef void (*placement_done_fn)(struct source *s, void *arg, int status, const char *text);

struct source {
    const struct config_source *config;
    struct source_host host;
    struct listener *listener;
    struct sessions *sessions;
    struct tls_context *tls; /* as the sessions have it; NULL unless TLS is ended here */
    struct legs *legs;
    bool is_legs_file_lost; /* it was damaged, and what a dead process left cannot be told by its address: no switch */
    struct consumer *consumer;
    uv_getaddrinfo_t consumer_resolve;
    bool consumer_is_resolved, consumer_is_resolving;
    struct backend *backends;
    size_t backend_count;
    struct record_source record; /* as durable */
    char waiting_for[SOURCE_WAITING_LEN + 1];
    char stream_users[SOURCE_STREAM_USERS_MAX][THREADS_USER_LEN + 1]; /* accounts that asked for a binlog through us */
    size_t stream_user_count;
    json_t *consumer_seen;      /* what the consumer said when it was last asked, as the status shows it; NULL: never */
    bool is_asking_consumer;    /* for the status alone */
    bool has_streamed;          /* a binlog stream ran through this process */
    struct delivered delivered; /* D */
    /* Streams that ended inside a transaction in this epoch, until their readers were sent it whole. */
    struct dump_gate dump_gate;
    struct twins twins;
    /* Before the first client is routed: what a dead process left on the active backend ends, and D begins. */
    enum { SOURCE_UNSETTLED, SOURCE_SETTLING, SOURCE_SETTLED } settling;
    uint32_t settle_op;
    uint64_t settle_deadline_ms;
    uv_timer_t settle_timer;
    struct cutover cutover;
    struct source_event queue[8]; /* while a step is being performed */
    size_t queue_count;
    bool is_stepping;
    uv_timer_t cutover_timer;
    uv_timer_t retry_timer; /* first start: judged again */
    struct reading reading;
    struct reading check; /* `sluice check`, beside a switch */
    struct switch_options check_options;
    struct source_call *check_call;
    uint64_t check_deadline_ms;
    uv_timer_t check_timer; /* a backend that is merely behind is asked again */
    struct {
        bool is_active;
        struct backend *backend;
        placement_done_fn done;
        void *arg;
    } placement;
    struct switch_run run;
    struct readdress_run *readdress; /* NULL with a consumer that is not DM */
    uint64_t switches_done, switches_undone, switches_failed;
    uint32_t jobs;    /* under way, of all kinds: the source stays until they are answered */
    uint32_t handles; /* libuv handles not yet closed */
    bool is_started, is_stopping, is_closing, consumer_is_closed, sessions_are_closed, listener_is_closed;
    bool is_ready;
    bool has_tried_resume;
    bool is_writing;     /* an operator's order or the first record is on its way to the disk */
    bool latch_is_dirty; /* the latch in |record| is not on disk yet */
    uint64_t stop_deadline_ms;
    uv_timer_t stop_timer;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* source.c */
uint64_t source_now(const struct source *s); /* monotonic ms, of the loop's turn */
uint64_t source_unix_ms(void);
struct backend *source_active(struct source *s);                       /* NULL without a record */
struct backend *source_backend(struct source *s, const char *name);    /* NULL: none of this name */
unsigned source_proxy_version(const struct config_source *config);     /* 0: backends are told nothing */
unsigned source_own_proxy_version(const struct config_source *config); /* the same of Sluice's own connections */
void source_admit(struct source *s);                                   /* apply admission_decide() to the sessions */
void source_job_ended(struct source *s);                               /* one of |jobs| was answered */
/* source_take_record - |next| is durable: it becomes the record (emptied); a latch that came meanwhile stays. */
void source_take_record(struct source *s, struct record_source *next);
/* source_write_latch - when it is dirty and no other write of the record is under way. */
void source_write_latch(struct source *s);
struct gtid_set *source_accepted_loss(const struct source *s); /* new set, NULL when memory ran out */

/* backend.c */
SLUICE_MUSTCHECK int backend_init(struct backend *b, struct source *s, uint32_t index, const struct record_pin *pin);
void backend_start(struct backend *b);
void backend_close(struct backend *b);
void backend_free(struct backend *b);
void backend_probe_now(struct backend *b);
void backend_lost_leg(struct backend *b);                                  /* confirm again before anybody is routed */
void backend_confirm(struct backend *b, const struct upstream_target *at); /* the gate saw the pinned uuid there */
/* backend_latch - it lacks |missing|, |which| tells how that is known: nothing passes until a person clears it. The caller writes it. */
void backend_latch(struct backend *b, const struct gtid_set *missing, const char *which);
bool backend_is_latched(const struct backend *b);
void backend_write_pin(struct backend *b, struct journal_txn *txn);
void backend_address_text(const struct backend *b, char *out, size_t room);

/* reading.c: judges by s->... of the reading alone; |r->from|, |r->to| and |r->options| are set by the caller */
void reading_start(struct source *s, struct reading *r, enum reading_kind kind, reading_done_fn done, void *arg);
void reading_abandon(struct reading *r);
void reading_free(struct reading *r);

/* options.c */
SLUICE_MUSTCHECK int switch_options_parse(const json_t *body, const struct config_limits *limits,
                                          struct switch_options *out, struct text *out_error);
void switch_options_free(struct switch_options *o);

/* streams.c */
struct sessions_stream_hooks streams_hooks(void);
void streams_settle(struct source *s);  /* begin, when the active backend is confirmed and it has not begun */
void streams_flipped(struct source *s); /* the flip is durable: where D goes on */
/* streams_tell_consumer - before it is asked: may D stand for what a consumer that cannot tell has? */
void streams_tell_consumer(const struct source *s);
/*
 * streams_told - D less what was accepted as lost, once every stream is parked: a new set, gtid_set_del(). NULL while |unparked|
 * streams are not, where a stream cannot be followed, where D is not known, and where memory ran out.
 */
struct gtid_set *streams_told(const struct source *s, uint32_t unparked);

/* bypass.c */
/* bypass_add - what |rows| of |b|'s processlist show that goes around Sluice, as lines of |list|. */
void bypass_add(struct source *s, const struct backend *b, const struct processlist *rows,
                const struct threads_socket *sockets, size_t socket_count, struct check_list *list);

/* listing.c */
/* listing_collect_legs - the open legs to |b|, as its processlist shows them; mem_free() |*out|. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int listing_collect_legs(struct source *s, const struct backend *b, struct threads_leg **out,
                                          size_t *out_count);
typedef void (*listing_done_fn)(struct source *s, uint32_t op, int status, uint32_t found, const char *text,
                                struct gtid_set *delivered);
/* listing_live - every open leg must be in the old server's list. */
void listing_live(struct source *s, struct backend *old, uint32_t op, uint32_t timeout_ms, listing_done_fn done);
/* listing_empty - list, kill ours; with none left read owned and executed: D. */
void listing_empty(struct source *s, struct backend *old, uint32_t op, uint32_t timeout_ms, listing_done_fn done);
/* listing_keep_legs - remember the open legs: the drain is going to close them. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int listing_keep_legs(struct source *s);

/* pausing.c */
/*
 * pausing_begin - narrow the open switch's plan to what is still awake, write it down, and pause it. |done| exactly once, as of
 * consumer_pause(), maybe from inside; with an error before anything was ordered the plan is gone, and so there is nothing to resume.
 */
void pausing_begin(struct source *s, consumer_done_fn done, void *arg);

/* switch.c */
/* How far a recorded switch has come. Before PAUSING nothing was paused; a flip that is not durable may be FLIPPED or not. */
#define SWITCH_PHASE_RECORDED "recorded"
#define SWITCH_PHASE_PAUSING  "pausing"
#define SWITCH_PHASE_FLIPPED  "flipped"
/* switch_fill_record - the open switch as it stands, for the journal. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int switch_fill_record(struct source *s, const char *phase);
/* switch_prepare - take |options| over and fill the run's record; 0, or SLUICE_ERR_NOMEM with no run open. */
SLUICE_MUSTCHECK int switch_prepare(struct source *s, struct backend *to, struct switch_options *options);
/* switch_begin - the record has its number on disk: go. */
void switch_begin(struct source *s, uint64_t number);
void switch_event(struct source *s, const struct cutover_event *ev);
void switch_recover(struct source *s, const struct record_switch *record);
void switch_run_free(struct switch_run *run);
bool switch_is_running(const struct source *s);
json_t *switch_run_json(struct source *s); /* the open switch, as GET /v1/switches/{n} shows it */

/* placement.c */
/*
 * placement_judge - may |b| be the active backend, as far as the consumer and the other servers can tell? |done| exactly once,
 * maybe from inside: 0, SLUICE_ERR_REFUSED, or an error of consumer_status(). One at a time: SLUICE_ERR_BUSY.
 */
void placement_judge(struct source *s, struct backend *b, placement_done_fn done, void *arg);
void first_start_judge(struct source *s); /* no record: may the configured backend be routed? */

/* commands.c */
void commands_close(struct source *s); /* answer what waits for a timer */

/* tls.c */
bool tls_is_ended_here(const struct config_source *config);
enum sessions_tls tls_sessions_mode(const struct config_source *config);
json_t *tls_json(const struct source *s);

/* status.c */
/* status_source - with |client_max| not 0 also up to so many clients, in order of arrival. */
json_t *status_source(struct source *s, uint32_t client_max);
/* status_take_consumer - keep what it said for the status; |found| NULL: |error| says why it said nothing. */
void status_take_consumer(struct source *s, const struct consumer_status *found, const char *error);
/* status_ask_consumer - ask it for the status, unless clients are held: the question can open connections through us. */
void status_ask_consumer(struct source *s);
json_t *status_checks(const struct reading *r);
json_t *status_switch_record(const struct record_switch *r);
