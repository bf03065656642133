/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the YAML file as checked values: what config_load() returns is complete and consistent. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/network.h"

struct text; /* core/text.h */

enum {
    CONFIG_VERIFY_RESERVE_MS = 500, /* within hold-timeout: what it takes to see that the old backend is empty */
    CONFIG_FLIP_RESERVE_MS = 500,   /* within hold-timeout: what the durable write of the flip may need */
    CONFIG_NAME_LEN_MAX = 64,       /* source-id and names of backends: [A-Za-z0-9._-] */
    CONFIG_BACKENDS_MAX = 16,       /* per source */
    CONFIG_SOURCES_MAX = 4096,
    CONFIG_NETWORKS_MAX = 64, /* in one list */
};

enum config_account_tls { CONFIG_TLS_OFF, CONFIG_TLS_INSECURE, CONFIG_TLS_VERIFY_CA, CONFIG_TLS_VERIFY_NAME };

/* An account of Sluice's own on a server. */
struct config_account {
    char *user;
    char *password;      /* read from password-file; never logged */
    char *password_file; /* for messages */
    enum config_account_tls tls_mode;
    char *tls_ca; /* path; NULL unless verify-ca or verify-name */
};

struct config_address {
    char *host; /* a name, an IPv4 or an IPv6 address without brackets; for a listener "0.0.0.0", "::" … */
    uint16_t port;
};

struct config_backend {
    char *name; /* unique in its source */
    struct config_address address;
};

enum config_consumer_type { CONFIG_CONSUMER_NONE, CONFIG_CONSUMER_MANUAL, CONFIG_CONSUMER_REPLICA, CONFIG_CONSUMER_DM };

struct config_consumer {
    enum config_consumer_type type;
    struct config_address address;  /* replica: the downstream server */
    struct config_account account;  /* replica: on the downstream server */
    char *channel;                  /* replica: "" is the default channel */
    struct config_address *masters; /* dm: master-addr, any of them; NULL with other types */
    size_t master_count;
    char *ssl_ca, *ssl_cert, *ssl_key; /* dm: paths; all NULL: no TLS */
};

/* Their rules (ranges, what contains what): the table in schema.c. All of them can stand at the top of the file and in
 * a source; the source's value wins. Milliseconds. */
struct config_limits {
    uint32_t hold_timeout_ms;    /* 8s; 1..19s: nobody waits longer */
    uint32_t drain_timeout_ms;   /* 3s */
    uint32_t catchup_timeout_ms; /* 10s; 0 refuses at once */
    uint32_t pause_timeout_ms;   /* 60s */
    uint32_t park_timeout_ms;    /* 60s */
    uint32_t dump_gate_wait_ms;  /* 10s */
    uint32_t verify_timeout_ms;  /* 120s: the consumer, after the flip */
    uint32_t probe_interval_ms;  /* 2s; 10s above 200 sources */
    uint32_t probe_timeout_ms;   /* total deadline of one probe */
    uint32_t connect_timeout_ms; /* a client's leg to the backend */
    uint32_t sessions_max;       /* max-sessions: routed ones, per source */
    uint32_t hold_clients_max;   /* hold-clients: beside them, per source; not above sessions_max */
    bool is_sessions_max_given;  /* in the file; if not, config_fit_open_files() may lower it */
    bool is_hold_clients_max_given;
};

/* The first of each is the default. */
enum config_dump_gate { CONFIG_DUMP_GATE_ENFORCE, CONFIG_DUMP_GATE_WARN, CONFIG_DUMP_GATE_OFF };
enum config_position_dump {
    CONFIG_POSITION_DUMP_UNTIL_FIRST_SWITCH,
    CONFIG_POSITION_DUMP_DENY,
    CONFIG_POSITION_DUMP_ALLOW
};
enum config_bypass { CONFIG_BYPASS_REFUSE, CONFIG_BYPASS_WARN };

/* The first of each is the default. What they mean: net/sessions.h. */
enum config_tls_mode {
    CONFIG_TLS_MODE_OFF,
    CONFIG_TLS_MODE_PASSTHROUGH,
    CONFIG_TLS_MODE_MIRROR,
    CONFIG_TLS_MODE_REQUIRE
};
enum config_tls_verify { CONFIG_TLS_VERIFY_BY_CA, CONFIG_TLS_VERIFY_BY_NAME };

/* TLS of a source's clients. Paths of PEM files; NULL: not given. */
struct config_tls {
    enum config_tls_mode mode;
    char *cert, *key;                 /* shown to clients; given with mirror and require, not with the others */
    char *ca;                         /* clients must show a certificate of it */
    char *backend_ca;                 /* given with mirror and require */
    char *backend_cert, *backend_key; /* both or neither */
    enum config_tls_verify verify;
};

/* The first is the default. */
enum config_proxy_send { CONFIG_PROXY_SEND_OFF, CONFIG_PROXY_SEND_V1, CONFIG_PROXY_SEND_V2 };

/* The PROXY protocol: what both ends of a source know of a client's own address. */
struct config_proxy_protocol {
    struct network *accept_from; /* whoever connects from there sends a header, and nobody else; NULL: none */
    size_t accept_from_count;
    enum config_proxy_send send; /* to the backends, for each client */
    bool send_own;               /* and LOCAL on Sluice's own connections; only with |send| */
};

struct config_source {
    char *source_id;
    struct config_address listen;
    struct config_address *advertise; /* what consumers call the listener; may be none */
    size_t advertise_count;
    char *source_address; /* local address of legs and probes; NULL: the system's choice */
    struct config_account account;
    char *active; /* name of a backend; read only while there is no record in state-dir */
    struct config_backend *backends;
    size_t backend_count;
    enum config_dump_gate dump_gate;
    enum config_position_dump position_dump;
    enum config_bypass bypass;
    struct config_tls tls;
    bool allow_compression;
    struct config_proxy_protocol proxy_protocol;
    struct config_consumer consumer;
    struct config_limits limits;
    int line; /* where it stands in the file */
};

struct config_admin {
    char *socket;                 /* path of the unix socket; NULL when |listen| is used */
    struct config_address listen; /* host NULL when |socket| is used */
    char *token;                  /* read from token-file; NULL with insecure: true; never logged */
    char *token_file;             /* for messages */
    bool insecure;
};

struct config {
    char *path;
    struct config_admin admin;
    char *state_dir;
    uint32_t threads; /* loops; 1.. */
    uint32_t stop_timeout_ms;
    struct config_limits limits; /* of the top level */
    struct config_source *sources;
    size_t source_count;
};

/*
 * config_load - read and check the file at |path| and the secret files it names.
 *
 * |out_error| gets, on failure, "FILE:LINE: KEY: reason; what to do" (the caller frees it with mem_free()); untouched
 * on success. Returns 0 and |*out|, the caller's until config_del(); or SLUICE_ERR_CONFIG, SLUICE_ERR_IO,
 * SLUICE_ERR_NOMEM. Call from: any thread; blocks on the disk.
 */
SLUICE_MUSTCHECK int config_load(const char *path, struct config **out, char **out_error);
/*
 * config_load_admin - as config_load(), but reads only `admin` and its token: what a client verb needs to find the
 * daemon. The rest of the file may be wrong, and no other secret need be readable. |*out| has |path| and |admin|; all
 * else is 0.
 */
SLUICE_MUSTCHECK int config_load_admin(const char *path, struct config **out, char **out_error);
/* config_del - frees it and clears the passwords in memory. NULL is nothing. */
void config_del(struct config *config);

/* config_limits_default - what holds for each limit that the file does not name, with |source_count| sources. Any
 * thread. */
struct config_limits config_limits_default(size_t source_count);
/*
 * config_fit_open_files - lower max-sessions and hold-clients of those sources that leave them to their defaults, evenly,
 * until all sources fit in |limit| descriptors (the arithmetic of net/fdlimit.h). Values that the file gives are not touched, nor
 * is anything lowered below 100 sessions: then fdlimit_check() has to refuse. Returns whether something was lowered. Any thread.
 */
bool config_fit_open_files(struct config *config, uint64_t limit);
/*
 * config_read_secret - the first line of the file at |path|, without its line end, for a password or a token.
 *
 * |out_reason| gets, on failure, what is wrong with the file and what to do (mem_free() it); untouched on success.
 * Returns 0 and |*out| (the caller's; clear and mem_free() it), or SLUICE_ERR_CONFIG (no regular file, readable by the
 * group or others, empty, longer than 4 KiB), SLUICE_ERR_IO, SLUICE_ERR_NOMEM. Any thread; blocks on the disk.
 */
SLUICE_MUSTCHECK int config_read_secret(const char *path, char **out, char **out_reason);
/* config_parse_duration - "500ms", "10s", "1m30s", "2h" or "0" to milliseconds. 0 or SLUICE_ERR_SYNTAX. Any thread. */
SLUICE_MUSTCHECK int config_parse_duration(const char *s, uint32_t *out_ms);
/* config_print_duration - the shortest text that config_parse_duration() reads as |ms|, appended. Any thread. */
void config_print_duration(uint32_t ms, struct text *out);
/*
 * config_parse_address - "host:port" or "[v6]:port", the port 1..65535. Numeric hosts come out in their canonical form,
 * names in lower case. Returns 0 and |out|, whose host the caller frees with mem_free(); or SLUICE_ERR_SYNTAX,
 * SLUICE_ERR_NOMEM. Any thread.
 */
SLUICE_MUSTCHECK int config_parse_address(const char *s, struct config_address *out);
/* config_print_address - "host:port", IPv6 in brackets, appended. Any thread. */
void config_print_address(const struct config_address *address, struct text *out);
/* config_print_reference - the table of all keys as Markdown: key, level, unit, default, range, contained in. Any
 * thread. */
void config_print_reference(struct text *out);
