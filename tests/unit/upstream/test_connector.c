/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/error.h"
#include "core/mem.h"
#include "fake_server.h"
#include "upstream/connector.h"

enum {
    DEADLINE_MS = 300,
    LATE_MS = 2700 /* what a loaded machine may add; a hang is far more */
};

/* Open against |manner|: fails, within the deadline, with |want|. */
static void expect_failure(enum fake_manner manner, enum config_account_tls tls, int want)
{
    struct fake_server *server = fake_server_up(manner);
    struct upstream_target target = fake_server_target(server);
    struct upstream_error error = { 0 };
    struct connector *c = NULL;
    target.tls = tls;
    uint64_t began_ms = upstream_now_ms();
    int rv = connector_open(&target, began_ms + DEADLINE_MS, NULL, &c, &error);
    uint64_t took_ms = upstream_now_ms() - began_ms;
    if (rv != want) print_error("%s: %s\n", error_name(rv), error.text);
    assert_int_equal(rv, want);
    assert_int_equal(error.code, want);
    assert_null(c);
    assert_non_null(strstr(error.text, "127.0.0.1:"));
    assert_true(took_ms < DEADLINE_MS + LATE_MS);
    fake_server_down(server);
}

/* A server that lets nobody in without a PROXY header gets one of our own, in front of everything else. */
static void test_proxy_header_goes_first_where_one_is_demanded(void **state)
{
    static const enum fake_manner manners[] = { FAKE_PROXY_V1, FAKE_PROXY_V2 };
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct fake_server *server = fake_server_up(manners[i]);
        struct upstream_target target = fake_server_target(server), copy;
        struct upstream_error error = { 0 };
        struct connector *c = NULL;
        target.proxy_version = i + 1;
        assert_int_equal(upstream_target_copy(&target, &copy), 0);
        assert_int_equal(connector_open(&copy, upstream_now_ms() + LATE_MS, NULL, &c, &error), SLUICE_ERR_QUERY);
        assert_int_equal(error.mysql_errno, 1040);
        upstream_target_free(&copy);
        fake_server_down(server);
    }
}

/* A server that accepts and says nothing holds a call no longer than its deadline. */
static void test_silent_server_ends_at_deadline(void **state)
{
    (void)state;
    expect_failure(FAKE_SILENT, CONFIG_TLS_OFF, SLUICE_ERR_TIMEOUT);
}

/* A server that drips bytes is never too slow for a time-out per read; the total deadline ends it. */
static void test_dripping_server_ends_at_deadline(void **state)
{
    (void)state;
    expect_failure(FAKE_DRIP, CONFIG_TLS_OFF, SLUICE_ERR_TIMEOUT);
}

/* A server that falls silent inside the TLS handshake holds a call no longer than its deadline. */
static void test_server_mute_in_tls_ends_at_deadline(void **state)
{
    (void)state;
    expect_failure(FAKE_MUTE_TLS, CONFIG_TLS_INSECURE, SLUICE_ERR_TIMEOUT);
}

/* The same for one that drips inside the TLS handshake. */
static void test_server_dripping_in_tls_ends_at_deadline(void **state)
{
    (void)state;
    expect_failure(FAKE_DRIP_TLS, CONFIG_TLS_INSECURE, SLUICE_ERR_TIMEOUT);
}

/* A server that hangs up at once, or resets in the middle of its greeting, cannot be reached. */
static void test_server_that_hangs_up_is_unreachable(void **state)
{
    (void)state;
    expect_failure(FAKE_CLOSE, CONFIG_TLS_OFF, SLUICE_ERR_UNREACHABLE);
    expect_failure(FAKE_RESET, CONFIG_TLS_OFF, SLUICE_ERR_UNREACHABLE);
}

/* What answers as no MySQL server does is an error, not a hang. */
static void test_garbage_is_an_error(void **state)
{
    (void)state;
    expect_failure(FAKE_GARBAGE, CONFIG_TLS_OFF, SLUICE_ERR_UNREACHABLE);
}

/* A server's own error in place of a greeting is passed on with its number. */
static void test_error_packet_is_passed_on(void **state)
{
    (void)state;
    expect_failure(FAKE_ERROR, CONFIG_TLS_OFF, SLUICE_ERR_QUERY);
}

/* A port on which nobody listens is refused at once. */
static void test_closed_port_is_unreachable(void **state)
{
    (void)state;
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    struct upstream_error error = { 0 };
    struct connector *c;
    fake_server_down(server);
    assert_int_equal(connector_open(&target, upstream_now_ms() + 5000, NULL, &c, &error), SLUICE_ERR_UNREACHABLE);
}

/* Where TLS is asked for, a server that offers none gets no password, even if its questions all lie on the wire before. */
static void test_password_never_goes_to_a_server_without_tls(void **state)
{
    char ca_path[] = "/tmp/sluice-test-ca-XXXXXX";
    static char name[] = "localhost";
    static const enum config_account_tls modes[] = { CONFIG_TLS_INSECURE, CONFIG_TLS_VERIFY_CA,
                                                     CONFIG_TLS_VERIFY_NAME };
    (void)state;
    int fd = mkstemp(ca_path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct fake_server *server = fake_server_up(FAKE_NO_TLS);
        struct upstream_target target = fake_server_target(server);
        struct upstream_error error = { 0 };
        struct connector *c = NULL;
        target.tls = modes[i];
        target.tls_ca = ca_path;
        target.host = name;
        assert_int_equal(connector_open(&target, upstream_now_ms() + DEADLINE_MS, NULL, &c, &error),
                         SLUICE_ERR_PROTOCOL);
        assert_true(strstr(error.text, "TLS") != NULL || strstr(error.text, "SSL") != NULL);
        assert_int_equal(fake_server_got_secret(server), 0);
        fake_server_down(server);
    }
    unlink(ca_path);
}

/* The same server does get the password of a target without TLS: so the test above can fail. */
static void test_password_goes_out_where_tls_is_off(void **state)
{
    (void)state;
    struct fake_server *server = fake_server_up(FAKE_NO_TLS);
    struct upstream_target target = fake_server_target(server);
    struct connector *c = NULL;
    assert_int_not_equal(connector_open(&target, upstream_now_ms() + 1000, NULL, &c, NULL), 0);
    assert_int_equal(fake_server_got_secret(server), 1);
    fake_server_down(server);
}

/* An answer without an end is cut at its bound, or at the deadline, whichever comes first. */
static void test_endless_rows_are_cut(void **state)
{
    (void)state;
    struct fake_server *server = fake_server_up(FAKE_ROWS_FOR_EVER);
    struct upstream_target target = fake_server_target(server);
    struct upstream_error error = { 0 };
    struct connector *c = NULL;
    struct rows *rows = NULL;
    assert_int_equal(connector_open(&target, upstream_now_ms() + 5000, NULL, &c, &error), 0);
    connector_set_deadline(c, upstream_now_ms() + DEADLINE_MS);
    uint64_t began_ms = upstream_now_ms();
    int rv = connector_query(c, "SELECT 1", &rows, &error);
    assert_true(rv == SLUICE_ERR_TIMEOUT || rv == SLUICE_ERR_PROTOCOL);
    assert_true(upstream_now_ms() - began_ms < DEADLINE_MS + LATE_MS);
    assert_null(rows);
    connector_close(c);
    fake_server_down(server);
}

struct late_cancel {
    struct connector_cancel *cancel;
    struct fake_server *server;
};

/* Fires when the server has accepted the client. */
static void *cancel_thread(void *arg)
{
    struct late_cancel *late = arg;
    while (fake_server_clients(late->server) == 0)
        usleep(1000);
    connector_cancel_fire(late->cancel);
    return NULL;
}

static void expect_canceled(enum fake_manner manner)
{
    struct late_cancel late = { .server = fake_server_up(manner) };
    struct upstream_target target = fake_server_target(late.server);
    struct connector *c = NULL;
    pthread_t thread;
    assert_int_equal(connector_cancel_new(&late.cancel), 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_thread, &late), 0);
    uint64_t began_ms = upstream_now_ms();
    assert_int_equal(connector_open(&target, began_ms + 60000, late.cancel, &c, NULL), SLUICE_ERR_CANCELED);
    assert_true(upstream_now_ms() - began_ms < LATE_MS);
    pthread_join(thread, NULL);
    connector_cancel_del(late.cancel);
    fake_server_down(late.server);
}

/* A cancel from another thread ends a call at once. */
static void test_cancel_ends_a_call(void **state)
{
    (void)state;
    expect_canceled(FAKE_SILENT);
    expect_canceled(FAKE_DRIP);
}

/* What was cancelled before it began does not connect at all. */
static void test_cancelled_before_it_began(void **state)
{
    (void)state;
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    struct connector_cancel *cancel;
    struct connector *c = NULL;
    assert_int_equal(connector_cancel_new(&cancel), 0);
    connector_cancel_fire(cancel);
    assert_int_equal(connector_open(&target, upstream_now_ms() + 60000, cancel, &c, NULL), SLUICE_ERR_CANCELED);
    connector_cancel_del(cancel);
    assert_int_equal(fake_server_clients(server), 0);
    fake_server_down(server);
}

/* A text becomes one SQL literal whatever is in it. */
static void test_quote_escapes(void **state)
{
    (void)state;
    char *quoted = connector_quote("it's a \\ ''");
    assert_string_equal(quoted, "'it''s a \\\\ '''''");
    mem_free(quoted);
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
        cmocka_unit_test(test_proxy_header_goes_first_where_one_is_demanded),
        cmocka_unit_test(test_silent_server_ends_at_deadline),
        cmocka_unit_test(test_dripping_server_ends_at_deadline),
        cmocka_unit_test(test_server_mute_in_tls_ends_at_deadline),
        cmocka_unit_test(test_server_dripping_in_tls_ends_at_deadline),
        cmocka_unit_test(test_server_that_hangs_up_is_unreachable),
        cmocka_unit_test(test_garbage_is_an_error),
        cmocka_unit_test(test_error_packet_is_passed_on),
        cmocka_unit_test(test_closed_port_is_unreachable),
        cmocka_unit_test(test_password_never_goes_to_a_server_without_tls),
        cmocka_unit_test(test_password_goes_out_where_tls_is_off),
        cmocka_unit_test(test_endless_rows_are_cut),
        cmocka_unit_test(test_cancel_ends_a_call),
        cmocka_unit_test(test_cancelled_before_it_began),
        cmocka_unit_test(test_quote_escapes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
