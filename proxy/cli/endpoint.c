/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/endpoint.h"
#include <stdlib.h>
#include <string.h>
#include "cli/args.h"
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"

void endpoint_free(struct endpoint *e)
{
    if (e->token != NULL) explicit_bzero(e->token, strlen(e->token));
    mem_free(e->socket);
    mem_free(e->host);
    mem_free(e->token);
    *e = (struct endpoint){ 0 };
}

void endpoint_print(const struct endpoint *e, struct text *out)
{
    if (e->socket != NULL)
        text_printf(out, "unix:%s", e->socket);
    else
        text_printf(out, "http://%s:%u", e->host, e->port);
}

static int set_socket(struct endpoint *e, const char *path)
{
    e->socket = mem_strdup(path);
    return e->socket == NULL ? SLUICE_ERR_NOMEM : 0;
}

/* Who listens on every address is asked on the loopback. */
static int set_address(struct endpoint *e, const struct config_address *a)
{
    struct text host = TEXT_INIT;
    const char *name = strcmp(a->host, "0.0.0.0") == 0 ? "127.0.0.1" : strcmp(a->host, "::") == 0 ? "::1" : a->host;
    if (strchr(name, ':') != NULL)
        text_printf(&host, "[%s]", name);
    else
        text_puts(&host, name);
    e->host = text_take(&host);
    e->port = a->port;
    return e->host == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int from_text(const char *s, const char *origin, struct endpoint *e, struct text *error)
{
    struct config_address address = { 0 };
    if (strncmp(s, "unix:", 5) == 0 && s[5] != '\0') return set_socket(e, s + 5);
    int rv = SLUICE_ERR_SYNTAX;
    if (strncmp(s, "http://", 7) == 0) {
        struct text bare = TEXT_INIT; /* a slash at the end is forgiven */
        text_append(&bare, s + 7, strlen(s + 7) - (s[strlen(s) - 1] == '/' ? 1 : 0));
        rv = bare.status != 0 ? bare.status : config_parse_address(text_str(&bare), &address);
        text_free(&bare);
    }
    if (rv == 0) rv = set_address(e, &address);
    mem_free(address.host);
    if (rv != SLUICE_ERR_SYNTAX) return rv;
    text_printf(error, "%s: '%s' is no address of a daemon; write unix:/PATH or http://HOST:PORT", origin, s);
    return SLUICE_ERR_INVALID;
}

static int from_config(const char *path, bool is_address_wanted, struct endpoint *e, struct text *error)
{
    struct config *config = NULL;
    char *reason = NULL;
    int rv = config_load_admin(path, &config, &reason);
    text_puts(error, reason);
    mem_free(reason);
    if (rv != 0) return rv;
    const struct config_admin *admin = &config->admin;
    if (is_address_wanted) rv = admin->socket != NULL ? set_socket(e, admin->socket) : set_address(e, &admin->listen);
    if (rv == 0 && admin->token != NULL) {
        e->token = mem_strdup(admin->token);
        if (e->token == NULL) rv = SLUICE_ERR_NOMEM;
    }
    config_del(config);
    return rv;
}

static int read_token(const char *path, struct endpoint *e, struct text *error)
{
    char *reason = NULL, *token = NULL;
    int rv = config_read_secret(path, &token, &reason);
    if (rv == 0) {
        if (e->token != NULL) explicit_bzero(e->token, strlen(e->token));
        mem_free(e->token);
        e->token = token;
    } else {
        text_printf(error, "--token-file: %s", reason == NULL ? error_text(rv) : reason);
    }
    mem_free(reason);
    return rv;
}

int endpoint_find(const struct args *args, struct endpoint *out, struct text *error)
{
    struct endpoint e = { 0 };
    const char *env = getenv("SLUICE_ADMIN");
    int rv = 0;
    if (args->config != NULL) rv = from_config(args->config, args->admin == NULL, &e, error);
    if (rv == 0 && args->admin != NULL) rv = from_text(args->admin, "--admin", &e, error);
    if (rv == 0 && args->admin == NULL && args->config == NULL) {
        if (env != NULL && env[0] != '\0') {
            rv = from_text(env, "SLUICE_ADMIN", &e, error);
        } else {
            text_puts(error, "which daemon? name it with -c FILE, --admin unix:/PATH or SLUICE_ADMIN");
            rv = SLUICE_ERR_INVALID;
        }
    }
    if (rv == 0 && args->token_file != NULL) rv = read_token(args->token_file, &e, error);
    if (rv != 0) {
        endpoint_free(&e);
        return rv;
    }
    *out = e;
    return 0;
}
