/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of a source's clients: certificates are loaded, and loaded again; what a mode cannot do is said. */
#include "net/tls_mbedtls.h"
#include <assert.h>
#include <stdio.h>
#include "base/log.h"
#include "core/error.h"
#include "source/state.h"

bool tls_is_ended_here(const struct config_source *config)
{
    return config->tls.mode == CONFIG_TLS_MODE_MIRROR || config->tls.mode == CONFIG_TLS_MODE_REQUIRE;
}

int source_tls_load(const struct config_source *config, struct tls_context **out, struct text *out_error)
{
    const struct config_tls *tls = &config->tls;
    const struct tls_files files = { .cert = tls->cert,
                                     .key = tls->key,
                                     .ca = tls->ca,
                                     .backend_ca = tls->backend_ca,
                                     .backend_cert = tls->backend_cert,
                                     .backend_key = tls->backend_key,
                                     .verify_name = tls->verify == CONFIG_TLS_VERIFY_BY_NAME };
    if (!tls_is_ended_here(config)) {
        *out = NULL;
        return 0;
    }
    text_printf(out_error, "source %s: ", config->source_id);
    return tls_context_new(&files, out, out_error);
}

void source_tls_set(struct source *s, struct tls_context *context)
{
    assert(context != NULL);
    if (s->is_closing || s->sessions_are_closed) {
        tls_context_unref(context);
        return;
    }
    tls_context_unref(s->tls);
    s->tls = context;
    sessions_set_tls_context(s->sessions, context);
    log_info("certificates were read again; new sessions use them", LOG_STR("source", s->config->source_id),
             LOG_I64("expires_unix", tls_context_expires_unix(context)));
}

enum sessions_tls tls_sessions_mode(const struct config_source *config)
{
    switch (config->tls.mode) {
    case CONFIG_TLS_MODE_OFF: return SESSIONS_TLS_OFF;
    case CONFIG_TLS_MODE_PASSTHROUGH: return SESSIONS_TLS_PASSTHROUGH;
    case CONFIG_TLS_MODE_MIRROR: return SESSIONS_TLS_MIRROR;
    case CONFIG_TLS_MODE_REQUIRE: return SESSIONS_TLS_REQUIRE;
    }
    return SESSIONS_TLS_OFF;
}

static const char *mode_word(enum config_tls_mode mode)
{
    switch (mode) {
    case CONFIG_TLS_MODE_OFF: return "off";
    case CONFIG_TLS_MODE_PASSTHROUGH: return "passthrough";
    case CONFIG_TLS_MODE_MIRROR: return "mirror";
    case CONFIG_TLS_MODE_REQUIRE: return "require";
    }
    return "";
}

static void add_limits(json_t *limits, const char *who)
{
    static const char *const texts[] = {
        "cannot be told busy from idle: a drain ends them when drain-timeout is over",
        "cannot be parked between transactions: a switch may cut a binlog stream inside one",
        "do not show what they deliver: D is not known while one carries, or may carry, a binlog",
    };
    char text[200];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        snprintf(text, sizeof text, "%s sessions %s", who, texts[i]);
        json_array_append_new(limits, json_string(text));
    }
}

json_t *tls_json(const struct source *s)
{
    json_t *limits = json_array();
    if (s->config->tls.mode == CONFIG_TLS_MODE_PASSTHROUGH) add_limits(limits, "TLS");
    if (s->config->allow_compression) add_limits(limits, "compressed");
    return json_pack("{s:s,s:o,s:o}", "mode", mode_word(s->config->tls.mode), "expires-unix-ms",
                     s->tls == NULL ? json_null() : json_integer((json_int_t)tls_context_expires_unix(s->tls) * 1000),
                     "limits", limits);
}
