/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: which thread has what, in which order it starts and stops. */
#include "source/serve.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/mailbox.h"
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"
#include "journal/journal.h"
#include "net/fdlimit.h"
#include "net/tls_mbedtls.h"
#include "source/api.h"
#include "source/daemon.h"
#include "upstream/pool.h"

enum { PROBE_THREADS_MAX = 32, POOL_STOP_RESERVE_MS = 300 };

static void report_start_failure(const char *what, int status, const char *text)
{
    log_error(what, LOG_STR("error", error_name(status)),
              LOG_STR("text", text == NULL || *text == '\0' ? error_text(status) : text));
}

/* ---- loops ---- */

static void run_loop(void *arg)
{
    struct daemon_loop *l = arg;
    uv_run(&l->loop, UV_RUN_DEFAULT);
}

static int loops_init(struct daemon *d)
{
    d->loops = mem_calloc(d->config->threads, sizeof *d->loops);
    if (d->loops == NULL) return SLUICE_ERR_NOMEM;
    for (; d->loop_count < d->config->threads; d->loop_count++) {
        struct daemon_loop *l = &d->loops[d->loop_count];
        l->daemon = d;
        if (uv_loop_init(&l->loop) != 0) return SLUICE_ERR_NOMEM;
        int rv = mailbox_init(&l->mailbox, &l->loop);
        if (rv != 0) {
            uv_loop_close(&l->loop);
            return rv;
        }
    }
    return 0;
}

static int sources_listen(struct daemon *d, struct text *error)
{
    d->sources = mem_calloc(d->config->source_count, sizeof *d->sources);
    if (d->sources == NULL) return SLUICE_ERR_NOMEM;
    for (; d->source_count < d->config->source_count; d->source_count++) {
        struct daemon_source *ds = &d->sources[d->source_count];
        ds->loop = &d->loops[d->source_count % d->loop_count];
        int rv = source_listen(&d->config->sources[d->source_count], &ds->loop->loop, &ds->source, error);
        if (rv != 0) return rv;
    }
    return 0;
}

static int sources_open(struct daemon *d, const struct journal_state *state, struct text *error)
{
    for (size_t i = 0; i < d->source_count; i++) {
        struct daemon_source *ds = &d->sources[i];
        const struct source_host host = { .loop = &ds->loop->loop,
                                          .mailbox = &ds->loop->mailbox,
                                          .journal = d->journal,
                                          .pool = d->pool,
                                          .state_dir = d->config->state_dir,
                                          .publish = api_publish,
                                          .arg = ds };
        int rv = source_open(ds->source, &host, state, error);
        if (rv != 0) return rv;
    }
    return 0;
}

static void start_source(void *arg)
{
    struct daemon_source *ds = arg;
    source_start(ds->source);
}

static int sources_start(struct daemon *d)
{
    for (size_t i = 0; i < d->source_count; i++)
        mailbox_post(&d->sources[i].loop->mailbox, start_source, &d->sources[i]);
    for (size_t i = 0; i < d->loop_count; i++) {
        if (uv_thread_create(&d->loops[i].thread, run_loop, &d->loops[i]) != 0) {
            log_error("a thread could not be started");
            _exit(1); /* some loops run already; nothing was routed yet, recovery has nothing to do */
        }
    }
    d->is_running = true;
    return 0;
}

/* ---- stop ---- */

static void on_main_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void on_admin_closed(void *arg)
{
    struct daemon *d = arg;
    mailbox_close(&d->mailbox, NULL, NULL);
}

/* On the main loop: every source has stopped and every loop has been told to end. */
static void all_stopped(void *arg)
{
    struct daemon *d = arg;
    uv_close((uv_handle_t *)&d->sigterm, on_main_closed);
    uv_close((uv_handle_t *)&d->sigint, on_main_closed);
    uv_close((uv_handle_t *)&d->sighup, on_main_closed);
    uv_close((uv_handle_t *)&d->stop_timer, on_main_closed);
    admin_close(d->admin, on_admin_closed, d);
}

static void one_stopped(void *arg)
{
    struct daemon_source *ds = arg;
    struct daemon *d = ds->loop->daemon;
    d->stopped_count++;
    if (d->stopped_count == d->source_count) all_stopped(d);
}

static void on_source_stopped(void *arg)
{
    struct daemon_source *ds = arg;
    struct daemon_loop *l = ds->loop;
    mailbox_post(&l->daemon->mailbox, one_stopped, ds);
}

static void stop_source(void *arg)
{
    struct daemon_source *ds = arg;
    source_stop(ds->source, ds->loop->daemon->config->stop_timeout_ms, on_source_stopped, ds);
}

static void stop_pool(struct daemon *d)
{
    if (d->pool == NULL || d->pool_is_stopped) return;
    d->pool_is_stopped = true;
    upstream_pool_stop(d->pool);
}

/* Probes of frozen servers need not be waited for: they hold nothing. */
static void on_stop_timer(uv_timer_t *timer)
{
    stop_pool(timer->data);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    if (d->is_stopping) {
        log_warn("second signal: ending at once; the next start finishes or undoes what is open",
                 LOG_I64("signal", number));
        _exit(1);
    }
    d->is_stopping = true;
    log_info("stopping", LOG_I64("signal", number), LOG_U64("stop_timeout_ms", d->config->stop_timeout_ms));
    uv_timer_start(&d->stop_timer, on_stop_timer, d->config->stop_timeout_ms + POOL_STOP_RESERVE_MS, 0);
    for (size_t i = 0; i < d->source_count; i++)
        mailbox_post(&d->sources[i].loop->mailbox, stop_source, &d->sources[i]);
}

static void close_loop_mailbox(void *arg)
{
    struct daemon_loop *l = arg;
    mailbox_close(&l->mailbox, NULL, NULL);
}

/* The loops end when their mailboxes close; nobody posts to them once journal and pool have stopped. */
static void loops_join(struct daemon *d)
{
    for (size_t i = 0; i < d->loop_count; i++) {
        mailbox_post(&d->loops[i].mailbox, close_loop_mailbox, &d->loops[i]);
        if (d->is_running) {
            uv_thread_join(&d->loops[i].thread);
        } else {
            uv_run(&d->loops[i].loop, UV_RUN_DEFAULT);
        }
        uv_loop_close(&d->loops[i].loop);
    }
}

/* ---- reload ---- */

/* New certificates on their way to a source's loop. */
struct reload {
    struct source *source;
    struct tls_context *context;
};

static void set_certificates(void *arg)
{
    struct reload *r = arg;
    source_tls_set(r->source, r->context);
    mem_free(r);
}

static int reload_source(const struct daemon_source *ds, const struct config_source *config, struct text *out_error)
{
    struct tls_context *context = NULL;
    int rv = source_tls_load(config, &context, out_error);
    if (rv != 0 || context == NULL) return rv;
    struct reload *r = mem_calloc(1, sizeof *r);
    if (r == NULL) {
        tls_context_unref(context);
        return SLUICE_ERR_NOMEM;
    }
    *r = (struct reload){ .source = ds->source, .context = context };
    mailbox_post(&ds->loop->mailbox, set_certificates, r);
    return 0;
}

/* SIGHUP: certificates are read again here, where a slow disk holds nobody up. What is wrong stays as it was. */
static void on_reload(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    (void)number;
    if (d->is_stopping) return;
    log_info("SIGHUP: certificates are read again; nothing else of the configuration is");
    for (size_t i = 0; i < d->source_count; i++) {
        struct text error = TEXT_INIT;
        int rv = reload_source(&d->sources[i], &d->config->sources[i], &error);
        if (rv != 0)
            log_error("new certificates are not usable; the old ones stay in use",
                      LOG_STR("source", d->config->sources[i].source_id), LOG_STR("error", error_name(rv)),
                      LOG_STR("text", text_str(&error)));
        text_free(&error);
    }
}

/* ---- start ---- */

static int main_init(struct daemon *d)
{
    if (uv_loop_init(&d->loop) != 0) return SLUICE_ERR_NOMEM;
    int rv = mailbox_init(&d->mailbox, &d->loop);
    if (rv != 0) return rv;
    uv_signal_init(&d->loop, &d->sigterm);
    uv_signal_init(&d->loop, &d->sigint);
    uv_signal_init(&d->loop, &d->sighup);
    uv_timer_init(&d->loop, &d->stop_timer);
    d->sigterm.data = d->sigint.data = d->sighup.data = d->stop_timer.data = d;
    return 0;
}

static int check_descriptors(const struct config *config, struct text *error)
{
    uint64_t sessions = 0, held = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        sessions += config->sources[i].limits.sessions_max;
        held += config->sources[i].limits.hold_clients_max;
    }
    return fdlimit_check(fdlimit_raise(), config->source_count, sessions, held, error);
}

/* Bind and listen first, so that nobody is refused; then the state; then whoever waited is served. */
static int start(struct daemon *d, struct text *error)
{
    struct journal_state state = { 0 };
    char *journal_error = NULL;
    int rv = check_descriptors(d->config, error);
    if (rv == 0) rv = loops_init(d);
    if (rv == 0) rv = sources_listen(d, error);
    if (rv == 0) rv = connector_library_init();
    if (rv == 0)
        rv = upstream_pool_new(d->source_count < PROBE_THREADS_MAX ? (unsigned)d->source_count + 2 : PROBE_THREADS_MAX,
                               &d->pool);
    if (rv == 0) rv = journal_open(d->config->state_dir, &d->journal, &state, &journal_error);
    if (journal_error != NULL) text_puts(error, journal_error);
    mem_free(journal_error);
    if (rv == 0) rv = sources_open(d, &state, error);
    journal_state_free(&state);
    if (rv == 0) rv = admin_start(&d->loop, &d->config->admin, NULL, api_handle, d, &d->admin);
    return rv;
}

/* What was begun before the failure ends in reverse; no loop has run yet. */
static void unwind(struct daemon *d)
{
    for (size_t i = 0; i < d->config->source_count && d->sources != NULL; i++) {
        if (d->sources[i].source != NULL) source_abandon(d->sources[i].source);
    }
    uv_close((uv_handle_t *)&d->sigterm, on_main_closed);
    uv_close((uv_handle_t *)&d->sigint, on_main_closed);
    uv_close((uv_handle_t *)&d->sighup, on_main_closed);
    uv_close((uv_handle_t *)&d->stop_timer, on_main_closed);
    mailbox_close(&d->mailbox, NULL, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
}

static void finish(struct daemon *d)
{
    stop_pool(d);
    if (d->journal != NULL) journal_close(d->journal);
    loops_join(d);
    upstream_pool_del(d->pool);
    for (size_t i = 0; i < d->config->source_count && d->sources != NULL; i++)
        source_del(d->sources[i].source);
    connector_library_end();
    uv_loop_close(&d->loop);
    mem_free(d->sources);
    mem_free(d->loops);
}

int serve_run(const struct config *config, const struct serve_options *options)
{
    struct daemon d = { .config = config };
    struct text error = TEXT_INIT;
    log_setup(options->log_format, options->log_least);
    signal(SIGPIPE, SIG_IGN);
    json_object_seed(0);
    int rv = main_init(&d);
    if (rv != 0) {
        report_start_failure("cannot start", rv, NULL);
        return 1;
    }
    rv = start(&d, &error);
    if (rv != 0) {
        report_start_failure("cannot start", rv, text_str(&error));
        unwind(&d);
    } else {
        uv_signal_start(&d.sigterm, on_signal, SIGTERM);
        uv_signal_start(&d.sigint, on_signal, SIGINT);
        uv_signal_start(&d.sighup, on_reload, SIGHUP);
        sources_start(&d);
        uv_run(&d.loop, UV_RUN_DEFAULT);
    }
    finish(&d);
    text_free(&error);
    if (rv == 0) log_info("stopped");
    return rv == 0 ? 0 : 1;
}
