/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the YAML file as checked values: what config_load() returns is complete and consistent. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

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

enum config_consumer_type { CONFIG_CONSUMER_NONE, CONFIG_CONSUMER_MANUAL, CONFIG_CONSUMER_REPLICA };

struct config_consumer {
    enum config_consumer_type type;
    struct config_address address; /* replica: the downstream server */
    struct config_account account; /* replica: on the downstream server */
    char *channel;                 /* replica: "" is the default channel */
};

/* All of them can stand at the top of the file and in a source; the source's value wins. Milliseconds. */
struct config_limits {
    uint32_t hold_timeout_ms;     /* 8s; 1..19s: nobody waits longer */
    uint32_t drain_timeout_ms;    /* 3s */
    uint32_t catchup_timeout_ms;  /* 10s; 0 refuses at once */
    uint32_t pause_timeout_ms;    /* 60s */
    uint32_t verify_timeout_ms;   /* 120s: the consumer, after the flip */
    uint32_t probe_interval_ms;   /* 2s; 10s above 200 sources */
    uint32_t probe_timeout_ms;    /* total deadline of one probe */
    uint32_t connect_timeout_ms;  /* a client's leg to the backend */
    uint32_t sessions_max;        /* max-sessions, per source */
    uint32_t hold_clients_max;    /* hold-clients, per source */
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
    struct config_consumer consumer;
    struct config_limits limits;
    int line; /* where it stands in the file */
};

struct config_admin {
    char *socket;                 /* path of the unix socket; NULL when |listen| is used */
    struct config_address listen; /* host NULL when |socket| is used */
    char *token;                  /* read from token-file; NULL with insecure: true */
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
 * |out_error| gets, on failure, "FILE:LINE: KEY: reason; what to do" (the caller frees it with mem_free()); untouched on success.
 * Returns 0 and |*out|, the caller's until config_del(); or SLUICE_ERR_CONFIG, SLUICE_ERR_IO, SLUICE_ERR_NOMEM.
 * Call from: any thread; blocks on the disk.
 */
SLUICE_MUSTCHECK int config_load(const char *path, struct config **out, char **out_error);
/* config_del - frees it and clears the passwords in memory. NULL is nothing. */
void config_del(struct config *config);
