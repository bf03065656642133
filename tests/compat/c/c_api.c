/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_api.c - the C API's own ways: prepared statements, cursors, long data, COM_CHANGE_USER, COM_RESET_CONNECTION, LOCAL INFILE.
 *
 * Connects as COMPAT_HOST, COMPAT_PORT, COMPAT_USER, COMPAT_PASSWORD and COMPAT_CA say (TLS when it is not empty), and prints what
 * every step came to. What a server refuses is printed and no failure: two ways to one server must print the same.
 *
 * usage: c_api FILE    a file for LOAD DATA LOCAL, lines of "number TAB text"
 */
#include <assert.h>
#include <mysql.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 100, PREFETCH = 7, PIECES = 40, PIECE = 100000, BIG = 64 * 1024 * 1024 };

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "c_api: %s is not set\n", name);
        exit(2);
    }
    return value;
}

static void told(MYSQL *m, const char *what, int status)
{
    if (status == 0) {
        printf("%s: ok\n", what);
    } else {
        printf("%s: %u %s %s\n", what, mysql_errno(m), mysql_sqlstate(m), mysql_error(m));
    }
}

static void stmt_told(MYSQL_STMT *s, const char *what, int status)
{
    if (status == 0) {
        printf("%s: ok\n", what);
    } else {
        printf("%s: %u %s %s\n", what, mysql_stmt_errno(s), mysql_stmt_sqlstate(s), mysql_stmt_error(s));
    }
}

static MYSQL *connect_as(const char *user, const char *password)
{
    MYSQL *m = mysql_init(NULL);
    unsigned int local = 1, limit = 120;
    size_t packet = 256UL * 1024 * 1024;
    const char *ca = setting("COMPAT_CA");
    assert(m != NULL);
    mysql_optionsv(m, MYSQL_OPT_LOCAL_INFILE, &local);
    mysql_optionsv(m, MYSQL_OPT_READ_TIMEOUT, &limit);
    mysql_optionsv(m, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
    if (*ca != '\0') {
        my_bool yes = 1;
        mysql_optionsv(m, MYSQL_OPT_SSL_ENFORCE, &yes);
        mysql_optionsv(m, MYSQL_OPT_SSL_CA, ca);
    }
    if (mysql_real_connect(m, setting("COMPAT_HOST"), user, password, "test",
                           (unsigned int)atoi(setting("COMPAT_PORT")), NULL, CLIENT_MULTI_STATEMENTS) == NULL) {
        fprintf(stderr, "c_api: %u %s\n", mysql_errno(m), mysql_error(m));
        exit(1);
    }
    return m;
}

/* All results of a text, each row on a line. */
static void ask(MYSQL *m, const char *sql)
{
    int status = mysql_real_query(m, sql, strlen(sql));
    told(m, sql, status);
    while (status == 0) {
        MYSQL_RES *result = mysql_use_result(m);
        MYSQL_ROW row;
        while (result != NULL && (row = mysql_fetch_row(result)) != NULL) {
            for (unsigned int i = 0; i < mysql_num_fields(result); i++)
                printf("%s|", row[i] == NULL ? "NULL" : row[i]);
            printf("\n");
        }
        if (result == NULL) printf("affected %llu\n", (unsigned long long)mysql_affected_rows(m));
        mysql_free_result(result);
        status = mysql_next_result(m);
        if (status > 0) told(m, "next result", status);
    }
}

static MYSQL_STMT *prepare(MYSQL *m, const char *sql)
{
    MYSQL_STMT *s = mysql_stmt_init(m);
    assert(s != NULL);
    stmt_told(s, sql, mysql_stmt_prepare(s, sql, strlen(sql)));
    return s;
}

/* Reads the rows of one result with an integer and a text in it. */
static void fetch_rows(MYSQL_STMT *s, MYSQL *other_use, unsigned int columns)
{
    int64_t number = 0;
    char text[256];
    unsigned long length = 0;
    my_bool is_null[2] = { 0 };
    MYSQL_BIND out[2] = { { .buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &number, .is_null = &is_null[0] },
                          { .buffer_type = MYSQL_TYPE_STRING,
                            .buffer = text,
                            .buffer_length = sizeof text,
                            .length = &length,
                            .is_null = &is_null[1] } };
    int rv = 0, rows = 0;
    int64_t sum = 0, lengths = 0;
    stmt_told(s, "bind", mysql_stmt_bind_result(s, out));
    while ((rv = mysql_stmt_fetch(s)) == 0) {
        rows++;
        sum += number;
        lengths += columns > 1 && !is_null[1] ? (int64_t)length : 0;
        if (other_use != NULL && rows % 30 == 0) ask(other_use, "SELECT 'while the cursor is open'");
    }
    if (rv == 1) stmt_told(s, "fetch", rv);
    printf("rows %d sum %lld lengths %lld\n", rows, (long long)sum, (long long)lengths);
}

static void cursors(MYSQL *m)
{
    unsigned long type = CURSOR_TYPE_READ_ONLY, prefetch = PREFETCH;
    MYSQL_STMT *s = prepare(m, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                               "SELECT i, REPEAT('c', i) FROM n");
    int64_t rows = ROWS;
    MYSQL_BIND in = { .buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &rows };
    stmt_told(s, "read-only cursor", mysql_stmt_attr_set(s, STMT_ATTR_CURSOR_TYPE, &type));
    stmt_told(s, "prefetch", mysql_stmt_attr_set(s, STMT_ATTR_PREFETCH_ROWS, &prefetch));
    stmt_told(s, "bind", mysql_stmt_bind_param(s, &in));
    stmt_told(s, "execute", mysql_stmt_execute(s));
    fetch_rows(s, m, 2);
    stmt_told(s, "execute again", mysql_stmt_execute(s));
    stmt_told(s, "reset before the last row", mysql_stmt_reset(s));
    ask(m, "SELECT 'after the reset'");
    stmt_told(s, "execute a third time", mysql_stmt_execute(s));
    mysql_stmt_close(s); /* with its cursor open */
    ask(m, "SELECT 'after the close'");
}

static void long_data(MYSQL *m)
{
    char *piece = malloc(PIECE);
    assert(piece != NULL);
    memset(piece, 'l', PIECE);
    MYSQL_STMT *s = prepare(m, "SELECT LENGTH(?), SHA2(?, 256)");
    MYSQL_BIND in[2] = { { .buffer_type = MYSQL_TYPE_LONG_BLOB }, { .buffer_type = MYSQL_TYPE_LONG_BLOB } };
    stmt_told(s, "bind", mysql_stmt_bind_param(s, in));
    int status = 0;
    for (int i = 0; i < PIECES && status == 0; i++) {
        status = mysql_stmt_send_long_data(s, 0, piece, PIECE) || mysql_stmt_send_long_data(s, 1, piece, PIECE - i);
    }
    stmt_told(s, "long data", status);
    stmt_told(s, "execute", mysql_stmt_execute(s));
    fetch_rows(s, NULL, 2);
    mysql_stmt_close(s);
    free(piece);
}

static void big_parameter(MYSQL *m)
{
    char *value = malloc(BIG);
    assert(value != NULL);
    memset(value, 'p', BIG);
    MYSQL_STMT *s = prepare(m, "SELECT LENGTH(?), 'of a parameter'");
    MYSQL_BIND in = { .buffer_type = MYSQL_TYPE_LONG_BLOB, .buffer = value, .buffer_length = BIG };
    stmt_told(s, "bind", mysql_stmt_bind_param(s, &in));
    stmt_told(s, "execute", mysql_stmt_execute(s));
    fetch_rows(s, NULL, 2);
    mysql_stmt_close(s);
    free(value);
}

static void procedures(MYSQL *m)
{
    ask(m, "DROP PROCEDURE IF EXISTS test.several");
    ask(m, "CREATE PROCEDURE test.several(IN n INT, OUT o INT) "
           "BEGIN SELECT n, 'first'; SELECT n + 1, 'second' UNION ALL SELECT n + 2, 'third'; SET o = 9; END");
    MYSQL_STMT *s = prepare(m, "CALL test.several(?, @out)");
    int64_t n = 5;
    MYSQL_BIND in = { .buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &n };
    stmt_told(s, "bind", mysql_stmt_bind_param(s, &in));
    stmt_told(s, "execute", mysql_stmt_execute(s));
    int more = 0;
    do {
        if (mysql_stmt_field_count(s) > 0) fetch_rows(s, NULL, mysql_stmt_field_count(s));
        more = mysql_stmt_next_result(s);
    } while (more == 0);
    printf("results end with %d\n", more);
    mysql_stmt_close(s);
    ask(m, "SELECT @out");
    s = prepare(m, "SELECT nothing FROM nowhere");
    mysql_stmt_close(s);
}

static void identity(MYSQL *m)
{
    ask(m, "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), DATABASE(), @variable");
}

static void users(MYSQL *m)
{
    ask(m, "SET @variable = 'set'; SET autocommit = 0; BEGIN");
    identity(m);
    told(m, "reset connection", mysql_reset_connection(m));
    identity(m);
    ask(m, "SET @variable = 'set again'");
    told(m, "change user", mysql_change_user(m, setting("COMPAT_OTHER"), setting("COMPAT_OTHER_PASSWORD"), "mysql"));
    identity(m);
    told(m, "change back", mysql_change_user(m, setting("COMPAT_USER"), setting("COMPAT_PASSWORD"), "test"));
    identity(m);
    bool is_refused = mysql_change_user(m, setting("COMPAT_OTHER"), "not the password", NULL) != 0;
    printf("change user with a wrong password: %u\n", is_refused ? mysql_errno(m) : 0);
}

static void commands(MYSQL *m)
{
    told(m, "ping", mysql_ping(m));
    told(m, "select db", mysql_select_db(m, "mysql"));
    told(m, "select db that is not there", mysql_select_db(m, "nowhere"));
    told(m, "select db", mysql_select_db(m, "test"));
    const char *statistics = mysql_stat(m);
    printf("statistics: %.6s\n", statistics == NULL ? "none" : statistics);
    told(m, "no multi statements", mysql_set_server_option(m, MYSQL_OPTION_MULTI_STATEMENTS_OFF));
    ask(m, "SELECT 1; SELECT 2");
    told(m, "multi statements", mysql_set_server_option(m, MYSQL_OPTION_MULTI_STATEMENTS_ON));
    ask(m, "SELECT 1; SELECT 2; DO 0; SELECT nothing; SELECT 3");
    told(m, "refresh", mysql_refresh(m, REFRESH_TABLES));
    MYSQL_RES *fields = mysql_list_fields(m, "loaded", "%");
    if (fields == NULL) told(m, "list fields", 1);
    if (fields != NULL) printf("list fields: %u\n", mysql_num_fields(fields));
    mysql_free_result(fields);
}

static void infile(MYSQL *m, const char *path)
{
    char sql[1024];
    ask(m, "CREATE OR REPLACE VIEW test.v AS SELECT 1");
    ask(m, "DROP TABLE IF EXISTS test.loaded");
    ask(m, "CREATE TABLE test.loaded (id INT PRIMARY KEY, s TEXT)");
    snprintf(sql, sizeof sql,
             "LOAD DATA LOCAL INFILE '%s' INTO TABLE test.loaded; SELECT COUNT(*), SUM(id) FROM test.loaded", path);
    ask(m, sql);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: c_api FILE\n");
        return 2;
    }
    MYSQL *m = connect_as(setting("COMPAT_USER"), setting("COMPAT_PASSWORD"));
    printf("tls: %s\n", mysql_get_ssl_cipher(m) == NULL ? "no" : "yes");
    infile(m, argv[1]);
    commands(m);
    cursors(m);
    long_data(m);
    big_parameter(m);
    procedures(m);
    users(m); /* the last: its connection is dead afterwards */
    mysql_close(m);
    mysql_library_end();
    return 0;
}
