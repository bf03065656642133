/* SPDX-License-Identifier: Apache-2.0 */
/* facts.h - what one probe of a server found: plain values, no connection. Filled by upstream/, judged by core/checks. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct gtid_set;

enum { FACTS_UUID_LEN = 36, FACTS_TEXT_LEN = 64, FACTS_SQL_MODE_LEN = 800 };

/* One replication channel of a server that is a replica (SHOW REPLICA STATUS). */
struct facts_channel {
    char name[FACTS_TEXT_LEN + 1]; /* "" is the default channel */
    bool io_running;               /* "Yes" only; "Connecting" is not running */
    bool sql_running;
    bool auto_position;
    int64_t lag_s; /* Seconds_Behind_Source, -1 when NULL */
    char source_uuid[FACTS_UUID_LEN + 1];
    char source_user[81]; /* the account it logs in with */
    char source_host[256];
    uint16_t source_port;
    char *filters;    /* "Replicate_Ignore_Table=db.t Replicate_Do_DB=x", "" when none */
    char *last_error; /* IO or SQL error text, "" when none */
    struct gtid_set *retrieved;
    struct gtid_set *executed;
};

/* How far a server's global time zone is from UTC, in seconds east. */
struct facts_offsets {
    bool are_known;
    int32_t january, july, now; /* summer time or not, and whether the rules have changed since */
};

/* Values are the server's own words, upper case, as SHOW VARIABLES prints them ("ON", "ROW", "FULL"); "" when it has no such variable. */
struct facts {
    char version[FACTS_TEXT_LEN + 1];
    uint32_t version_id; /* 80407 for 8.4.7 */
    bool is_mariadb;
    char server_uuid[FACTS_UUID_LEN + 1];
    uint32_t server_id;
    char gtid_mode[FACTS_TEXT_LEN + 1];
    char enforce_gtid_consistency[FACTS_TEXT_LEN + 1];
    char log_bin[FACTS_TEXT_LEN + 1];
    char log_replica_updates[FACTS_TEXT_LEN + 1];
    char binlog_format[FACTS_TEXT_LEN + 1];
    char binlog_row_image[FACTS_TEXT_LEN + 1];
    uint64_t binlog_row_event_max_size;
    char read_only[FACTS_TEXT_LEN + 1];
    char super_read_only[FACTS_TEXT_LEN + 1];
    char ps_show_processlist[FACTS_TEXT_LEN + 1]; /* performance_schema_show_processlist */
    bool has_proxy_networks;  /* it knows the variable proxy_protocol_networks: Percona Server, MariaDB */
    char proxy_networks[256]; /* from which it reads PROXY headers; cut */
    uint64_t sync_binlog;
    uint64_t innodb_flush_log_at_trx_commit;
    char replica_skip_errors[256];              /* "OFF" when none */
    char replica_exec_mode[FACTS_TEXT_LEN + 1]; /* STRICT or IDEMPOTENT */
    char *binlog_filters;                       /* "Binlog_Do_DB=x Binlog_Ignore_DB=y", "" when none */
    char time_zone[FACTS_TEXT_LEN + 1];         /* the global one: "SYSTEM", "+02:00", a name */
    char system_time_zone[FACTS_TEXT_LEN + 1];  /* what SYSTEM is called there; the name alone says little: "CST" */
    struct facts_offsets offsets;               /* what |time_zone| means */
    char sql_mode[FACTS_SQL_MODE_LEN + 1];
    char lower_case_table_names[FACTS_TEXT_LEN + 1];
    char character_set_server[FACTS_TEXT_LEN + 1];
    char collation_server[FACTS_TEXT_LEN + 1];
    bool has_system_user;   /* the account may KILL threads of accounts that have SYSTEM_USER (8.0.16 and later) */
    char *missing_grants;   /* what Sluice's account lacks, as "GRANT …" clauses separated by ", "; "" when nothing */
    struct gtid_set *owned; /* @@gtid_owned, read before executed */
    struct gtid_set *executed;      /* E */
    struct gtid_set *purged;        /* P, read last */
    struct facts_channel *channels; /* NULL when it is no replica */
    uint32_t channel_count;
    uint64_t probed_ms; /* monotonic clock when the probe ended; set by whoever asked for it */
};

/* facts_free - release what |f| points to; |f| itself stays the caller's and is empty after. Any thread. */
void facts_free(struct facts *f);
