/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "fix_config.h"

#define ACCOUNT "account: {user: sluice, password-file: @DIR@/password}"

static const char minimal[] = "admin: {socket: /run/sluice/admin.sock}\n"
                              "state-dir: /var/lib/sluice\n"
                              "sources:\n"
                              "  - source-id: mysql-01\n"
                              "    listen: 0.0.0.0:3400\n"
                              "    " ACCOUNT "\n"
                              "    active: a\n"
                              "    backends:\n"
                              "      - {name: a, address: 10.0.0.1:3306}\n"
                              "      - {name: b, address: 10.0.0.2:3306}\n"
                              "    consumer: {type: replica, address: 10.0.0.9:3306, " ACCOUNT "}\n";

static void load_ok(struct fix_config *f, const char *text)
{
    if (fix_config_load(f, text) != 0) fail_msg("refused: %s", f->error);
}

/* The least that runs gives every value, and the defaults of the design for what it does not name. */
static void test_minimal_gives_the_defaults(void **state)
{
    struct fix_config *f = *state;
    load_ok(f, minimal);
    const struct config *c = f->config;
    const struct config_source *s = &c->sources[0];
    assert_string_equal(c->path, f->yaml);
    assert_string_equal(c->admin.socket, "/run/sluice/admin.sock");
    assert_null(c->admin.listen.host);
    assert_string_equal(c->state_dir, "/var/lib/sluice");
    assert_int_equal(c->threads, 1); /* one source */
    assert_int_equal(c->stop_timeout_ms, 10000);
    assert_int_equal(c->source_count, 1);
    assert_string_equal(s->source_id, "mysql-01");
    assert_int_equal(s->line, 4);
    assert_string_equal(s->listen.host, "0.0.0.0");
    assert_int_equal(s->listen.port, 3400);
    assert_string_equal(s->account.user, "sluice");
    assert_string_equal(s->account.password, "geheim");
    assert_string_equal(s->account.password_file, f->password);
    assert_int_equal(s->account.tls_mode, CONFIG_TLS_OFF);
    assert_string_equal(s->active, "a");
    assert_int_equal(s->backend_count, 2);
    assert_string_equal(s->backends[1].name, "b");
    assert_string_equal(s->backends[1].address.host, "10.0.0.2");
    assert_int_equal(s->consumer.type, CONFIG_CONSUMER_REPLICA);
    assert_int_equal(s->consumer.address.port, 3306);
    assert_string_equal(s->consumer.account.password, "geheim");
    assert_string_equal(s->consumer.channel, "");
    assert_null(s->source_address);
    assert_int_equal(s->advertise_count, 0);
}

static void test_limits_default_to_the_designs(void **state)
{
    struct fix_config *f = *state;
    load_ok(f, minimal);
    const struct config_limits *l = &f->config->sources[0].limits;
    assert_int_equal(l->hold_timeout_ms, 8000);
    assert_int_equal(l->drain_timeout_ms, 3000);
    assert_int_equal(l->catchup_timeout_ms, 10000);
    assert_int_equal(l->pause_timeout_ms, 60000);
    assert_int_equal(l->verify_timeout_ms, 120000);
    assert_int_equal(l->probe_interval_ms, 2000);
    assert_int_equal(l->probe_timeout_ms, 5000);
    assert_int_equal(l->connect_timeout_ms, 3000);
    assert_int_equal(l->sessions_max, 10000);
    assert_int_equal(l->hold_clients_max, 2000);
    struct config_limits defaults = config_limits_default(1);
    assert_memory_equal(l, &defaults, sizeof defaults); /* whose is_..._given are false, too */
}

/* A source's limit wins over the top level's, which wins over the default, wherever in the file the top level's stands. */
static void test_source_wins_over_global(void **state)
{
    struct fix_config *f = *state;
    char text[2048];
    snprintf(text, sizeof text, "%s    hold-timeout: 6s\nhold-timeout: 7s\ndrain-timeout: 1500ms\nmax-sessions: 500\n",
             minimal);
    load_ok(f, text);
    assert_int_equal(f->config->limits.hold_timeout_ms, 7000);
    assert_int_equal(f->config->sources[0].limits.hold_timeout_ms, 6000);
    assert_int_equal(f->config->sources[0].limits.drain_timeout_ms, 1500);
    assert_int_equal(f->config->sources[0].limits.hold_clients_max, 500); /* its default is not above max-sessions */
}

/* Every other key reaches its field: TLS, addresses of all kinds, a token, threads. */
static void test_other_keys_reach_their_fields(void **state)
{
    struct fix_config *f = *state;
    fix_config_file(f, "ca.pem", "x\n", 0644);
    fix_config_file(f, "token", "s3cret\n", 0600);
    load_ok(
        f, "admin: {listen: \"[::1]:3480\", token-file: @DIR@/token}\n"
           "state-dir: s\nthreads: 7\nstop-timeout: 0\n"
           "sources:\n"
           "  - source-id: one\n"
           "    listen: \"[::]:3400\"\n"
           "    advertise-address: vip.example.com:3400\n"
           "    source-address: \"2001:db8::5\"\n"
           "    account: {user: u, password-file: @DIR@/password, tls: {mode: verify-name, ca: @DIR@/ca.pem}}\n"
           "    active: a\n"
           "    backends: [{name: a, address: \"[2001:db8::1]:3306\"}]\n"
           "    tls: {mode: require, cert: @DIR@/ca.pem, key: @DIR@/password, backend-ca: @DIR@/ca.pem, verify: name}\n"
           "    allow-compression: true\n"
           "    proxy-protocol: {accept-from: [10.0.9.0/24, \"fd00:9::/64\"], send: v2, send-own: true}\n"
           "    consumer: {type: none}\n"
           "  - source-id: two\n"
           "    listen: 127.0.0.1:3401\n"
           "    advertise-address: [x:1, y:2]\n"
           "    account: &account {user: u, password-file: @DIR@/password, tls: {mode: insecure}}\n"
           "    active: a\n"
           "    backends: [{name: a, address: A.example:3306}]\n"
           "    proxy-protocol: {accept-from: 10.0.9.7}\n"
           "    consumer: {type: replica, address: d:1, account: *account, channel: dm}\n");
    const struct config *c = f->config;
    char ca[128];
    snprintf(ca, sizeof ca, "%s/ca.pem", f->dir);
    assert_null(c->admin.socket);
    assert_string_equal(c->admin.listen.host, "::1");
    assert_string_equal(c->admin.token, "s3cret");
    assert_int_equal(c->threads, 7);
    assert_int_equal(c->stop_timeout_ms, 0);
    assert_string_equal(c->sources[0].advertise[0].host, "vip.example.com");
    assert_string_equal(c->sources[0].source_address, "2001:db8::5");
    assert_int_equal(c->sources[0].account.tls_mode, CONFIG_TLS_VERIFY_NAME);
    assert_string_equal(c->sources[0].account.tls_ca, ca);
    assert_int_equal(c->sources[0].tls.mode, CONFIG_TLS_MODE_REQUIRE);
    assert_string_equal(c->sources[0].tls.cert, ca);
    assert_string_equal(c->sources[0].tls.key, f->password);
    assert_string_equal(c->sources[0].tls.backend_ca, ca);
    assert_null(c->sources[0].tls.ca);
    assert_null(c->sources[0].tls.backend_cert);
    assert_int_equal(c->sources[0].tls.verify, CONFIG_TLS_VERIFY_BY_NAME);
    assert_true(c->sources[0].allow_compression);
    assert_int_equal(c->sources[1].tls.mode, CONFIG_TLS_MODE_OFF);
    assert_false(c->sources[1].allow_compression);
    const struct config_proxy_protocol *proxy[2] = { &c->sources[0].proxy_protocol, &c->sources[1].proxy_protocol };
    assert_int_equal(proxy[0]->accept_from_count, 2);
    assert_int_equal(proxy[0]->accept_from[0].bits, 24);
    assert_int_equal(proxy[0]->accept_from[1].base.family, NETWORK_INET6);
    assert_int_equal(proxy[0]->send, CONFIG_PROXY_SEND_V2);
    assert_true(proxy[0]->send_own);
    assert_int_equal(proxy[1]->accept_from_count, 1);
    assert_int_equal(proxy[1]->accept_from[0].bits, 32);
    assert_int_equal(proxy[1]->send, CONFIG_PROXY_SEND_OFF);
    assert_int_equal(c->sources[0].consumer.type, CONFIG_CONSUMER_NONE);
    assert_int_equal(c->sources[1].advertise_count, 2);
    assert_int_equal(c->sources[1].advertise[1].port, 2);
    assert_int_equal(c->sources[1].consumer.account.tls_mode, CONFIG_TLS_INSECURE);
    assert_string_equal(c->sources[1].consumer.channel, "dm");
}

/* 200 sources are probed every 2 s, 201 every 10 s, unless the file says something else. */
static void test_many_sources_are_probed_less_often(void **state)
{
    struct fix_config *f = *state;
    for (size_t count = 200; count <= 201; count++) {
        struct text t = TEXT_INIT;
        text_puts(&t, "admin: {socket: s}\nstate-dir: d\nsources:\n");
        for (size_t i = 0; i < count; i++)
            text_printf(&t,
                        "  - {source-id: s%zu, listen: 127.0.0.1:%zu, " ACCOUNT ", active: a,\n"
                        "     backends: [{name: a, address: 10.0.0.1:3306}], consumer: {type: none}}\n",
                        i, 3000 + i);
        load_ok(f, text_str(&t));
        assert_int_equal(f->config->sources[count - 1].limits.probe_interval_ms, count > 200 ? 10000 : 2000);
        text_puts(&t, "probe-interval: 3s\n");
        load_ok(f, text_str(&t));
        assert_int_equal(f->config->sources[count - 1].limits.probe_interval_ms, 3000);
        text_free(&t);
    }
}

/* Defaults give way to a low limit of open files, what the file gives does not, and below 100 sessions nothing is lowered. */
static void test_defaults_fit_in_the_open_files(void **state)
{
    struct fix_config *f = *state;
    char text[2048];
    load_ok(f, minimal);
    struct config_limits *l = &f->config->sources[0].limits;
    assert_false(config_fit_open_files(f->config, 22080)); /* 64 + 16 + 2 * 10000 + 2000 */
    assert_int_equal(l->sessions_max, 10000);
    assert_true(config_fit_open_files(f->config, 22079));
    assert_int_equal(l->sessions_max, 9999);
    assert_int_equal(l->hold_clients_max, 1999);
    assert_true(config_fit_open_files(f->config, 1024));
    assert_in_range(64 + 16 + 2 * l->sessions_max + l->hold_clients_max, 1020, 1024);
    assert_false(config_fit_open_files(f->config, 1024));
    snprintf(text, sizeof text, "%smax-sessions: 400\n", minimal);
    load_ok(f, text);
    l = &f->config->sources[0].limits;
    assert_int_equal(l->hold_clients_max, 400);
    assert_true(config_fit_open_files(f->config, 1024));
    assert_int_equal(l->sessions_max, 400);
    assert_int_equal(l->hold_clients_max, 144);
    assert_false(config_fit_open_files(f->config, 800));
    assert_int_equal(l->hold_clients_max, 144);
}

/* A consumer of type dm: one master or several, and the certificate that DM demands, by the names of DM's own files. */
static void test_dm_consumer(void **state)
{
    struct fix_config *f = *state;
    fix_config_file(f, "open", "x", 0644);
    load_ok(f, "admin: {socket: s}\nstate-dir: d\nsources:\n"
               "  - {source-id: a, listen: 127.0.0.1:1, active: x, backends: [{name: x, address: h:1}],\n"
               "     account: {user: u, password-file: @DIR@/password},\n"
               "     consumer: {type: dm, master-addr: [m1:8261, \"[::1]:8261\"],\n"
               "                security: {ssl-ca: @DIR@/open, ssl-cert: @DIR@/open, ssl-key: @DIR@/password}}}\n");
    const struct config_consumer *c = &f->config->sources[0].consumer;
    assert_int_equal(c->type, CONFIG_CONSUMER_DM);
    assert_int_equal(c->master_count, 2);
    assert_string_equal(c->masters[0].host, "m1");
    assert_string_equal(c->masters[1].host, "::1");
    assert_int_equal(c->masters[1].port, 8261);
    assert_non_null(strstr(c->ssl_ca, "/open"));
    assert_non_null(strstr(c->ssl_key, "/password"));
    load_ok(f, "admin: {socket: s}\nstate-dir: d\nsources:\n"
               "  - {source-id: a, listen: 127.0.0.1:1, active: x, backends: [{name: x, address: h:1}],\n"
               "     account: {user: u, password-file: @DIR@/password}, consumer: {type: dm, master-addr: m1:8261}}\n");
    assert_int_equal(f->config->sources[0].consumer.master_count, 1);
    assert_null(f->config->sources[0].consumer.ssl_ca);
}

/* A client verb needs `admin` only: mistakes elsewhere and secrets it may not read do not keep it from the daemon. */
static void test_admin_alone_is_read_from_a_file_that_is_wrong_elsewhere(void **state)
{
    struct fix_config *f = *state;
    char *error = NULL;
    fix_config_file(f, "sluice.yaml",
                    "sources: 7\nadmin: {socket: /run/a.sock}\nnonsense: 1\n"
                    "? [a, b]\n: c\n",
                    0644);
    assert_int_equal(config_load_admin(f->yaml, &f->config, &error), 0);
    assert_string_equal(f->config->admin.socket, "/run/a.sock");
    assert_int_equal(f->config->source_count, 0);
}

/* Whichever allocation fails: an error that says so, or, when even that has no room, none; and nothing leaks. */
static void test_every_failed_allocation_is_an_error(void **state)
{
    struct fix_config *f = *state;
    int rv = SLUICE_ERR_NOMEM;
    fix_config_file(f, "sluice.yaml", minimal, 0644);
    unsigned long n = 1;
    for (; rv != 0 && n < 1000; n++) {
        char *error = NULL;
        mem_fail_at(n);
        rv = config_load(f->yaml, &f->config, &error);
        mem_fail_at(0);
        if (rv == 0) break;
        assert_int_equal(rv, SLUICE_ERR_NOMEM);
        assert_null(f->config);
        if (error != NULL) assert_non_null(strstr(error, "memory ran out"));
        mem_free(error);
    }
    assert_int_equal(rv, 0);
    assert_in_range(n, 30, 999);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fix_config_up, fix_config_down)
    const struct CMUnitTest tests[] = {
        TEST(test_minimal_gives_the_defaults),
        TEST(test_limits_default_to_the_designs),
        TEST(test_source_wins_over_global),
        TEST(test_other_keys_reach_their_fields),
        TEST(test_many_sources_are_probed_less_often),
        TEST(test_defaults_fit_in_the_open_files),
        TEST(test_dm_consumer),
        TEST(test_admin_alone_is_read_from_a_file_that_is_wrong_elsewhere),
        TEST(test_every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
