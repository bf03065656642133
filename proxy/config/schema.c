/* SPDX-License-Identifier: Apache-2.0 */
#include "config/schema.h"
#include <assert.h>
#include <string.h>
#include "core/mem.h"

static const struct schema_choice tls_modes[] = {
    { "verify-ca", CONFIG_TLS_VERIFY_CA },
    { "verify-name", CONFIG_TLS_VERIFY_NAME },
    { "insecure", CONFIG_TLS_INSECURE },
    { NULL, 0 },
};

static const struct schema_choice client_tls_modes[] = {
    { "off", CONFIG_TLS_MODE_OFF },
    { "passthrough", CONFIG_TLS_MODE_PASSTHROUGH },
    { "mirror", CONFIG_TLS_MODE_MIRROR },
    { "require", CONFIG_TLS_MODE_REQUIRE },
    { NULL, 0 },
};

static const struct schema_choice client_tls_verifies[] = {
    { "ca", CONFIG_TLS_VERIFY_BY_CA },
    { "name", CONFIG_TLS_VERIFY_BY_NAME },
    { NULL, 0 },
};

static const struct schema_choice consumer_types[] = {
    { "dm", CONFIG_CONSUMER_DM },
    { "replica", CONFIG_CONSUMER_REPLICA },
    { "manual", CONFIG_CONSUMER_MANUAL },
    { "none", CONFIG_CONSUMER_NONE },
    { NULL, 0 },
};

static const struct schema_choice dump_gates[] = {
    { "enforce", CONFIG_DUMP_GATE_ENFORCE },
    { "warn", CONFIG_DUMP_GATE_WARN },
    { "off", CONFIG_DUMP_GATE_OFF },
    { NULL, 0 },
};

static const struct schema_choice position_dumps[] = {
    { "until-first-switch", CONFIG_POSITION_DUMP_UNTIL_FIRST_SWITCH },
    { "deny", CONFIG_POSITION_DUMP_DENY },
    { "allow", CONFIG_POSITION_DUMP_ALLOW },
    { NULL, 0 },
};

static const struct schema_choice bypasses[] = {
    { "refuse", CONFIG_BYPASS_REFUSE },
    { "warn", CONFIG_BYPASS_WARN },
    { NULL, 0 },
};

static const struct schema_choice proxy_sends[] = {
    { "off", CONFIG_PROXY_SEND_OFF },
    { "v1", CONFIG_PROXY_SEND_V1 },
    { "v2", CONFIG_PROXY_SEND_V2 },
    { NULL, 0 },
};

#define SECOND 1000u
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

#define AT(type, field)   .offset = offsetof(struct type, field)
#define MORE(type, field) .offset_more = offsetof(struct type, field)
#define IN(what)          .sections = (what)
#define LIMIT(field)      IN(SCHEMA_TOP | SCHEMA_SOURCE), AT(config_limits, field)

/* clang-format off */
const struct schema_row schema_rows[] = {
    { IN(SCHEMA_TOP), .key = "admin", .type = SCHEMA_MAP, .required = true, AT(config, admin), .section = SCHEMA_ADMIN,
      .help = "where the verbs, metrics and health checks are served: a socket, or listen with token-file" },
    { IN(SCHEMA_ADMIN), .key = "socket", .type = SCHEMA_STRING, .min = 1, .max = 107, AT(config_admin, socket),
      .initial_note = "none (this or listen)", .help = "path of the unix socket, made with mode 0600" },
    { IN(SCHEMA_ADMIN), .key = "listen", .type = SCHEMA_LISTEN, AT(config_admin, listen),
      .initial_note = "none (this or socket)", .help = "TCP address of the admin interface" },
    { IN(SCHEMA_ADMIN), .key = "token-file", .type = SCHEMA_SECRET, AT(config_admin, token), MORE(config_admin, token_file),
      .initial_note = "required with listen", .help = "file with the bearer token, readable by its owner only" },
    { IN(SCHEMA_ADMIN), .key = "insecure", .type = SCHEMA_BOOL, AT(config_admin, insecure), .initial = "false",
      .help = "true: listen without a token, for everybody who reaches the port" },
    { IN(SCHEMA_TOP), .key = "state-dir", .type = SCHEMA_STRING, .required = true, .min = 1, .max = 4000, AT(config, state_dir),
      .help = "directory of the durable state: active backend, epoch, pins, history" },
    { IN(SCHEMA_TOP), .key = "threads", .type = SCHEMA_COUNT, .min = 1, .max = 256, AT(config, threads),
      .initial_note = "min(cores, sources)", .help = "loops; a source lives wholly on one" },
    { IN(SCHEMA_TOP), .key = "stop-timeout", .type = SCHEMA_DURATION, .min = 0, .max = 10 * MINUTE, AT(config, stop_timeout_ms),
      .initial = "10s", .help = "what sessions get to end by themselves after SIGTERM" },

    { LIMIT(hold_timeout_ms), .key = "hold-timeout", .type = SCHEMA_DURATION, .min = 1 * SECOND, .max = 19 * SECOND, .initial = "8s",
      .help = "the longest that a client is kept waiting; at 20s DM's own timers begin to fire" },
    { LIMIT(drain_timeout_ms), .key = "drain-timeout", .type = SCHEMA_DURATION, .min = 0, .max = 18 * SECOND, .initial = "3s",
      .within = "hold-timeout", .reserve_ms = CONFIG_VERIFY_RESERVE_MS + CONFIG_FLIP_RESERVE_MS,
      .help = "what busy sessions get to reach their next boundary; the rest are then killed" },
    { LIMIT(connect_timeout_ms), .key = "connect-timeout", .type = SCHEMA_DURATION, .min = 100, .max = 19 * SECOND, .initial = "3s",
      .within = "hold-timeout", .help = "for the connection to the backend that a client's session needs" },
    { LIMIT(catchup_timeout_ms), .key = "catchup-timeout", .type = SCHEMA_DURATION, .min = 0, .max = 24 * HOUR, .initial = "10s",
      .help = "how long a switch waits, before it holds anybody, for the new backend to catch up; 0 refuses at once" },
    { LIMIT(pause_timeout_ms), .key = "pause-timeout", .type = SCHEMA_DURATION, .min = 1 * SECOND, .max = 1 * HOUR, .initial = "60s",
      .help = "what the consumer gets to be quiet" },
    { LIMIT(park_timeout_ms), .key = "park-timeout", .type = SCHEMA_DURATION, .min = 1 * SECOND, .max = 1 * HOUR, .initial = "60s",
      .help = "what transactions in flight on binlog streams get to end, before the consumer is paused; nobody is held meanwhile" },
    { LIMIT(verify_timeout_ms), .key = "verify-timeout", .type = SCHEMA_DURATION, .min = 1 * SECOND, .max = 1 * HOUR, .initial = "120s",
      .help = "what the consumer gets after the flip to be seen reading from the new backend" },
    { LIMIT(dump_gate_wait_ms), .key = "dump-gate-wait", .type = SCHEMA_DURATION, .min = 0, .max = 45 * SECOND, .initial = "10s",
      .help = "how long a binlog request waits for a server that lacks some of what the reader has" },
    { LIMIT(probe_interval_ms), .key = "probe-interval", .type = SCHEMA_DURATION, .min = 100, .max = 1 * HOUR, .initial = "2s",
      .initial_note = "2s, above 200 sources 10s", .help = "between two probes of a backend" },
    { LIMIT(probe_timeout_ms), .key = "probe-timeout", .type = SCHEMA_DURATION, .min = 100, .max = 1 * MINUTE, .initial = "5s",
      .help = "the total deadline of one probe, however slowly its bytes drip" },
    { LIMIT(sessions_max), .key = "max-sessions", .type = SCHEMA_COUNT, .min = 1, .max = 1000000, .initial = "10000",
      .initial_note = "10000, or what the open files allow", .help = "per source, of those that are routed; past it a client reads an error" },
    { LIMIT(hold_clients_max), .key = "hold-clients", .type = SCHEMA_COUNT, .min = 1, .max = 1000000, .initial = "2000",
      .initial_note = "2000, or what the open files and max-sessions allow", .within = "max-sessions",
      .help = "per source, how many are kept waiting at once, beside the sessions; past it a client reads an error" },

    { IN(SCHEMA_TOP), .key = "sources", .type = SCHEMA_LIST, .required = true, .min = 1, .max = CONFIG_SOURCES_MAX, AT(config, sources),
      MORE(config, source_count), .section = SCHEMA_SOURCE, .item_size = sizeof(struct config_source), .help = "the upstreams as DM knows them" },
    { IN(SCHEMA_SOURCE), .key = "source-id", .type = SCHEMA_NAME, .required = true, AT(config_source, source_id),
      .help = "the name of the source, as in DM's own file" },
    { IN(SCHEMA_SOURCE), .key = "listen", .type = SCHEMA_LISTEN, .required = true, AT(config_source, listen),
      .help = "the address that takes the virtual IP's place" },
    { IN(SCHEMA_SOURCE), .key = "advertise-address", .type = SCHEMA_ADDRESSES, AT(config_source, advertise),
      MORE(config_source, advertise_count), .help = "what consumers call the listener, where that is not the address it is bound to" },
    { IN(SCHEMA_SOURCE), .key = "source-address", .type = SCHEMA_IP, AT(config_source, source_address),
      .initial_note = "the system's choice", .help = "local address of all connections to the backends" },
    { IN(SCHEMA_SOURCE), .key = "account", .type = SCHEMA_MAP, .required = true, AT(config_source, account), .section = SCHEMA_ACCOUNT,
      .help = "Sluice's own, the same on every backend" },
    { IN(SCHEMA_ACCOUNT), .key = "user", .type = SCHEMA_STRING, .required = true, .min = 1, .max = 80, AT(config_account, user),
      .help = "name of the account" },
    { IN(SCHEMA_ACCOUNT), .key = "password-file", .type = SCHEMA_SECRET, .required = true, AT(config_account, password),
      MORE(config_account, password_file), .help = "file whose first line is the password, readable by its owner only" },
    { IN(SCHEMA_ACCOUNT), .key = "tls", .type = SCHEMA_MAP, .section = SCHEMA_TLS, .help = "without it the connection is not encrypted" },
    { IN(SCHEMA_TLS), .key = "mode", .type = SCHEMA_CHOICE, .required = true, .choices = tls_modes, AT(config_account, tls_mode),
      .help = "whether the server's certificate is held to the CA, to the CA and the name, or to nothing" },
    { IN(SCHEMA_TLS), .key = "ca", .type = SCHEMA_PATH, AT(config_account, tls_ca),
      .initial_note = "required with verify-*", .help = "file with the CA's certificate, PEM" },
    { IN(SCHEMA_SOURCE), .key = "active", .type = SCHEMA_NAME, .required = true, AT(config_source, active),
      .help = "the backend to begin with; read while state-dir has no record of the source, from then on the record decides" },
    { IN(SCHEMA_SOURCE), .key = "backends", .type = SCHEMA_LIST, .required = true, .min = 1, .max = CONFIG_BACKENDS_MAX,
      AT(config_source, backends), MORE(config_source, backend_count), .section = SCHEMA_BACKEND,
      .item_size = sizeof(struct config_backend), .help = "the servers of the replication group" },
    { IN(SCHEMA_BACKEND), .key = "name", .type = SCHEMA_NAME, .required = true, AT(config_backend, name),
      .help = "what the verbs call the server" },
    { IN(SCHEMA_BACKEND), .key = "address", .type = SCHEMA_ADDRESS, .required = true, AT(config_backend, address),
      .help = "where the server listens" },
    { IN(SCHEMA_SOURCE), .key = "dump-gate", .type = SCHEMA_CHOICE, .choices = dump_gates, AT(config_source, dump_gate),
      .initial_note = "enforce", .help = "whether a binlog request is held to what the server has: refused, let through with a warning, or not looked at" },
    { IN(SCHEMA_SOURCE), .key = "position-dump", .type = SCHEMA_CHOICE, .choices = position_dumps, AT(config_source, position_dump),
      .initial_note = "until-first-switch", .help = "whether a reader may ask by file and position, which mean nothing on another server" },
    { IN(SCHEMA_SOURCE), .key = "bypass", .type = SCHEMA_CHOICE, .choices = bypasses, AT(config_source, bypass),
      .initial_note = "refuse", .help = "what sessions of the consumer that do not come through Sluice mean for a switch" },
    { IN(SCHEMA_SOURCE), .key = "tls", .type = SCHEMA_MAP, AT(config_source, tls), .section = SCHEMA_CLIENT_TLS,
      .help = "TLS of the clients" },
    { IN(SCHEMA_CLIENT_TLS), .key = "mode", .type = SCHEMA_CHOICE, .choices = client_tls_modes, AT(config_tls, mode), .initial = "off",
      .help = "off: not offered; passthrough: untouched, and not followed; mirror: as each client wants, on both legs; require: plain clients are refused" },
    { IN(SCHEMA_CLIENT_TLS), .key = "cert", .type = SCHEMA_PATH, AT(config_tls, cert), .initial_note = "required with mirror, require",
      .help = "file with the certificate that clients see, and those that lead to its CA, PEM" },
    { IN(SCHEMA_CLIENT_TLS), .key = "key", .type = SCHEMA_PATH, AT(config_tls, key), .initial_note = "required with mirror, require",
      .help = "file with its private key, PEM, readable by its owner only" },
    { IN(SCHEMA_CLIENT_TLS), .key = "ca", .type = SCHEMA_PATH, AT(config_tls, ca),
      .help = "with it, a client that uses TLS must show a certificate of this CA" },
    { IN(SCHEMA_CLIENT_TLS), .key = "backend-ca", .type = SCHEMA_PATH, AT(config_tls, backend_ca), .initial_note = "required with mirror, require",
      .help = "file with the CA that the backends' certificates are held to, PEM" },
    { IN(SCHEMA_CLIENT_TLS), .key = "backend-cert", .type = SCHEMA_PATH, AT(config_tls, backend_cert),
      .help = "shown to backends, for accounts that REQUIRE X509, PEM" },
    { IN(SCHEMA_CLIENT_TLS), .key = "backend-key", .type = SCHEMA_PATH, AT(config_tls, backend_key), .initial_note = "required with backend-cert",
      .help = "its private key, PEM, readable by its owner only" },
    { IN(SCHEMA_CLIENT_TLS), .key = "verify", .type = SCHEMA_CHOICE, .choices = client_tls_verifies, AT(config_tls, verify), .initial = "ca",
      .help = "name: a backend's certificate must also be for its address as configured" },
    { IN(SCHEMA_SOURCE), .key = "allow-compression", .type = SCHEMA_BOOL, AT(config_source, allow_compression), .initial = "false",
      .help = "true: clients may compress, and their sessions cannot be followed: a drain cuts them at its deadline" },
    { IN(SCHEMA_SOURCE), .key = "proxy-protocol", .type = SCHEMA_MAP, AT(config_source, proxy_protocol), .section = SCHEMA_PROXY,
      .help = "the header by which a load balancer tells a client's own address" },
    { IN(SCHEMA_PROXY), .key = "accept-from", .type = SCHEMA_NETWORKS, AT(config_proxy_protocol, accept_from),
      MORE(config_proxy_protocol, accept_from_count),
      .help = "whoever connects from there must send the header first, version 1 or 2; from elsewhere it is no header" },
    { IN(SCHEMA_PROXY), .key = "send", .type = SCHEMA_CHOICE, .choices = proxy_sends, AT(config_proxy_protocol, send), .initial = "off",
      .help = "v1, v2: each client's address is sent to the backend, which must read it: Percona Server, MariaDB" },
    { IN(SCHEMA_PROXY), .key = "send-own", .type = SCHEMA_BOOL, AT(config_proxy_protocol, send_own), .initial = "false",
      .help = "true: Sluice's own connections to the backends send it too, as LOCAL: Percona Server lets nobody in without" },
    { IN(SCHEMA_SOURCE), .key = "consumer", .type = SCHEMA_MAP, .required = true, AT(config_source, consumer),
      .section = SCHEMA_CONSUMER, .help = "who reads the binlog and is paused during a switch" },
    { IN(SCHEMA_CONSUMER), .key = "type", .type = SCHEMA_CHOICE, .required = true, .choices = consumer_types, AT(config_consumer, type),
      .help = "dm: TiDB DM, by its masters; replica: a MySQL replica that Sluice stops and starts; manual: you pause it and give --gtid-s; "
              "none: nobody" },
    { IN(SCHEMA_CONSUMER), .key = "address", .type = SCHEMA_ADDRESS, AT(config_consumer, address),
      .initial_note = "required with type replica", .help = "where the downstream server listens" },
    { IN(SCHEMA_CONSUMER), .key = "account", .type = SCHEMA_MAP, AT(config_consumer, account), .section = SCHEMA_ACCOUNT,
      .help = "Sluice's own on the downstream; only with type replica" },
    { IN(SCHEMA_CONSUMER), .key = "channel", .type = SCHEMA_STRING, .min = 0, .max = 64, AT(config_consumer, channel), .initial = "",
      .initial_note = "the default channel", .help = "replication channel that reads through Sluice; only with type replica" },
    { IN(SCHEMA_CONSUMER), .key = "master-addr", .type = SCHEMA_ADDRESSES, AT(config_consumer, masters),
      MORE(config_consumer, master_count), .initial_note = "required with type dm",
      .help = "DM's masters: any of them, a dead one is passed over; only with type dm" },
    { IN(SCHEMA_CONSUMER), .key = "security", .type = SCHEMA_MAP, .section = SCHEMA_SECURITY,
      .help = "without it the connection to DM is not encrypted; only with type dm" },
    { IN(SCHEMA_SECURITY), .key = "ssl-ca", .type = SCHEMA_PATH, .required = true, AT(config_consumer, ssl_ca),
      .help = "file with the CA's certificate to which DM's masters are held, PEM" },
    { IN(SCHEMA_SECURITY), .key = "ssl-cert", .type = SCHEMA_PATH, .required = true, AT(config_consumer, ssl_cert),
      .help = "file with the client's certificate that DM demands, PEM" },
    { IN(SCHEMA_SECURITY), .key = "ssl-key", .type = SCHEMA_PATH, .required = true, AT(config_consumer, ssl_key),
      .help = "file with its key, PEM" },
};
/* clang-format on */
const size_t schema_row_count = ARRAY_LEN(schema_rows);

const struct schema_row *schema_find(enum schema_section section, const char *key)
{
    for (size_t i = 0; i < schema_row_count; i++)
        if ((schema_rows[i].sections & section) != 0 && strcmp(schema_rows[i].key, key) == 0) return &schema_rows[i];
    return NULL;
}

bool schema_is_limit(const struct schema_row *row)
{
    return row->sections == (SCHEMA_TOP | SCHEMA_SOURCE);
}

void *schema_field(const struct schema_row *row, enum schema_section section, void *base)
{
    assert((row->sections & section) != 0);
    char *at = base;
    if (schema_is_limit(row))
        at += section == SCHEMA_TOP ? offsetof(struct config, limits) : offsetof(struct config_source, limits);
    return at + row->offset;
}

static void free_addresses(struct config_address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(addresses[i].host);
}

static void free_list(const struct schema_row *row, char **items, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        schema_free(row->section, *items + i * row->item_size);
    mem_free(*items);
    *items = NULL;
    *count = 0;
}

static void free_row(const struct schema_row *row, enum schema_section section, void *base)
{
    void *field = schema_field(row, section, base);
    void *more = (char *)base + row->offset_more;
    switch (row->type) {
    case SCHEMA_DURATION:
    case SCHEMA_COUNT:
    case SCHEMA_BOOL:
    case SCHEMA_CHOICE: break;
    case SCHEMA_SECRET:
        if (*(char **)field != NULL) explicit_bzero(*(char **)field, strlen(*(char **)field));
        mem_free(*(char **)field);
        mem_free(*(char **)more);
        break;
    case SCHEMA_NAME:
    case SCHEMA_STRING:
    case SCHEMA_PATH:
    case SCHEMA_IP: mem_free(*(char **)field); break;
    case SCHEMA_ADDRESS:
    case SCHEMA_LISTEN: free_addresses(field, 1); break;
    case SCHEMA_ADDRESSES:
        free_addresses(*(struct config_address **)field, *(size_t *)more);
        mem_free(*(struct config_address **)field);
        break;
    case SCHEMA_NETWORKS: mem_free(*(struct network **)field); break;
    case SCHEMA_MAP: schema_free(row->section, field); break;
    case SCHEMA_LIST: free_list(row, field, more); break;
    }
}

void schema_free(enum schema_section section, void *base)
{
    for (size_t i = 0; i < schema_row_count; i++)
        if ((schema_rows[i].sections & section) != 0) free_row(&schema_rows[i], section, base);
}
