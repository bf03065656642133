/* SPDX-License-Identifier: Apache-2.0 */
/* Each mistake is refused with the line, the key, the reason and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "fix_config.h"

/* The lines of a file that is right. A case puts its own text in place of some. */
static const char *const right[] = {
    /*  1 */ "admin: {socket: /run/sluice/admin.sock}",
    /*  2 */ "state-dir: /var/lib/sluice",
    /*  3 */ "sources:",
    /*  4 */ "  - source-id: one",
    /*  5 */ "    listen: 0.0.0.0:3400",
    /*  6 */ "    account: {user: sluice, password-file: @DIR@/password}",
    /*  7 */ "    active: a",
    /*  8 */ "    backends:",
    /*  9 */ "      - {name: a, address: 10.0.0.1:3306}",
    /* 10 */ "      - {name: b, address: 10.0.0.2:3306}",
    /* 11 */ "    consumer: {type: none}",
    /* 12 */ "    hold-timeout: 8s",
    /* 13 */ "  - source-id: two",
    /* 14 */ "    listen: 0.0.0.0:3401",
    /* 15 */ "    account: {user: sluice, password-file: @DIR@/password}",
    /* 16 */ "    active: a",
    /* 17 */ "    backends: [{name: a, address: 10.0.1.1:3306}]",
    /* 18 */ "    consumer: {type: none}",
    /* 19 */ "threads: 2",
};

struct refusal {
    size_t line; /* whose text is |with|; 0: none */
    const char *with;
    const char *error; /* as it ends, behind the file's name; @DIR@ is the folder */
};

static const struct refusal refusals[] = {
    /* Unknown, missing and doubled keys. */
    { 12, "    hold-timeot: 8s",
      ":12: sources[0].hold-timeot: unknown key; known here are: hold-timeout, drain-timeout, connect-timeout, "
      "catchup-timeout, "
      "pause-timeout, park-timeout, verify-timeout, dump-gate-wait, probe-interval, probe-timeout, max-sessions, "
      "hold-clients, source-id, listen, advertise-address, source-address, account, active, backends, dump-gate, "
      "position-dump, bypass, tls, allow-compression, proxy-protocol, consumer" },
    { 19, "stop_timeout: 2s",
      ":19: stop_timeout: unknown key; known here are: admin, state-dir, threads, stop-timeout, hold-timeout, "
      "drain-timeout, "
      "connect-timeout, catchup-timeout, pause-timeout, park-timeout, verify-timeout, dump-gate-wait, probe-interval, "
      "probe-timeout, max-sessions, "
      "hold-clients, sources" },
    { 10, "      - {name: b, address: 10.0.0.2:3306, port: 1}",
      ":10: sources[0].backends[1].port: unknown key; known here are: name, address" },
    { 19, "source-address: 10.0.0.1",
      ":19: source-address: unknown key; known here are: admin, state-dir, threads, stop-timeout, hold-timeout, "
      "drain-timeout, "
      "connect-timeout, catchup-timeout, pause-timeout, park-timeout, verify-timeout, dump-gate-wait, probe-interval, "
      "probe-timeout, max-sessions, "
      "hold-clients, sources" },
    { 2, "",
      ":1: state-dir: is missing; add it: directory of the durable state: active backend, epoch, pins, history" },
    { 16, "",
      ":13: sources[1].active: is missing; add it: the backend to begin with; read while state-dir has no record of "
      "the "
      "source, from then on the record decides" },
    { 18, "", ":13: sources[1].consumer: is missing; add it: who reads the binlog and is paused during a switch" },
    { 19, "state-dir: /tmp", ":19: state-dir: given twice, first on line 2; remove one of the two" },
    { 12, "    listen: 0.0.0.0:3400", ":12: sources[0].listen: given twice, first on line 5; remove one of the two" },

    /* Wrong types and values. */
    { 19, "threads: two", ":19: threads: 'two' is no number; write decimal digits only, such as 2000" },
    { 19, "threads: 0", ":19: threads: 0 is out of range; give 1 to 256" },
    { 19, "threads: 99999999999999999999", ":19: threads: 99999999999999999999 is out of range; give 1 to 256" },
    { 19, "threads: [1]", ":19: threads: this is a list; write one value" },
    { 19, "threads: {a: 1}", ":19: threads: this is a map; write one value" },
    { 19, "threads:", ":19: threads: this has no value; give one or leave the key out" },
    { 12, "    hold-timeout: 8",
      ":12: sources[0].hold-timeout: '8' is no duration; write a number with its unit, such as 500ms, 10s or 1m" },
    { 12, "    hold-timeout: 20s", ":12: sources[0].hold-timeout: 20s is out of range; give 1s to 19s" },
    { 12, "    probe-interval: 1ms", ":12: sources[0].probe-interval: 1ms is out of range; give 100ms to 1h" },
    { 4, "  - source-id: a/b",
      ":4: sources[0].source-id: 'a/b' is no name; use 1 to 64 letters, digits, dots, underscores and hyphens" },
    { 6, "    account: sluice", ":6: sources[0].account: is no map; write KEY: VALUE on lines below it" },
    { 17, "    backends: a", ":17: sources[1].backends: this is no list; write each entry on a line behind '- '" },
    { 17, "    backends: []", ":17: sources[1].backends: has 0 entries; give 1 to 16" },
    { 5, "    listen: localhost:3400",
      ":5: sources[0].listen: 'localhost:3400' names a host; give an address of this machine to listen on, such as "
      "0.0.0.0:3400" },
    { 5, "    listen: 3400",
      ":5: sources[0].listen: '3400' is no address; write host:port, with IPv6 \"[::1]:3306\" in quotes, the port 1 to "
      "65535" },
    { 10, "      - {name: b, address: 10.0.0.2}",
      ":10: sources[0].backends[1].address: '10.0.0.2' is no address; write host:port, with IPv6 \"[::1]:3306\" in "
      "quotes, the "
      "port 1 to 65535" },
    { 12, "    source-address: host",
      ":12: sources[0].source-address: 'host' is no IP address; give an address of this "
      "machine, without a port" },
    { 12, "    advertise-address: []",
      ":12: sources[0].advertise-address: this is an empty list; name an address or leave the key out" },
    { 12, "    advertise-address: [a:1, b]",
      ":12: sources[0].advertise-address: 'b' is no address; write host:port, with IPv6 \"[::1]:3306\" in quotes, the "
      "port 1 to "
      "65535" },
    { 18, "    consumer: {type: kafka}",
      ":18: sources[1].consumer.type: 'kafka' is not known; use one of: dm, replica, manual, none" },

    /* DM: its masters, and what belongs to no other type. */
    { 18, "    consumer: {type: dm}",
      ":18: sources[1].consumer: master-addr is missing; name DM's masters: master-addr: [HOST:8261]" },
    { 18, "    consumer: {type: dm, master-addr: [m:8261, m]}",
      ":18: sources[1].consumer.master-addr: 'm' is no address; write host:port, with IPv6 \"[::1]:3306\" in quotes, "
      "the "
      "port 1 to 65535" },
    { 18, "    consumer: {type: dm, master-addr: 127.0.0.1:3401}",
      ":18: sources[1].consumer.master-addr: is the source's own listener; give the address of a DM master" },
    { 18, "    consumer: {type: dm, master-addr: m:8261, address: d:1}",
      ":18: sources[1].consumer.address: only for type replica; remove it" },
    { 18, "    consumer: {type: none, master-addr: m:8261}",
      ":18: sources[1].consumer.master-addr: only for type dm; remove it" },
    { 18, "    consumer: {type: dm, master-addr: m:8261, security: {ssl-ca: /nowhere}}",
      ":18: sources[1].consumer.security.ssl-ca: '/nowhere' cannot be read; name a file that exists and is readable" },

    /* A timeout larger than the one that contains it. */
    { 12, "    drain-timeout: 7s",
      ":12: sources[0].drain-timeout: source one: drain-timeout is 7s, and with the 1s to verify and to flip it must "
      "stay below "
      "hold-timeout, by default 8s; lower drain-timeout or raise hold-timeout" },
    { 12, "    hold-timeout: 4s",
      ":12: sources[0].hold-timeout: source one: drain-timeout is by default 3s, and with the 1s to verify and to flip "
      "it must "
      "stay below hold-timeout, 4s; lower drain-timeout or raise hold-timeout" },
    { 19, "drain-timeout: 17s",
      ":19: drain-timeout: source one: drain-timeout is 17s, and with the 1s to verify and to flip it must stay below "
      "hold-timeout, 8s; lower drain-timeout or raise hold-timeout" },
    { 12, "    connect-timeout: 9s",
      ":12: sources[0].connect-timeout: source one: connect-timeout is 9s and must not be above hold-timeout, by "
      "default 8s; "
      "lower connect-timeout or raise hold-timeout" },
    { 12, "    hold-clients: 10001",
      ":12: sources[0].hold-clients: source one: hold-clients is 10001 and must not be above max-sessions, by default "
      "10000; lower "
      "hold-clients or raise max-sessions" },

    /* Names and addresses that are taken. */
    { 13, "  - source-id: one",
      ":13: sources[1].source-id: 'one' is taken by the source of line 4; give each its own" },
    { 14, "    listen: 0.0.0.0:3400",
      ":14: sources[1].listen: port 3400 is taken by source one on line 5; give each source a port of its own" },
    { 14, "    listen: \"[::1]:3400\"",
      ":14: sources[1].listen: port 3400 is taken by source one on line 5; give each source a port of its own" },
    { 10, "      - {name: a, address: 10.0.0.2:3306}",
      ":10: sources[0].backends[1].name: 'a' is taken by the backend of line 9; give each its own name" },
    { 10, "      - {name: b, address: 10.0.0.1:3306}",
      ":10: sources[0].backends[1].address: is the address of backend 'a' too; each backend is a server of its own" },
    { 7, "    active: c", ":7: sources[0].active: 'c' is no backend of this source; name one of its backends" },
    { 10, "      - {name: b, address: 127.0.0.1:3401}",
      ":10: sources[0].backends[1].address: is where source two itself listens; give the address of the MySQL server" },
    { 12, "    advertise-address: [v:1, V:1]",
      ":12: sources[0].advertise-address: source one has it on line 12; give each its own" },
    { 1, "admin: {listen: 127.0.0.1:3401, insecure: true}",
      ":14: sources[1].listen: port 3401 is taken by admin.listen; give each a port of its own" },

    /* The admin interface. */
    { 1, "",
      ":2: admin: is missing; add it: where the verbs, metrics and health checks are served: a socket, or listen with "
      "token-file" },
    { 1, "admin: {insecure: true}",
      ":1: admin: names no place; add socket: PATH, or listen: IP:PORT with token-file: FILE" },
    { 1, "admin: {listen: 127.0.0.1:3480}",
      ":1: admin.listen: TCP without a token would let anybody switch; add token-file: FILE, or insecure: true" },
    { 1, "admin: {listen: 127.0.0.1:3480, socket: s}",
      ":1: admin.listen: a socket is given too; remove one of the two" },
    { 1, "admin: {listen: 127.0.0.1:3480, insecure: true, token-file: @DIR@/password}",
      ":1: admin.insecure: contradicts token-file; remove one of the two" },
    { 1, "admin: {socket: s, token-file: @DIR@/password}",
      ":1: admin.token-file: a socket has no token, its mode 0600 guards it; remove token-file" },
    { 1, "admin: {socket: s, insecure: true}", ":1: admin.insecure: only for listen; remove it" },
    { 1, "admin: {socket: s, insecure: yes}", ":1: admin.insecure: 'yes' is no boolean; write true or false" },

    /* Accounts and secrets. */
    { 6, "    account: {user: sluice, password-file: @DIR@/open}",
      ":6: sources[0].account.password-file: @DIR@/open has mode 0644, others than its owner have access; run: chmod "
      "600 @DIR@/open" },
    { 6, "    account: {user: sluice, password-file: @DIR@/none}",
      ":6: sources[0].account.password-file: @DIR@/none: No such file or directory; create the file, owned by the user "
      "that runs "
      "sluice, mode 0600" },
    { 6, "    account: {user: sluice, password-file: @DIR@/empty}",
      ":6: sources[0].account.password-file: the first line of @DIR@/empty is empty; write the secret there" },
    { 6, "    account: {user: \"\", password-file: @DIR@/password}",
      ":6: sources[0].account.user: has 0 bytes; give 1 to 80" },
    /* TLS of clients. */
    { 12, "    tls: {mode: on}",
      ":12: sources[0].tls.mode: 'on' is not known; use one of: off, passthrough, mirror, require" },
    { 12, "    tls: {mode: mirror, key: @DIR@/password, backend-ca: @DIR@/open}",
      ":12: sources[0].tls: cert is missing; mode mirror and require need it: cert: FILE" },
    { 12, "    tls: {mode: require, cert: @DIR@/open, backend-ca: @DIR@/open}",
      ":12: sources[0].tls: key is missing; mode mirror and require need it: key: FILE" },
    { 12, "    tls: {mode: mirror, cert: @DIR@/open, key: @DIR@/password}",
      ":12: sources[0].tls: backend-ca is missing; mode mirror and require need it: backend-ca: FILE" },
    { 12, "    tls: {mode: mirror, cert: @DIR@/open, key: @DIR@/open, backend-ca: @DIR@/open}",
      ":12: sources[0].tls.key: @DIR@/open has mode 0644, others than its owner have access; run: chmod 600 "
      "@DIR@/open" },
    { 12,
      "    tls: {mode: mirror, cert: @DIR@/open, key: @DIR@/password, backend-ca: @DIR@/open, backend-cert: "
      "@DIR@/open}",
      ":12: sources[0].tls: backend-cert and backend-key go together; add the other one" },
    { 12, "    tls: {mode: passthrough, cert: @DIR@/open}",
      ":12: sources[0].tls.cert: means nothing with mode passthrough; remove it, or use mirror or require" },
    { 12, "    tls: {ca: @DIR@/open}",
      ":12: sources[0].tls.ca: means nothing with mode off; remove it, or use mirror or require" },
    { 12, "    tls: {mode: mirror, cert: @DIR@/none}",
      ":12: sources[0].tls.cert: '@DIR@/none' cannot be read; name a file that exists and is readable" },
    { 12, "    tls: {verify: always}", ":12: sources[0].tls.verify: 'always' is not known; use one of: ca, name" },
#define PROXY(map) 12, "    proxy-protocol: " map
#define NETWORK    ":12: sources[0].proxy-protocol.accept-from: "
    { PROXY("{accept-from: 10.0.0.5/8}"),
      NETWORK "'10.0.0.5/8' has bits behind its prefix; clear them, or write the prefix that is meant" },
    { PROXY("{accept-from: [10.0.0.0/8, lb.example]}"),
      NETWORK "'lb.example' is no network; write one as 10.0.0.0/8 or \"fd00::/8\"" },
    { PROXY("{accept-from: 10.0.0.0/33}"), NETWORK "'10.0.0.0/33' has no such prefix; it is /0 to /32" },
    { PROXY("{accept-from: \"fd00::/129\"}"), NETWORK "'fd00::/129' has no such prefix; it is /0 to /128" },
    { PROXY("{accept-from: \"::ffff:10.0.0.0/104\"}"),
      NETWORK "'::ffff:10.0.0.0/104' is an IPv4 network inside IPv6; write it as IPv4" },
    { PROXY("{accept-from: \"[fd00::]/8\"}"),
      NETWORK "'[fd00::]/8' is no network; write one as 10.0.0.0/8 or \"fd00::/8\"" },
    { PROXY("{accept-from: [::1]}"), /* not quoted */
      ":12: no valid YAML: did not find expected node content while parsing a flow node; an address in brackets must "
      "be quoted: \"[::1]:3306\"" },
    { PROXY("{accept-from: [10.0.0.0/8, {fd00: 8}]}"),
      NETWORK "this is no network; write one as 10.0.0.0/8, and IPv6 in quotes: \"fd00::/8\"" },
    { PROXY("{accept-from: []}"), NETWORK "this is an empty list; name a network or leave the key out" },
    { PROXY("{accept-from: }"), NETWORK "this has no value; give one or leave the key out" },
    { PROXY("{send: v3}"), ":12: sources[0].proxy-protocol.send: 'v3' is not known; use one of: off, v1, v2" },
    { PROXY("{send-own: true}"),
      ":12: sources[0].proxy-protocol.send-own: means nothing with send: off; remove it, or add send: v1 or v2" },
    { PROXY("{from: 10.0.0.0/8}"),
      ":12: sources[0].proxy-protocol.from: unknown key; known here are: accept-from, send, send-own" },
    { PROXY("true"), ":12: sources[0].proxy-protocol: is no map; write KEY: VALUE on lines below it" },
#undef NETWORK
#undef PROXY
    { 12, "    allow-compression: 1", ":12: sources[0].allow-compression: '1' is no boolean; write true or false" },
    { 6, "    account: {user: sluice, password-file: @DIR@/password, tls: {mode: verify-ca}}",
      ":6: sources[0].account.tls.mode: needs a CA to verify against; add ca: FILE" },
    { 6, "    account: {user: sluice, password-file: @DIR@/password, tls: {mode: verify-ca, ca: @DIR@/none}}",
      ":6: sources[0].account.tls.ca: '@DIR@/none' cannot be read; name a file that exists and is readable" },
    { 6, "    account: {user: sluice, password-file: @DIR@/password, tls: {mode: insecure, ca: @DIR@/open}}",
      ":6: sources[0].account.tls.ca: means nothing with mode insecure; remove it, or use verify-ca" },
    { 6, "    account: {user: sluice, password-file: @DIR@/password, tls: {ca: @DIR@/open}}",
      ":6: sources[0].account.tls.mode: is missing; add it: whether the server's certificate is held to the CA, to the "
      "CA and the "
      "name, or to nothing" },

    /* The consumer. */
    { 18, "    consumer: {type: replica}",
      ":18: sources[1].consumer: address is missing; a replica consumer needs its server: address: HOST:PORT" },
    { 18, "    consumer: {type: replica, address: d:1}",
      ":18: sources[1].consumer: account is missing; add account: {user: USER, password-file: FILE}" },
    { 18, "    consumer: {type: manual, address: d:1}",
      ":18: sources[1].consumer.address: only for type replica; remove it" },
    { 18, "    consumer: {type: none, channel: c}",
      ":18: sources[1].consumer.channel: only for type replica; remove it" },
    { 18, "    consumer: {type: replica, address: 10.0.1.1:3306, account: {user: u, password-file: @DIR@/password}}",
      ":18: sources[1].consumer.address: is the backend a; give the address of the downstream server" },
    { 18, "    consumer: {type: replica, address: 127.0.0.1:3401, account: {user: u, password-file: @DIR@/password}}",
      ":18: sources[1].consumer.address: is the source's own listener; give the address of the downstream server" },

    /* What is no YAML, or no map. */
    { 5, "    listen: [::1]:3400",
      ":5: no valid YAML: did not find expected node content while parsing a flow node; an address in brackets must be "
      "quoted: "
      "\"[::1]:3306\"" },
    { 10, "      - {name: b, address: [::1]}",
      ":10: no valid YAML: did not find expected node content while parsing a flow node; an address in brackets must "
      "be quoted: "
      "\"[::1]:3306\"" },
    { 10, "      - {name: b, address: [a]}",
      ":10: sources[0].backends[1].address: this is a list; write one address; IPv6 must be quoted: \"[::1]:3306\"" },
    { 2, "\tstate-dir: x",
      ":2: no valid YAML: found character that cannot start any token while scanning for the next token; see "
      "the indentation and quotes in front of this line" },
    { 19, "---\na: b", ":20: a second YAML document; the file has to be one, remove the line with ---" },
    { 19, "[a]: b", ":19: a key is no plain word; write KEY: VALUE" },
};

static void print_right(struct text *out, size_t line, const char *with)
{
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        text_printf(out, "%s\n", i + 1 == line ? with : right[i]);
}

static void expand(const struct fix_config *f, const char *s, struct text *out)
{
    for (const char *at; (at = strstr(s, "@DIR@")) != NULL; s = at + 5) {
        text_append(out, s, (size_t)(at - s));
        text_puts(out, f->dir);
    }
    text_puts(out, s);
}

/* The file of which each case changes one line is accepted as it is. */
static void test_unchanged_file_is_accepted(void **state)
{
    struct fix_config *f = *state;
    struct text text = TEXT_INIT;
    print_right(&text, 0, "");
    if (fix_config_load(f, text_str(&text)) != 0) fail_msg("%s", f->error);
    text_free(&text);
}

/* Every mistake of the table is refused with exactly its words. */
static void test_each_mistake_is_told_exactly(void **state)
{
    struct fix_config *f = *state;
    int failed = 0;
    fix_config_file(f, "open", "geheim\n", 0644);
    fix_config_file(f, "empty", "", 0600);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct text text = TEXT_INIT, expected = TEXT_INIT;
        print_right(&text, refusals[i].line, refusals[i].with);
        expand(f, refusals[i].error, &expected);
        int rv = fix_config_load(f, text_str(&text));
        if (rv == 0 || strcmp(f->error, text_str(&expected)) != 0) {
            print_error("%s\n  expected %s\n  got      %s\n", refusals[i].with, text_str(&expected),
                        rv == 0 ? "success" : f->error);
            failed++;
        }
        text_free(&text);
        text_free(&expected);
    }
    assert_int_equal(failed, 0);
}

static void expect_file_refused(struct fix_config *f, const char *text, int code, const char *error)
{
    assert_int_equal(fix_config_load(f, text), code);
    assert_string_equal(f->error, error);
}

/* Files that are no configuration at all: empty, a scalar, deep nesting, an alias of itself. */
static void test_files_that_are_none_are_refused(void **state)
{
    struct fix_config *f = *state;
    char *error = NULL;
    expect_file_refused(f, "", SLUICE_ERR_CONFIG, ":1: the file is empty; begin with conf/sluice-minimal.yaml");
    expect_file_refused(f, "# nothing\n", SLUICE_ERR_CONFIG,
                        ":1: the file is empty; begin with conf/sluice-minimal.yaml");
    expect_file_refused(f, "hello\n", SLUICE_ERR_CONFIG, ":1: is no map; write KEY: VALUE on lines below it");
    expect_file_refused(f, "sources: &x [*x]\nadmin: {socket: s}\nstate-dir: d\n", SLUICE_ERR_CONFIG,
                        ":1: sources[0]: is no map; write KEY: VALUE on lines below it");
    assert_int_equal(fix_config_load(f, "\xff\xfe\n"), SLUICE_ERR_CONFIG);
    assert_int_equal(config_load("/nonexistent/sluice.yaml", &f->config, &error), SLUICE_ERR_IO);
    assert_string_equal(error,
                        "/nonexistent/sluice.yaml: No such file or directory; name the configuration file with -c");
    mem_free(error);
    assert_int_equal(config_load("/tmp", &f->config, &error), SLUICE_ERR_IO);
    assert_string_equal(error, "/tmp: Is a directory; see that it can be read");
    mem_free(error);
}

/* Whatever byte of a right file is lost or changed: an error or a configuration, never a crash. */
static void test_damaged_files_never_crash(void **state)
{
    struct fix_config *f = *state;
    struct text text = TEXT_INIT;
    static const char bytes[] = "{[]}:&*!|>'\"%@#-?,\t\n\x01\x80 ";
    print_right(&text, 0, "");
    for (size_t i = 0; i < text.len; i++) {
        char kept = text.data[i];
        text.data[i] = bytes[i % (sizeof bytes - 1)];
        (void)fix_config_load(f, text.data);
        text.data[i] = '\0'; /* cut off here */
        (void)fix_config_load(f, text.data);
        text.data[i] = kept;
    }
    text_free(&text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fix_config_up, fix_config_down)
    const struct CMUnitTest tests[] = {
        TEST(test_unchanged_file_is_accepted),
        TEST(test_each_mistake_is_told_exactly),
        TEST(test_files_that_are_none_are_refused),
        TEST(test_damaged_files_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
