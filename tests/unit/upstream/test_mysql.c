/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of servers, on real ones: started by with_mysql.py. */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/error.h"
#include "core/mem.h"
#include "fix_mysql.h"
#include "sluice/gtid.h"
#include "upstream/local_sockets.h"
#include "upstream/queries.h"

/* ---- connecting ---- */

static int open_with_tls(const char *server, const char *user, enum config_account_tls tls, const char *ca,
                         const char *name, int *out_is_tls)
{
    struct upstream_target t = mysql_target(server, user);
    struct upstream_error error = { 0 };
    struct connector *c;
    char *ca_copy = ca == NULL ? NULL : mem_strdup(ca), *name_copy = name == NULL ? NULL : mem_strdup(name);
    t.tls = tls;
    t.tls_ca = ca_copy;
    t.host = name_copy;
    int rv = connector_open(&t, upstream_now_ms() + LIMIT_MS, NULL, &c, &error);
    if (rv == 0) {
        *out_is_tls = connector_is_tls(c);
        mysql_do(c, "SELECT 1");
        connector_close(c);
    } else {
        print_message("as it should: %s\n", error.text);
    }
    mem_free(ca_copy);
    mem_free(name_copy);
    return rv;
}

/* Each TLS mode takes what it should and refuses the rest; a certificate is compared with the configured name, not the address. */
static void test_tls_modes(void **state)
{
    (void)state;
    const char *ca = mysql_env("SLUICE_TEST_CA"), *wrong_ca = mysql_env("SLUICE_TEST_CA_WRONG");
    const char *name = mysql_env("SLUICE_TEST_TLS_NAME");
    int is_tls = -1;
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_OFF, NULL, NULL, &is_tls), 0);
    assert_int_equal(is_tls, 0);
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_INSECURE, NULL, NULL, &is_tls), 0);
    assert_int_equal(is_tls, 1);
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_VERIFY_CA, ca, NULL, &is_tls), 0);
    assert_int_equal(is_tls, 1);
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_VERIFY_NAME, ca, name, &is_tls), 0);
    assert_int_equal(is_tls, 1);
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_VERIFY_CA, wrong_ca, NULL, &is_tls), SLUICE_ERR_PROTOCOL);
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_VERIFY_NAME, wrong_ca, name, &is_tls),
                     SLUICE_ERR_PROTOCOL);
    assert_int_not_equal(open_with_tls("A", "sluice", CONFIG_TLS_VERIFY_NAME, ca, "other.invalid", &is_tls), 0);
    assert_int_equal(open_with_tls("A", "sluice", CONFIG_TLS_VERIFY_NAME, ca, "127.0.0.1", &is_tls),
                     SLUICE_ERR_PROTOCOL);
}

/* A server without TLS is refused by every mode but off; an account that must use TLS is denied without it. */
static void test_tls_is_never_left_out(void **state)
{
    (void)state;
    const char *ca = mysql_env("SLUICE_TEST_CA");
    int is_tls = -1;
    assert_int_equal(open_with_tls("B", "sluice", CONFIG_TLS_OFF, NULL, NULL, &is_tls), 0);
    assert_int_equal(open_with_tls("B", "sluice", CONFIG_TLS_INSECURE, NULL, NULL, &is_tls), SLUICE_ERR_PROTOCOL);
    assert_int_equal(open_with_tls("B", "sluice", CONFIG_TLS_VERIFY_CA, ca, NULL, &is_tls), SLUICE_ERR_PROTOCOL);
    assert_int_equal(open_with_tls("B", "sluice", CONFIG_TLS_VERIFY_NAME, ca, "localhost", &is_tls),
                     SLUICE_ERR_PROTOCOL);
    assert_int_equal(open_with_tls("A", "secure", CONFIG_TLS_OFF, NULL, NULL, &is_tls), SLUICE_ERR_ACCESS_DENIED);
    assert_int_equal(open_with_tls("A", "secure", CONFIG_TLS_INSECURE, NULL, NULL, &is_tls), 0);
}

/* A wrong password and an unknown account are named as such. */
static void test_access_denied(void **state)
{
    (void)state;
    struct upstream_target t = mysql_target("A", "sluice");
    struct upstream_error error = { 0 };
    struct connector *c;
    char wrong[] = "wrong";
    t.password = wrong;
    assert_int_equal(connector_open(&t, upstream_now_ms() + LIMIT_MS, NULL, &c, &error), SLUICE_ERR_ACCESS_DENIED);
    assert_int_equal(error.mysql_errno, 1045);
    assert_null(strstr(error.text, "wrong"));
}

/* A result comes whole: names, NULL, empty texts, long ones, and an error leaves the connection usable. */
static void test_query_results(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice");
    struct upstream_error error = { 0 };
    struct rows *r;
    assert_int_equal(
        connector_query(c, "SELECT 1 AS one, NULL AS Nothing, '' AS bare, REPEAT('x', 3000000) AS l", &r, &error), 0);
    assert_int_equal(rows_count(r), 1);
    assert_string_equal(rows_text_by_name(r, 0, "ONE"), "1");
    assert_null(rows_text_by_name(r, 0, "nothing"));
    assert_string_equal(rows_text_by_name(r, 0, "bare"), "");
    assert_int_equal(strlen(rows_text_by_name(r, 0, "l")), 3000000);
    assert_null(rows_text_by_name(r, 1, "one"));
    assert_null(rows_text_by_name(r, 0, "absent"));
    rows_del(r);
    assert_int_equal(connector_query(c, "SELECT nonsense", &r, &error), SLUICE_ERR_QUERY);
    assert_int_equal(error.mysql_errno, 1054);
    mysql_do(c, "SELECT 1");
    assert_int_equal(connector_local_port(c) > 0, 1);
    connector_close(c);
}

/* A statement that takes longer than the deadline is given up at the deadline. */
static void test_long_statement_ends_at_deadline(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice");
    struct upstream_error error = { 0 };
    uint64_t began_ms = upstream_now_ms();
    connector_set_deadline(c, began_ms + 300);
    assert_int_equal(connector_query(c, "SELECT SLEEP(30)", NULL, &error), SLUICE_ERR_TIMEOUT);
    assert_in_range(upstream_now_ms() - began_ms, 290, 3000);
    connector_close(c);
}

/* Is a thread of the process not stopped yet? */
static bool runs_still(pid_t pid)
{
    char path[64], line[512];
    bool runs = false;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", (int)pid, entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL) continue;
        const char *end = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
        if (end != NULL && end[2] != 'T') runs = true;
        fclose(file);
    }
    closedir(dir);
    return runs;
}

/* SIGSTOP reaches the threads one by one. */
static void freeze(pid_t pid)
{
    uint64_t end_ms = upstream_now_ms() + LIMIT_MS;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    while (runs_still(pid)) {
        if (upstream_now_ms() >= end_ms) fail_msg("the server does not stop");
        usleep(1000);
    }
}

/* A server that is frozen in the middle of everything holds neither a query, nor the close, nor a connect. */
static void test_frozen_server(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice");
    struct upstream_target t = mysql_target("A", "sluice");
    struct connector *second = NULL;
    pid_t pid = atoi(mysql_env("SLUICE_TEST_A_PID"));
    freeze(pid);
    uint64_t began_ms = upstream_now_ms();
    connector_set_deadline(c, began_ms + 200);
    int query = connector_query(c, "SELECT 1", NULL, NULL);
    int open = connector_open(&t, upstream_now_ms() + 200, NULL, &second, NULL);
    connector_close(c);
    uint64_t took_ms = upstream_now_ms() - began_ms;
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(query, SLUICE_ERR_TIMEOUT);
    assert_int_equal(open, SLUICE_ERR_TIMEOUT);
    assert_true(took_ms < 3000);
}

/* ---- facts ---- */

static struct facts facts_of(const char *server, const char *user)
{
    struct connector *c = mysql_open(server, user);
    struct upstream_error error = { 0 };
    struct facts f = { 0 };
    if (facts_read(c, &f, &error) != 0) fail_msg("%s", error.text);
    connector_close(c);
    return f;
}

/* Everything of a healthy primary is read. */
static void test_facts_of_a_primary(void **state)
{
    (void)state;
    struct facts f = facts_of("A", "sluice");
    assert_true(f.version_id >= 80400);
    assert_false(f.is_mariadb);
    assert_string_equal(f.server_uuid, mysql_env("SLUICE_TEST_A_UUID"));
    assert_true(f.server_id > 0);
    assert_string_equal(f.gtid_mode, "ON");
    assert_string_equal(f.enforce_gtid_consistency, "ON");
    assert_string_equal(f.log_bin, "ON");
    assert_string_equal(f.log_replica_updates, "ON");
    assert_string_equal(f.binlog_format, "ROW");
    assert_string_equal(f.binlog_row_image, "FULL");
    assert_int_equal(f.binlog_row_event_max_size, 8192);
    assert_string_equal(f.read_only, "OFF");
    assert_string_equal(f.super_read_only, "OFF");
    assert_string_equal(f.ps_show_processlist, "OFF");
    assert_int_equal(f.sync_binlog, 1);
    assert_int_equal(f.innodb_flush_log_at_trx_commit, 1);
    assert_string_equal(f.replica_skip_errors, "OFF");
    assert_string_equal(f.replica_exec_mode, "STRICT");
    assert_string_equal(f.time_zone, "SYSTEM");
    assert_true(*f.system_time_zone != '\0' && f.offsets.are_known);
    assert_non_null(strstr(f.sql_mode, "STRICT_TRANS_TABLES"));
    assert_string_equal(f.lower_case_table_names, "0");
    assert_string_equal(f.character_set_server, "utf8mb4");
    assert_string_equal(f.collation_server, "utf8mb4_0900_ai_ci");
    assert_string_equal(f.missing_grants, "");
    assert_string_equal(f.binlog_filters, "");
    assert_false(f.has_system_user);
    assert_int_equal(f.channel_count, 0);
    assert_true(gtid_set_count(f.executed) >= 3);
    assert_true(gtid_set_is_empty(f.purged));
    facts_free(&f);
    facts_free(&f); /* empty is fine */
}

/* A replica's channel, its filters, its skipped errors and its binlog's filters are read. */
static void test_facts_of_a_replica(void **state)
{
    (void)state;
    struct facts f = facts_of("B", "sluice");
    assert_int_equal(f.channel_count, 1);
    const struct facts_channel *ch = &f.channels[0];
    assert_string_equal(ch->name, "");
    assert_true(ch->io_running);
    assert_true(ch->sql_running);
    assert_true(ch->auto_position);
    assert_string_equal(ch->source_uuid, mysql_env("SLUICE_TEST_A_UUID"));
    assert_string_equal(ch->source_host, "127.0.0.1");
    assert_int_equal(ch->source_port, atoi(mysql_env("SLUICE_TEST_A_PORT")));
    assert_string_equal(ch->last_error, "");
    assert_string_equal(ch->filters, "Replicate_Ignore_Table=test.ignored Replicate_Wild_Ignore_Table=other.%");
    assert_true(gtid_set_contains(f.executed, ch->retrieved));
    assert_true(gtid_set_equal(f.executed, ch->executed));
    assert_string_equal(f.binlog_filters, "Binlog_Ignore_DB=never");
    assert_string_equal(f.replica_skip_errors, "1062");
    assert_int_equal(f.sync_binlog, 0);
    assert_string_equal(f.time_zone, "-03:30"); /* the same in every season */
    assert_int_equal(f.offsets.january, -12600);
    assert_int_equal(f.offsets.july, -12600);
    assert_int_equal(f.offsets.now, -12600);
    facts_free(&f);
}

/* An account without the grants still gets an answer, and it names what is missing; grants by a role count. */
static void test_missing_grants_are_named(void **state)
{
    (void)state;
    struct facts f = facts_of("A", "app");
    assert_string_equal(f.missing_grants, "GRANT REPLICATION CLIENT, PROCESS, CONNECTION_ADMIN ON *.* TO 'app'@'%'");
    facts_free(&f);
    f = facts_of("A", "byrole");
    assert_string_equal(f.missing_grants, "");
    facts_free(&f);
    f = facts_of("A", "boss");
    assert_true(f.has_system_user);
    facts_free(&f);
}

/* A transaction that was committed before the reading is in E. */
static void test_gtids_are_current(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice");
    struct connector *writer = mysql_open("A", "writer");
    struct upstream_error error = { 0 };
    struct gtids before, after;
    assert_int_equal(gtids_read(c, &before, &error), 0);
    mysql_do(writer, "INSERT INTO test.t VALUES (1000)");
    mysql_do(writer, "DELETE FROM test.t WHERE k = 1000");
    assert_int_equal(gtids_read(c, &after, &error), 0);
    assert_int_equal(gtid_set_count(after.executed), gtid_set_count(before.executed) + 2);
    assert_true(gtid_set_contains(after.executed, before.executed));
    assert_string_equal(after.server_uuid, mysql_env("SLUICE_TEST_A_UUID"));
    gtids_free(&before);
    gtids_free(&after);
    connector_close(writer);
    connector_close(c);
}

/* ---- processlist and kill ---- */

static const struct threads_row *find_row(const struct processlist *p, uint64_t id)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->rows[i].id == id) return &p->rows[i];
    }
    return NULL;
}

/* The list shows the others with their HOST, and ours, by which we know how the server calls our address. */
static void test_processlist(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice");
    struct connector *app = mysql_open("A", "app");
    struct upstream_error error = { 0 };
    struct processlist p;
    char host[64];
    assert_int_equal(processlist_read(c, &p, &error), 0);
    snprintf(host, sizeof host, "127.0.0.1:%u", connector_local_port(app));
    const struct threads_row *row = find_row(&p, connector_thread_id(app));
    assert_non_null(row);
    assert_string_equal(row->user, "app");
    assert_string_equal(row->host, host);
    assert_string_equal(row->command, "Sleep");
    assert_int_equal(p.own_id, connector_thread_id(c));
    assert_string_equal(p.own_user, "sluice");
    assert_int_equal(threads_host_port(p.own_host), connector_local_port(c));
    processlist_free(&p);
    connector_close(app);
    connector_close(c);
}

/* An account without PROCESS is shown only itself, and no error: so a list must show the live legs to prove anything. */
static void test_processlist_without_process_grant(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "app"), *other = mysql_open("A", "writer");
    struct upstream_error error = { 0 };
    struct processlist p;
    assert_int_equal(processlist_read(c, &p, &error), 0);
    assert_null(find_row(&p, connector_thread_id(other)));
    processlist_free(&p);
    connector_close(other);
    connector_close(c);
}

static struct kill_order order_for(const struct connector *victim, int port_off_by)
{
    struct kill_order o = { .id = connector_thread_id(victim) };
    snprintf(o.host, sizeof o.host, "127.0.0.1:%u", connector_local_port(victim) + (unsigned)port_off_by);
    return o;
}

/* KILL only where id and HOST both match; what is gone is no error; a denied one names the account. */
static void test_kill(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice");
    struct connector *hit = mysql_open("A", "app"), *spared = mysql_open("A", "app"), *boss = mysql_open("A", "boss");
    struct upstream_error error = { 0 };
    struct kill_order orders[] = { order_for(hit, 0), order_for(spared, 1), order_for(boss, 0), order_for(hit, 0) };
    orders[3].id = 999999999;
    if (kill_threads(c, orders, ARRAY_LEN(orders), &error) != 0) fail_msg("%s", error.text);
    assert_int_equal(orders[0].result, KILL_DONE);
    assert_string_equal(orders[0].user, "app");
    assert_int_equal(orders[1].result, KILL_GONE);
    assert_int_equal(orders[2].result, KILL_DENIED);
    assert_string_equal(orders[2].user, "boss");
    assert_non_null(strstr(orders[2].error_text, "1095"));
    assert_int_equal(orders[3].result, KILL_GONE);
    assert_int_not_equal(connector_query(hit, "SELECT 1", NULL, &error), 0);
    mysql_do(spared, "SELECT 1");
    mysql_do(boss, "SELECT 1");
    mysql_do(c, "SELECT 1");
    connector_close(hit);
    connector_close(spared);
    connector_close(boss);
    connector_close(c);
}

/* ---- whose socket ---- */

static const struct threads_socket *find_socket(const struct threads_socket *s, size_t count, uint16_t port)
{
    for (size_t i = 0; i < count; i++) {
        if (s[i].local_port == port) return &s[i];
    }
    return NULL;
}

/* Our own sockets are ours; another process's are another's, with its name; a closed one is not there. */
static void test_local_sockets(void **state)
{
    (void)state;
    struct connector *ours = mysql_open("A", "app"), *closed = mysql_open("A", "app");
    struct upstream_target t = mysql_target("A", "app");
    struct threads_socket *sockets;
    size_t count;
    int ready[2], go[2];
    uint16_t its_port = 0, closed_port = connector_local_port(closed);
    connector_close(closed); /* before the fork: a child would hold it open */
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* plain system calls only: the parent has threads */
        struct sockaddr_in local;
        socklen_t len = sizeof local;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char byte;
        if (connect(fd, (struct sockaddr *)&t.addr, sizeof(struct sockaddr_in)) != 0) _exit(1);
        getsockname(fd, (struct sockaddr *)&local, &len);
        its_port = ntohs(local.sin_port);
        if (write(ready[1], &its_port, sizeof its_port) < 0 || read(go[0], &byte, 1) < 0) _exit(1);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &its_port, sizeof its_port), sizeof its_port);
    assert_int_equal(local_sockets_read((const struct sockaddr *)&t.addr, &sockets, &count), 0);
    const struct threads_socket *own = find_socket(sockets, count, connector_local_port(ours));
    const struct threads_socket *its = find_socket(sockets, count, its_port);
    assert_non_null(own);
    assert_int_equal(own->owner, THREADS_OWNER_US);
    assert_int_equal(own->pid, getpid());
    assert_non_null(its);
    assert_int_equal(its->owner, THREADS_OWNER_OTHER);
    assert_int_equal(its->pid, child);
    assert_true(its->is_sluice); /* the same program as ours */
    assert_true(strlen(its->comm) > 0);
    assert_null(find_socket(sockets, count, closed_port));
    mem_free(sockets);
    assert_int_equal(write(go[1], "x", 1), 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
    connector_close(ours);
}

struct churn {
    struct upstream_target target;
    atomic_bool stop;
};

static void *churn_thread(void *arg)
{
    struct churn *churn = arg;
    while (!atomic_load(&churn->stop)) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&churn->target.addr, sizeof(struct sockaddr_in)) != 0) abort();
        close(fd);
    }
    return NULL;
}

/* While our own connections come and go, no reading tells of a socket whose owner is unknown: it would stop a switch. */
static void test_closing_sockets_are_not_unknown(void **state)
{
    (void)state;
    struct churn churn = { .target = mysql_target("A", "app") };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, churn_thread, &churn), 0);
    for (unsigned i = 0; i < 200; i++) {
        struct threads_socket *sockets;
        size_t count;
        assert_int_equal(local_sockets_read((const struct sockaddr *)&churn.target.addr, &sockets, &count), 0);
        for (size_t k = 0; k < count; k++)
            assert_int_not_equal(sockets[k].owner, THREADS_OWNER_UNKNOWN);
        mem_free(sockets);
    }
    atomic_store(&churn.stop, true);
    pthread_join(thread, NULL);
}

/* A live list and the live sockets together: our connection is a probe, a leg is a leg, the rest of ours is another source's. */
static void test_judging_a_real_list(void **state)
{
    (void)state;
    struct connector *c = mysql_open("A", "sluice"), *leg = mysql_open("A", "app"), *other = mysql_open("A", "app");
    struct connector *gone = mysql_open("A", "app");
    struct upstream_target t = mysql_target("A", "sluice");
    struct upstream_error error = { 0 };
    struct processlist p;
    struct threads_leg live = { .id = connector_thread_id(leg) };
    struct threads_socket *sockets;
    size_t count;
    struct threads_verdict v;
    uint64_t gone_id = connector_thread_id(gone);
    snprintf(live.host, sizeof live.host, "127.0.0.1:%u", connector_local_port(leg));
    assert_int_equal(processlist_read(c, &p, &error), 0);
    connector_close(gone); /* its thread is in the list, its socket no longer anybody's */
    assert_int_equal(local_sockets_read((const struct sockaddr *)&t.addr, &sockets, &count), 0);
    struct threads_input in = { .rows = p.rows,
                                .row_count = p.count,
                                .own_id = p.own_id,
                                .own_host = p.own_host,
                                .own_user = p.own_user,
                                .live = &live,
                                .live_count = 1,
                                .sockets = sockets,
                                .socket_count = count };
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.live_unseen_count, 0);
    assert_int_equal(v.classes[find_row(&p, connector_thread_id(c)) - p.rows], THREADS_PROBE);
    assert_int_equal(v.classes[find_row(&p, connector_thread_id(leg)) - p.rows], THREADS_LEG);
    assert_int_equal(v.classes[find_row(&p, connector_thread_id(other)) - p.rows], THREADS_OTHER_SOURCE);
    assert_int_equal(v.classes[find_row(&p, gone_id) - p.rows], THREADS_DEAD_SLUICE);
    threads_verdict_free(&v);
    mem_free(sockets);
    processlist_free(&p);
    connector_close(other);
    connector_close(leg);
    connector_close(c);
}

static int setup(void **state)
{
    (void)state;
    print_message("client library: %s\n", connector_library_name());
    return connector_library_init();
}

static int teardown(void **state)
{
    (void)state;
    connector_library_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_modes),
        cmocka_unit_test(test_tls_is_never_left_out),
        cmocka_unit_test(test_access_denied),
        cmocka_unit_test(test_query_results),
        cmocka_unit_test(test_long_statement_ends_at_deadline),
        cmocka_unit_test(test_frozen_server),
        cmocka_unit_test(test_facts_of_a_primary),
        cmocka_unit_test(test_facts_of_a_replica),
        cmocka_unit_test(test_missing_grants_are_named),
        cmocka_unit_test(test_gtids_are_current),
        cmocka_unit_test(test_processlist),
        cmocka_unit_test(test_processlist_without_process_grant),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_local_sockets),
        cmocka_unit_test(test_closing_sockets_are_not_unknown),
        cmocka_unit_test(test_judging_a_real_list),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
