/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - what one value of the file must have to do with another. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "config/load.h"
#include "config/schema.h"
#include "core/error.h"
#include "core/mem.h"

static bool is_given(const struct load *l, const void *field)
{
    return load_mark_find(l, field) != NULL;
}

static bool is_same_address(const struct config_address *a, const struct config_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static bool is_wildcard(const struct config_address *a)
{
    return strcmp(a->host, "0.0.0.0") == 0 || strcmp(a->host, "::") == 0;
}

static bool is_loopback(const struct config_address *a)
{
    return strncmp(a->host, "127.", 4) == 0 || strcmp(a->host, "::1") == 0 || strcmp(a->host, "localhost") == 0;
}

/* Whether two listeners would want the same port of one address. */
static bool is_clash(const struct config_address *a, const struct config_address *b)
{
    return a->port == b->port && (is_wildcard(a) || is_wildcard(b) || strcmp(a->host, b->host) == 0);
}

/* Whether who connects to |to| reaches |listen|, as far as the texts tell. */
static bool is_reaching(const struct config_address *to, const struct config_address *listen)
{
    return is_same_address(to, listen) || (to->port == listen->port && is_wildcard(listen) && is_loopback(to));
}

int check_admin(struct load *l, const struct config_admin *admin)
{
    int line = load_line_of_map(l, "admin");
    if (admin->socket == NULL && admin->listen.host == NULL)
        return load_fail(l, line, "admin",
                         "names no place; add socket: PATH, or listen: IP:PORT with token-file: FILE");
    if (admin->socket != NULL && admin->listen.host != NULL)
        return load_fail_at(l, &admin->listen, "a socket is given too; remove one of the two");
    if (admin->socket != NULL && admin->token != NULL)
        return load_fail_at(l, &admin->token, "a socket has no token, its mode 0600 guards it; remove token-file");
    if (admin->socket != NULL && admin->insecure)
        return load_fail_at(l, &admin->insecure, "only for listen; remove it");
    if (admin->listen.host != NULL && admin->token == NULL && !admin->insecure)
        return load_fail_at(l, &admin->listen,
                            "TCP without a token would let anybody switch; add token-file: FILE, or insecure: true");
    if (admin->token != NULL && admin->insecure)
        return load_fail_at(l, &admin->insecure, "contradicts token-file; remove one of the two");
    return 0;
}

static int check_account(struct load *l, const struct config_account *account)
{
    if (account->tls_mode == CONFIG_TLS_OFF) return 0;
    if (account->tls_mode == CONFIG_TLS_INSECURE && account->tls_ca != NULL)
        return load_fail_at(l, &account->tls_ca, "means nothing with mode insecure; remove it, or use verify-ca");
    if (account->tls_mode != CONFIG_TLS_INSECURE && account->tls_ca == NULL)
        return load_fail_at(l, &account->tls_mode, "needs a CA to verify against; add ca: FILE");
    return 0;
}

static int check_key_file(struct load *l, char *const *field)
{
    struct stat st;
    if (*field == NULL || stat(*field, &st) != 0 || (st.st_mode & 077) == 0) return 0;
    return load_fail_at(l, field, "%s has mode %04o, others than its owner have access; run: chmod 600 %s", *field,
                        (unsigned)(st.st_mode & 07777), *field);
}

/* Modes that end TLS need what it is ended with; the others need nothing. */
static int check_tls(struct load *l, const struct config *config, const struct config_source *source)
{
    const struct config_tls *tls = &source->tls;
    const struct {
        const char *key;
        char *const *field;
        bool is_needed;
    } files[] = { { "cert", &tls->cert, true },
                  { "key", &tls->key, true },
                  { "backend-ca", &tls->backend_ca, true },
                  { "ca", &tls->ca, false },
                  { "backend-cert", &tls->backend_cert, false },
                  { "backend-key", &tls->backend_key, false } };
    char where[64];
    bool ends_tls = tls->mode == CONFIG_TLS_MODE_MIRROR || tls->mode == CONFIG_TLS_MODE_REQUIRE;
    snprintf(where, sizeof where, "sources[%zu].tls", (size_t)(source - config->sources));
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (!ends_tls && *files[i].field != NULL)
            return load_fail_at(l, files[i].field, "means nothing with mode %s; remove it, or use mirror or require",
                                tls->mode == CONFIG_TLS_MODE_OFF ? "off" : "passthrough");
        if (ends_tls && files[i].is_needed && *files[i].field == NULL)
            return load_fail(l, load_line_of_map(l, where), where,
                             "%s is missing; mode mirror and require need it: %s: FILE", files[i].key, files[i].key);
    }
    if ((tls->backend_cert == NULL) != (tls->backend_key == NULL))
        return load_fail(l, load_line_of_map(l, where), where,
                         "backend-cert and backend-key go together; add the other one");
    int rv = check_key_file(l, &tls->key);
    return rv != 0 ? rv : check_key_file(l, &tls->backend_key);
}

static int check_proxy_protocol(struct load *l, const struct config_source *source)
{
    const struct config_proxy_protocol *p = &source->proxy_protocol;
    if (!p->send_own || p->send != CONFIG_PROXY_SEND_OFF) return 0;
    return load_fail_at(l, &p->send_own, "means nothing with send: off; remove it, or add send: v1 or v2");
}

static int check_consumer_replica(struct load *l, const struct config_source *source, const char *key, int line)
{
    const struct config_consumer *c = &source->consumer;
    if (c->address.host == NULL)
        return load_fail(l, line, key, "address is missing; a replica consumer needs its server: address: HOST:PORT");
    if (c->account.user == NULL)
        return load_fail(l, line, key, "account is missing; add account: {user: USER, password-file: FILE}");
    if (is_reaching(&c->address, &source->listen))
        return load_fail_at(l, &c->address, "is the source's own listener; give the address of the downstream server");
    for (size_t i = 0; i < source->backend_count; i++)
        if (is_same_address(&c->address, &source->backends[i].address))
            return load_fail_at(l, &c->address, "is the backend %s; give the address of the downstream server",
                                source->backends[i].name);
    return check_account(l, &c->account);
}

static int check_consumer_dm(struct load *l, const struct config_source *source, const char *key, int line)
{
    const struct config_consumer *c = &source->consumer;
    if (c->master_count == 0)
        return load_fail(l, line, key, "master-addr is missing; name DM's masters: master-addr: [HOST:8261]");
    for (size_t i = 0; i < c->master_count; i++)
        if (is_reaching(&c->masters[i], &source->listen))
            return load_fail_at(l, &c->masters[i], "is the source's own listener; give the address of a DM master");
    return 0;
}

static int check_consumer(struct load *l, const struct config *config, const struct config_source *source)
{
    const struct config_consumer *c = &source->consumer;
    char key[64];
    static const char only_replica[] = "only for type replica; remove it";
    static const char only_dm[] = "only for type dm; remove it";
    snprintf(key, sizeof key, "sources[%zu].consumer", (size_t)(source - config->sources));
    if (c->type != CONFIG_CONSUMER_DM && c->master_count > 0) return load_fail_at(l, &c->masters[0], only_dm);
    if (c->type != CONFIG_CONSUMER_DM && c->ssl_ca != NULL) return load_fail_at(l, &c->ssl_ca, only_dm);
    if (c->type == CONFIG_CONSUMER_REPLICA) return check_consumer_replica(l, source, key, load_line_of_map(l, key));
    if (is_given(l, &c->address)) return load_fail_at(l, &c->address, only_replica);
    if (is_given(l, &c->account.user)) return load_fail_at(l, &c->account.user, only_replica);
    if (is_given(l, &c->channel)) return load_fail_at(l, &c->channel, only_replica);
    if (c->type == CONFIG_CONSUMER_DM) return check_consumer_dm(l, source, key, load_line_of_map(l, key));
    return 0;
}

static int check_backends(struct load *l, const struct config_source *source)
{
    bool has_active = false;
    for (size_t i = 0; i < source->backend_count; i++) {
        const struct config_backend *b = &source->backends[i];
        has_active = has_active || strcmp(b->name, source->active) == 0;
        for (size_t k = 0; k < i; k++) {
            const struct config_backend *other = &source->backends[k];
            if (strcmp(b->name, other->name) == 0)
                return load_fail_at(l, &b->name, "'%s' is taken by the backend of line %d; give each its own name",
                                    b->name, load_mark_find(l, &other->name)->line);
            if (is_same_address(&b->address, &other->address))
                return load_fail_at(l, &b->address,
                                    "is the address of backend '%s' too; each backend is a server of its own",
                                    other->name);
        }
    }
    if (has_active) return 0;
    return load_fail_at(l, &source->active, "'%s' is no backend of this source; name one of its backends",
                        source->active);
}

/* The mark of a limit: the source's own, or the top level's that it inherits; NULL when both are silent. */
static const struct load_mark *find_limit(const struct load *l, const struct config *config,
                                          const struct config_source *source, const struct schema_row *row)
{
    const struct load_mark *own = load_mark_find(l, (const char *)&source->limits + row->offset);
    return own != NULL ? own : load_mark_find(l, (const char *)&config->limits + row->offset);
}

static void print_amount(const struct schema_row *row, uint32_t value, struct text *out)
{
    if (row->type == SCHEMA_DURATION)
        config_print_duration(value, out);
    else
        text_printf(out, "%u", value);
}

static int fail_limit(struct load *l, const struct config *config, const struct config_source *source,
                      const struct schema_row *row, const struct schema_row *container)
{
    const struct load_mark *mark = find_limit(l, config, source, row),
                           *other = find_limit(l, config, source, container);
    const struct load_mark *at = mark != NULL ? mark : other;
    struct text why = TEXT_INIT;
    assert(at != NULL); /* the defaults of the table fit each other */
    text_printf(&why, "source %s: %s is %s", source->source_id, row->key, mark == NULL ? "by default " : "");
    print_amount(row, *(const uint32_t *)(const void *)((const char *)&source->limits + row->offset), &why);
    if (row->reserve_ms > 0) {
        text_puts(&why, ", and with the ");
        config_print_duration(row->reserve_ms, &why);
        text_puts(&why, " to verify and to flip it must stay below");
    } else {
        text_puts(&why, " and must not be above");
    }
    text_printf(&why, " %s, %s", container->key, other == NULL ? "by default " : "");
    print_amount(container, *(const uint32_t *)(const void *)((const char *)&source->limits + container->offset), &why);
    text_printf(&why, "; lower %s or raise %s", row->key, container->key);
    int rv = load_fail(l, at->line, at->key, "%s", text_str(&why));
    text_free(&why);
    return rv;
}

static int check_limits(struct load *l, struct config *config, struct config_source *source)
{
    struct config_limits *limits = &source->limits;
    const struct config_limits *top = &config->limits;
    limits->is_sessions_max_given = is_given(l, &limits->sessions_max) || is_given(l, &top->sessions_max);
    limits->is_hold_clients_max_given = is_given(l, &limits->hold_clients_max) || is_given(l, &top->hold_clients_max);
    if (!limits->is_hold_clients_max_given && limits->hold_clients_max > limits->sessions_max)
        limits->hold_clients_max = limits->sessions_max;
    for (size_t i = 0; i < schema_row_count; i++) {
        const struct schema_row *row = &schema_rows[i];
        if (row->within == NULL) continue;
        const struct schema_row *container = schema_find(SCHEMA_SOURCE, row->within);
        uint64_t value = *(const uint32_t *)(const void *)((const char *)limits + row->offset);
        uint64_t bound = *(const uint32_t *)(const void *)((const char *)limits + container->offset);
        bool is_contained = row->reserve_ms > 0 ? value + row->reserve_ms < bound : value <= bound;
        if (!is_contained) return fail_limit(l, config, source, row, container);
    }
    return 0;
}

static int check_advertise(struct load *l, const struct config_source *source, const struct config_source *other)
{
    for (size_t i = 0; i < source->advertise_count; i++) {
        size_t count = source == other ? i : other->advertise_count;
        for (size_t k = 0; k < count; k++)
            if (is_same_address(&source->advertise[i], &other->advertise[k]))
                return load_fail_at(l, &source->advertise[i], "source %s has it on line %d; give each its own",
                                    other->source_id, load_mark_find(l, &other->advertise[k])->line);
    }
    return 0;
}

/* |other| stands in front of |source|. */
static int check_pair(struct load *l, const struct config_source *source, const struct config_source *other)
{
    if (strcmp(source->source_id, other->source_id) == 0)
        return load_fail_at(l, &source->source_id, "'%s' is taken by the source of line %d; give each its own",
                            source->source_id, other->line);
    if (is_clash(&source->listen, &other->listen))
        return load_fail_at(l, &source->listen,
                            "port %u is taken by source %s on line %d; give each source a port of its own",
                            source->listen.port, other->source_id, load_mark_find(l, &other->listen)->line);
    return check_advertise(l, source, other);
}

/* No listener may lead into itself, nor into another source's. */
static int check_loops(struct load *l, const struct config *config, const struct config_source *source)
{
    for (size_t i = 0; i < source->backend_count; i++)
        for (size_t k = 0; k < config->source_count; k++)
            if (is_reaching(&source->backends[i].address, &config->sources[k].listen))
                return load_fail_at(l, &source->backends[i].address,
                                    "is where source %s itself listens; give the address of the MySQL server",
                                    config->sources[k].source_id);
    if (config->admin.listen.host != NULL && is_clash(&config->admin.listen, &source->listen))
        return load_fail_at(l, &source->listen, "port %u is taken by admin.listen; give each a port of its own",
                            source->listen.port);
    return 0;
}

static int check_source(struct load *l, struct config *config, struct config_source *source)
{
    int rv = check_backends(l, source);
    if (rv == 0) rv = check_account(l, &source->account);
    if (rv == 0) rv = check_tls(l, config, source);
    if (rv == 0) rv = check_proxy_protocol(l, source);
    if (rv == 0) rv = check_consumer(l, config, source);
    if (rv == 0) rv = check_limits(l, config, source);
    if (rv == 0) rv = check_advertise(l, source, source);
    if (rv == 0) rv = check_loops(l, config, source);
    for (struct config_source *other = config->sources; other < source && rv == 0; other++)
        rv = check_pair(l, source, other);
    return rv;
}

int check_config(struct load *l, struct config *config)
{
    load_marks_sort(l);
    int rv = check_admin(l, &config->admin);
    for (size_t i = 0; i < config->source_count && rv == 0; i++)
        rv = check_source(l, config, &config->sources[i]);
    return rv;
}
