/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   submit ──> waiting (a list a room) ──> running (on a thread of the room) ──> done (a letter to the submitter's loop)
 *                 │ deadline, cancel, stop                                          ▲
 *                 └─────────────────────────────────────────────────────────────────┘
 *
 * Three rooms: probes, probes of slow backends, a switch's own queries. Each makes its threads as they are needed and lets idle ones
 * go. One more thread, the keeper, ends what waits past its deadline, and cuts what runs past it (the connector ends in time
 * by itself but for a server that never lets it wait).
 */
#include "upstream/pool.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include "base/mailbox.h"
#include "core/error.h"
#include "core/mem.h"

enum {
    JOBS_WAITING_MAX = 10000,
    RESERVED_THREADS_MAX = 256,
    PROBE_THREADS_MAX = 256,
    IDLE_MS_MAX = 30000, /* then a thread without work ends */
    CUT_GRACE_MS = 100,  /* past its deadline a running job is cut by the keeper */
    THREAD_STACK_BYTES = 1024 * 1024
};

enum room_id { ROOM_ORDINARY, ROOM_SLOW, ROOM_RESERVED, ROOM_COUNT };

/* A backend as the pool knows it; lives while jobs name it or while it is slow. */
struct key {
    struct key *next;
    unsigned refs;   /* jobs waiting or running */
    bool is_running; /* a job of the ordinary or slow room */
    bool is_slow;    /* its last job ran out of time */
    char name[];
};

struct job {
    struct job *prev, *next; /* in a room's waiting list or in the running list */
    struct upstream_pool *pool;
    uint64_t id;
    struct upstream_target target;
    bool has_target;
    bool is_cut; /* the keeper has fired |cancel| at the deadline */
    struct key *key;
    enum room_id room;
    uint64_t deadline_ms;
    upstream_run_fn run;
    upstream_done_fn done;
    void *arg;
    struct mailbox *mailbox;
    struct connector_cancel *cancel;
    int status;
    struct upstream_error error;
};

struct job_list {
    struct job *first, *last;
    unsigned count;
};

struct room {
    struct job_list waiting;
    pthread_cond_t work;
    unsigned threads, idle, threads_max;
};

struct upstream_pool {
    pthread_mutex_t lock; /* guards all below */
    struct room rooms[ROOM_COUNT];
    struct job_list running;
    struct key *keys;
    uint64_t next_id;
    bool is_stopping;
    unsigned threads;     /* of all rooms */
    pthread_cond_t ended; /* a thread has ended */
    pthread_t keeper;
    pthread_cond_t look; /* wakes the keeper */
    uint64_t keeper_wakes_ms;
    uint64_t timeouts_total, jobs_total;
};

/* ---- lists and keys ---- */

static void list_add(struct job_list *list, struct job *job)
{
    job->next = NULL;
    job->prev = list->last;
    if (list->last == NULL) {
        list->first = job;
    } else {
        list->last->next = job;
    }
    list->last = job;
    list->count++;
}

static void list_remove(struct job_list *list, struct job *job)
{
    assert(list->count > 0);
    if (job->prev == NULL) {
        list->first = job->next;
    } else {
        job->prev->next = job->next;
    }
    if (job->next == NULL) {
        list->last = job->prev;
    } else {
        job->next->prev = job->prev;
    }
    job->prev = job->next = NULL;
    list->count--;
}

static struct key *key_get(struct upstream_pool *pool, const char *name)
{
    for (struct key *k = pool->keys; k != NULL; k = k->next) {
        if (strcmp(k->name, name) == 0) {
            k->refs++;
            return k;
        }
    }
    struct key *k = mem_calloc(1, sizeof *k + strlen(name) + 1);
    if (k == NULL) return NULL;
    memcpy(k->name, name, strlen(name) + 1);
    k->refs = 1;
    k->next = pool->keys;
    pool->keys = k;
    return k;
}

static void key_put(struct upstream_pool *pool, struct key *key)
{
    assert(key->refs > 0);
    key->refs--;
    if (key->refs > 0 || key->is_slow) return;
    struct key **link = &pool->keys;
    while (*link != key)
        link = &(*link)->next;
    *link = key->next;
    mem_free(key);
}

/* What waits for a backend goes where it can wait without being in anybody's way. */
static void key_set_slow(struct upstream_pool *pool, struct key *key, bool is_slow)
{
    if (key->is_slow == is_slow) return;
    key->is_slow = is_slow;
    struct room *from = &pool->rooms[is_slow ? ROOM_ORDINARY : ROOM_SLOW];
    struct room *to = &pool->rooms[is_slow ? ROOM_SLOW : ROOM_ORDINARY];
    struct job *next;
    for (struct job *job = from->waiting.first; job != NULL; job = next) {
        next = job->next;
        if (job->key != key) continue;
        list_remove(&from->waiting, job);
        job->room = is_slow ? ROOM_SLOW : ROOM_ORDINARY;
        list_add(&to->waiting, job);
    }
}

/* ---- the end of a job ---- */

static void job_free(struct job *job)
{
    upstream_target_free(&job->target);
    connector_cancel_del(job->cancel);
    mem_free(job);
}

static void job_deliver(void *arg)
{
    struct job *job = arg;
    job->done(job->arg, job->status, &job->error);
    job_free(job);
}

/* The job is in no list any more; its letter is posted, and with it the job is gone for the pool. */
static void job_end(struct upstream_pool *pool, struct job *job, int status)
{
    key_put(pool, job->key);
    job->key = NULL;
    job->status = status;
    job->error.code = status;
    if (status == SLUICE_ERR_TIMEOUT) pool->timeouts_total++;
    mailbox_post(job->mailbox, job_deliver, job);
}

static void job_end_waiting(struct upstream_pool *pool, struct job *job, int status, const char *why)
{
    list_remove(&pool->rooms[job->room].waiting, job);
    upstream_error_set(&job->error, status, 0, "%s: %s", job->key->name, why);
    job_end(pool, job, status);
}

/*
 * Signals are the main loop's: a thread here gets none, SIGPIPE of a TLS write included. Those of a crash stay as they are.
 */
static int thread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
        sigdelset(&blocked, crashes[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failed = pthread_create(out, attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

/* ---- threads of a room ---- */

static int room_add_thread(struct upstream_pool *pool, enum room_id id);

static int job_run(struct job *job)
{
    struct connector *c = NULL;
    int rv = 0;
    if (job->has_target) rv = connector_open(&job->target, job->deadline_ms, job->cancel, &c, &job->error);
    if (rv == 0 && job->run != NULL) rv = job->run(job->arg, c, &job->error);
    connector_close(c);
    if (rv != 0 && job->error.text[0] == '\0') {
        upstream_error_set(&job->error, rv, 0, "%s: %s", job->key->name, error_text(rv));
    }
    return rv;
}

static struct job *room_pick(struct room *room, enum room_id id)
{
    for (struct job *job = room->waiting.first; job != NULL; job = job->next) {
        if (id == ROOM_RESERVED || !job->key->is_running) return job;
    }
    return NULL;
}

/* A key is free again, or its jobs came over from the other room. Without a thread they wait for the keeper. */
static void room_wake(struct upstream_pool *pool, enum room_id id)
{
    struct room *room = &pool->rooms[id];
    if (room->waiting.count == 0 || pool->is_stopping) return;
    int rv = room_add_thread(pool, id);
    (void)rv;
    pthread_cond_broadcast(&room->work);
}

static void room_run(struct upstream_pool *pool, struct room *room, struct job *job)
{
    bool is_probe = job->room != ROOM_RESERVED;
    list_remove(&room->waiting, job);
    list_add(&pool->running, job);
    if (is_probe) job->key->is_running = true;
    pthread_mutex_unlock(&pool->lock);
    int status = job_run(job);
    pthread_mutex_lock(&pool->lock);
    if (status == SLUICE_ERR_CANCELED && job->is_cut) status = SLUICE_ERR_TIMEOUT;
    list_remove(&pool->running, job);
    if (is_probe) {
        job->key->is_running = false;
        if (status != SLUICE_ERR_CANCELED) key_set_slow(pool, job->key, status == SLUICE_ERR_TIMEOUT);
        room_wake(pool, ROOM_ORDINARY);
        room_wake(pool, ROOM_SLOW);
    }
    job_end(pool, job, status);
}

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms)
{
    struct timespec until = { .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000 };
    pthread_cond_timedwait(cond, lock, &until);
}

struct thread_start {
    struct upstream_pool *pool;
    enum room_id id;
};

static void *room_thread(void *arg)
{
    struct thread_start start = *(struct thread_start *)arg;
    struct upstream_pool *pool = start.pool;
    struct room *room = &pool->rooms[start.id];
    mem_free(arg);
    pthread_mutex_lock(&pool->lock);
    uint64_t idle_since_ms = upstream_now_ms();
    for (;;) {
        struct job *job = pool->is_stopping ? NULL : room_pick(room, start.id);
        if (job != NULL) {
            room_run(pool, room, job);
            idle_since_ms = upstream_now_ms();
            continue;
        }
        if (pool->is_stopping || upstream_now_ms() >= idle_since_ms + IDLE_MS_MAX) break;
        room->idle++;
        wait_until(&room->work, &pool->lock, idle_since_ms + IDLE_MS_MAX);
        room->idle--;
    }
    room->threads--;
    pthread_mutex_unlock(&pool->lock);
    connector_thread_end();
    pthread_mutex_lock(&pool->lock);
    pool->threads--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* One thread more, where work waits and nobody is idle. Returns 0 also where the room is at its bound. */
static int room_add_thread(struct upstream_pool *pool, enum room_id id)
{
    struct room *room = &pool->rooms[id];
    if (room->idle >= room->waiting.count || room->threads >= room->threads_max) return 0;
    struct thread_start *start = mem_alloc(sizeof *start);
    if (start == NULL) return SLUICE_ERR_NOMEM;
    *start = (struct thread_start){ .pool = pool, .id = id };
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    int failed = thread_create(&thread, &attr, room_thread, start);
    pthread_attr_destroy(&attr);
    if (failed != 0) {
        mem_free(start);
        return SLUICE_ERR_NOMEM;
    }
    room->threads++;
    pool->threads++;
    return 0;
}

/* ---- the keeper ---- */

static uint64_t keeper_look_at_waiting(struct upstream_pool *pool, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    for (int id = 0; id < ROOM_COUNT; id++) {
        struct job *next;
        for (struct job *job = pool->rooms[id].waiting.first; job != NULL; job = next) {
            next = job->next;
            if (job->deadline_ms <= now_ms) {
                job_end_waiting(pool, job, SLUICE_ERR_TIMEOUT, "its turn did not come within the time allowed");
            } else if (job->deadline_ms < next_ms) {
                next_ms = job->deadline_ms;
            }
        }
    }
    return next_ms;
}

static uint64_t keeper_look_at_running(struct upstream_pool *pool, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    for (struct job *job = pool->running.first; job != NULL; job = job->next) {
        uint64_t cut_ms = job->deadline_ms + CUT_GRACE_MS;
        if (job->is_cut) continue;
        if (cut_ms <= now_ms) {
            job->is_cut = true;
            connector_cancel_fire(job->cancel);
        } else if (cut_ms < next_ms) {
            next_ms = cut_ms;
        }
    }
    return next_ms;
}

static void *keeper_thread(void *arg)
{
    struct upstream_pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    while (!pool->is_stopping) {
        uint64_t now_ms = upstream_now_ms();
        uint64_t waiting_ms = keeper_look_at_waiting(pool, now_ms);
        uint64_t running_ms = keeper_look_at_running(pool, now_ms);
        uint64_t wake_ms = waiting_ms < running_ms ? waiting_ms : running_ms;
        if (wake_ms > now_ms + IDLE_MS_MAX) wake_ms = now_ms + IDLE_MS_MAX;
        pool->keeper_wakes_ms = wake_ms;
        wait_until(&pool->look, &pool->lock, wake_ms);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- the pool ---- */

static void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void pool_destroy(struct upstream_pool *pool)
{
    for (int id = 0; id < ROOM_COUNT; id++)
        pthread_cond_destroy(&pool->rooms[id].work);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->look);
    pthread_mutex_destroy(&pool->lock);
    while (pool->keys != NULL) {
        struct key *next = pool->keys->next;
        mem_free(pool->keys);
        pool->keys = next;
    }
    mem_free(pool);
}

int upstream_pool_new(unsigned probe_threads, struct upstream_pool **out)
{
    assert(probe_threads >= 1 && probe_threads <= PROBE_THREADS_MAX);
    struct upstream_pool *pool = mem_calloc(1, sizeof *pool);
    if (pool == NULL) return SLUICE_ERR_NOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    cond_init_monotonic(&pool->ended);
    cond_init_monotonic(&pool->look);
    for (int id = 0; id < ROOM_COUNT; id++)
        cond_init_monotonic(&pool->rooms[id].work);
    pool->rooms[ROOM_ORDINARY].threads_max = pool->rooms[ROOM_SLOW].threads_max = probe_threads;
    pool->rooms[ROOM_RESERVED].threads_max = RESERVED_THREADS_MAX;
    pool->next_id = 1;
    if (thread_create(&pool->keeper, NULL, keeper_thread, pool) != 0) {
        pool_destroy(pool);
        return SLUICE_ERR_IO;
    }
    *out = pool;
    return 0;
}

void upstream_pool_stop(struct upstream_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    assert(!pool->is_stopping);
    pool->is_stopping = true;
    pthread_cond_signal(&pool->look);
    for (int id = 0; id < ROOM_COUNT; id++) {
        struct room *room = &pool->rooms[id];
        while (room->waiting.first != NULL) {
            job_end_waiting(pool, room->waiting.first, SLUICE_ERR_CANCELED, "canceled");
        }
        pthread_cond_broadcast(&room->work);
    }
    for (struct job *job = pool->running.first; job != NULL; job = job->next)
        connector_cancel_fire(job->cancel);
    while (pool->threads > 0)
        pthread_cond_wait(&pool->ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    pthread_join(pool->keeper, NULL);
}

void upstream_pool_del(struct upstream_pool *pool)
{
    if (pool == NULL) return;
    assert(pool->is_stopping && pool->threads == 0 && pool->running.count == 0);
    pool_destroy(pool);
}

static int job_new(struct upstream_pool *pool, const struct upstream_job *what, struct job **out)
{
    struct job *job = mem_calloc(1, sizeof *job);
    if (job == NULL) return SLUICE_ERR_NOMEM;
    int rv = connector_cancel_new(&job->cancel);
    if (rv == 0 && what->target != NULL) rv = upstream_target_copy(what->target, &job->target);
    if (rv != 0) {
        job_free(job);
        return rv;
    }
    job->pool = pool;
    job->has_target = what->target != NULL;
    job->deadline_ms = upstream_now_ms() + what->timeout_ms;
    job->run = what->run;
    job->done = what->done;
    job->arg = what->arg;
    job->mailbox = what->mailbox;
    *out = job;
    return 0;
}

/* Under the lock: the job is queued, or nothing is changed. */
static int pool_queue(struct upstream_pool *pool, const struct upstream_job *what, struct job *job)
{
    unsigned waiting = 0;
    for (int id = 0; id < ROOM_COUNT; id++)
        waiting += pool->rooms[id].waiting.count;
    if (pool->is_stopping) return SLUICE_ERR_STOPPING;
    if (waiting >= JOBS_WAITING_MAX) return SLUICE_ERR_BUSY;
    job->key = key_get(pool, what->key);
    if (job->key == NULL) return SLUICE_ERR_NOMEM;
    job->room = what->lane == UPSTREAM_LANE_RESERVED ? ROOM_RESERVED : job->key->is_slow ? ROOM_SLOW : ROOM_ORDINARY;
    struct room *room = &pool->rooms[job->room];
    list_add(&room->waiting, job);
    int rv = room_add_thread(pool, job->room);
    if (rv != 0 && room->threads == 0) { /* with a thread it only waits longer */
        list_remove(&room->waiting, job);
        key_put(pool, job->key);
        return rv;
    }
    job->id = pool->next_id++;
    pool->jobs_total++;
    pthread_cond_signal(&room->work);
    if (job->deadline_ms < pool->keeper_wakes_ms) pthread_cond_signal(&pool->look);
    return 0;
}

int upstream_pool_submit(struct upstream_pool *pool, const struct upstream_job *what, uint64_t *out_id)
{
    struct job *job;
    assert(what->done != NULL && what->mailbox != NULL && what->key != NULL && what->timeout_ms > 0);
    int rv = job_new(pool, what, &job);
    if (rv != 0) return rv;
    pthread_mutex_lock(&pool->lock);
    rv = pool_queue(pool, what, job);
    if (rv == 0 && out_id != NULL) *out_id = job->id;
    pthread_mutex_unlock(&pool->lock);
    if (rv != 0) job_free(job);
    return rv;
}

static struct job *list_find(const struct job_list *list, uint64_t id)
{
    struct job *job = list->first;
    while (job != NULL && job->id != id)
        job = job->next;
    return job;
}

void upstream_pool_cancel(struct upstream_pool *pool, uint64_t id)
{
    pthread_mutex_lock(&pool->lock);
    struct job *job = list_find(&pool->running, id);
    if (job != NULL) connector_cancel_fire(job->cancel);
    for (int room = 0; room < ROOM_COUNT; room++) {
        job = list_find(&pool->rooms[room].waiting, id);
        if (job != NULL) job_end_waiting(pool, job, SLUICE_ERR_CANCELED, "canceled");
    }
    pthread_mutex_unlock(&pool->lock);
}

void upstream_pool_read_counts(struct upstream_pool *pool, struct upstream_pool_counts *out)
{
    pthread_mutex_lock(&pool->lock);
    *out = (struct upstream_pool_counts){ .running = pool->running.count,
                                          .threads = pool->threads,
                                          .timeouts_total = pool->timeouts_total,
                                          .jobs_total = pool->jobs_total };
    for (int id = 0; id < ROOM_COUNT; id++)
        out->waiting += pool->rooms[id].waiting.count;
    for (const struct key *k = pool->keys; k != NULL; k = k->next)
        out->slow_keys += k->is_slow;
    pthread_mutex_unlock(&pool->lock);
}
