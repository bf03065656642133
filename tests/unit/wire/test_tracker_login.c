/* SPDX-License-Identifier: Apache-2.0 */
/* Greeting, handshake response, authentication; and what is no MySQL at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/packet.h"
#include "player.h"

static const uint32_t taken = PACKET_CLIENT_SSL | PACKET_CLIENT_COMPRESS | PACKET_CLIENT_ZSTD_COMPRESSION;
static const uint32_t modern = 0xdfffffff;

static void greet(struct player *p, uint32_t flags)
{
    struct bytes b = greeting_make(flags, 0);
    assert_int_equal(player_each_byte(p, TRACKER_SERVER, 0, b.at, b.len), 0);
    bytes_free(&b);
}

static int respond(struct player *p, uint32_t flags, const char *user)
{
    struct bytes b = response_make(flags, 0, user);
    int rv = player_each_byte(p, TRACKER_CLIENT, 1, b.at, b.len);
    bytes_free(&b);
    return rv;
}

static uint32_t forwarded_flags(const struct player *p)
{
    struct packet_greeting g;
    assert_int_equal(
        packet_parse_greeting(p->forwarded[TRACKER_SERVER].at + 4, p->forwarded[TRACKER_SERVER].len - 4, &g), 0);
    return g.capabilities;
}

/* TLS and both compressions leave the greeting by default; each stays when it is asked for. */
static void test_greeting_loses_what_would_blind_us(void **state)
{
    (void)state;
    static const struct {
        struct tracker_options options;
        uint32_t flags;
    } cases[] = {
        { { 0 },
          0xdfffffff & ~(uint32_t)(PACKET_CLIENT_SSL | PACKET_CLIENT_COMPRESS | PACKET_CLIENT_ZSTD_COMPRESSION) },
        { { .tls = TRACKER_TLS_PASS },
          0xdfffffff & ~(uint32_t)(PACKET_CLIENT_COMPRESS | PACKET_CLIENT_ZSTD_COMPRESSION) },
        { { .keep_compression = true }, 0xdfffffff & ~(uint32_t)PACKET_CLIENT_SSL },
        { { .tls = TRACKER_TLS_PASS, .keep_compression = true }, 0xdfffffff },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct player p;
        player_start(&p, &cases[i].options);
        greet(&p, modern);
        assert_int_equal(forwarded_flags(&p), cases[i].flags);
        player_stop(&p);
    }
}

/* Before its last byte the greeting has not been seen; after it, id and version are known. */
static void test_greeting_tells_thread_and_version(void **state)
{
    (void)state;
    struct player p;
    struct bytes b = greeting_make(modern, 0);
    player_start(&p, NULL);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_GREETING);
    assert_true(tracker_reply_is_owed(p.tracker));
    assert_int_equal(player_feed(&p, TRACKER_SERVER, "\x5b\0\0\0", 4), 0);
    b.at = realloc(b.at, 0x5b);
    memset(b.at + b.len, 'x', 0x5b - b.len);
    assert_int_equal(player_feed(&p, TRACKER_SERVER, b.at, 0x5a), 0);
    assert_false(tracker_greeting_is_seen(p.tracker));
    assert_int_equal(tracker_thread_id(p.tracker), 0);
    assert_string_equal(tracker_server_version(p.tracker), "");
    assert_int_equal(player_feed(&p, TRACKER_SERVER, b.at + 0x5a, 1), 0);
    assert_true(tracker_greeting_is_seen(p.tracker));
    assert_int_equal(tracker_thread_id(p.tracker), 77);
    assert_string_equal(tracker_server_version(p.tracker), "9.7.0-test");
    assert_int_equal(tracker_phase(p.tracker), TRACKER_AUTH);
    assert_false(tracker_is_at_boundary(p.tracker));
    bytes_free(&b);
    player_stop(&p);
}

/* An error in place of the greeting, or of the answer to a login, ends the conversation: nothing can be lost any more. */
static void test_refused_client_is_closed(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    assert_int_equal(player_each_byte(&p, TRACKER_SERVER, 0, BYTES("\xff\x10\x04Too many connections")), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_CLOSED);
    assert_true(tracker_is_at_boundary(p.tracker));
    assert_false(tracker_greeting_is_seen(p.tracker));
    player_stop(&p);

    player_start(&p, NULL);
    greet(&p, modern);
    assert_int_equal(respond(&p, modern & ~taken, "app"), 0);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 2, BYTES("\xff\x15\x04#28000Access denied")), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_CLOSED);
    player_stop(&p);

    /* connect_timeout: the server gives up before the client has said anything */
    player_start(&p, NULL);
    greet(&p, modern);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1, BYTES("\xff\x8f\x04#08S01timeout")), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_CLOSED);
    player_stop(&p);
}

/* Switch, more data, public key, full authentication, a second factor: it is AUTH until the OK. */
static void test_auth_goes_on_until_ok(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    greet(&p, modern);
    assert_int_equal(respond(&p, modern & ~taken, "an_application"), 0);
    assert_string_equal(tracker_user(p.tracker), ""); /* not yet accepted */
    static const struct {
        const char *bytes;
        size_t len;
    } talk[] = { /* server and client in turn */
                 { BYTES("\xfe"
                         "caching_sha2_password\0"
                         "12345678901234567890\0") },
                 { BYTES("12345678901234567890123456789012") },
                 { BYTES("\x01\x04") },
                 { BYTES("\x02") },
                 { BYTES("\x01-----BEGIN PUBLIC KEY-----") },
                 { BYTES("\x01\x01\x01") }, /* begins like COM_QUIT, and is none */
                 { BYTES("\x02"
                         "other_plugin\0"
                         "data\0") },
                 { BYTES("\x0e") },
                 { BYTES("\x01\x03") }
    };
    for (size_t i = 0; i < ARRAY_LEN(talk); i++) {
        enum tracker_side from = i % 2 == 0 ? TRACKER_SERVER : TRACKER_CLIENT;
        assert_int_equal(player_each_byte(&p, from, (uint8_t)(2 + i), talk[i].bytes, talk[i].len), 0);
        assert_int_equal(tracker_phase(p.tracker), TRACKER_AUTH);
    }
    assert_false(tracker_has_quit(p.tracker));
    assert_int_equal(player_each_byte(&p, TRACKER_SERVER, 11, BYTES("\0\0\0\2\0\0\0")), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_COMMAND);
    assert_true(tracker_is_at_boundary(p.tracker));
    assert_string_equal(tracker_user(p.tracker), "an_application");
    player_stop(&p);
}

/* A user name that is longer than any that a server has is cut, and does no harm. */
static void test_long_user_name_is_cut(void **state)
{
    (void)state;
    struct player p;
    char user[2000];
    memset(user, 'u', sizeof user);
    user[sizeof user - 1] = '\0';
    player_start(&p, NULL);
    greet(&p, modern);
    assert_int_equal(respond(&p, modern & ~taken, user), 0);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 2, BYTES("\0\0\0\2\0\0\0")), 0);
    assert_int_equal(strlen(tracker_user(p.tracker)), TRACKER_USER_LEN_MAX);
    player_stop(&p);
}

/* With TLS passed through, an SSLRequest makes the session opaque, and what follows is forwarded unread. */
static void test_tls_passthrough_is_opaque(void **state)
{
    (void)state;
    struct player p;
    struct tracker_options options = { .tls = TRACKER_TLS_PASS };
    player_start(&p, &options);
    greet(&p, modern);
    struct bytes b = response_make(modern, 0, "");
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 1, b.at, 32), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_OPAQUE);
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_TLS);
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "\x16\x03\x01 anything", 12), 0);
    assert_int_equal(player_feed(&p, TRACKER_SERVER, "\x16\x03\x03 anything", 12), 0);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, 36 + 12);
    assert_true(tracker_reply_is_owed(p.tracker));
    assert_false(tracker_is_at_boundary(p.tracker));
    assert_int_equal(tracker_thread_id(p.tracker), 77);
    bytes_free(&b);
    player_stop(&p);
}

/* With TLS ended here, feeding stops right behind an SSLRequest; what TLS then carries goes on with the next number. */
static void test_tls_stops_behind_the_request(void **state)
{
    (void)state;
    struct player p;
    struct tracker_options options = { .tls = TRACKER_TLS_STOP, .require_tls = true };
    player_start(&p, &options);
    greet(&p, modern);
    assert_true((forwarded_flags(&p) & PACKET_CLIENT_SSL) != 0);
    struct bytes b = response_make((modern & ~taken) | PACKET_CLIENT_SSL, 0, "app"), request = { 0 };
    static const uint8_t header[] = { 32, 0, 0, 1 };
    bytes_add(&request, header, sizeof header);
    bytes_add(&request, b.at, 32);
    bytes_add(&request, "\x16\x03\x01", 3); /* the client does not wait for an answer */
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, request.at, request.len), 0);
    assert_true(tracker_tls_is_due(p.tracker));
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, 36);
    assert_int_equal(p.waiting[TRACKER_CLIENT].len, 3);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_AUTH);
    p.waiting[TRACKER_CLIENT].len = 0; /* the TLS layer has it */
    tracker_tls_begun(p.tracker);
    assert_false(tracker_tls_is_due(p.tracker));
    assert_int_equal(player_each_byte(&p, TRACKER_CLIENT, 2, b.at, b.len), 0);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 3, BYTES("\0\0\0\2\0\0\0")), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_COMMAND);
    assert_string_equal(tracker_user(p.tracker), "app");
    bytes_free(&b);
    bytes_free(&request);
    player_stop(&p);
}

/* Where TLS is ended here a server that speaks before its client is an error: unseen, the request for TLS would pass it by. */
static void test_server_that_speaks_in_front_of_tls(void **state)
{
    (void)state;
    struct player p;
    struct tracker_options options = { .tls = TRACKER_TLS_STOP };
    player_start(&p, &options);
    greet(&p, modern);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1, BYTES("\0\0\0\2\0\0\0")), SLUICE_ERR_PROTOCOL);
    player_stop(&p);
    player_start(&p, NULL);
    greet(&p, modern);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1, BYTES("\0\0\0\2\0\0\0")), 0);
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_LOST);
    player_stop(&p);
}

/* An SSLRequest is 32 bytes; one that carries more, or that the server did not offer, is none. */
static void test_tls_request_that_is_none(void **state)
{
    (void)state;
    struct player p;
    struct tracker_options options = { .tls = TRACKER_TLS_STOP };
    struct bytes b = response_make(modern, 0, "app");
    player_start(&p, &options);
    greet(&p, modern);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 1, b.at, b.len), SLUICE_ERR_PROTOCOL);
    player_stop(&p);
    player_start(&p, &options);
    greet(&p, modern & ~(uint32_t)PACKET_CLIENT_SSL);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 1, b.at, 32), SLUICE_ERR_PROTOCOL);
    player_stop(&p);
    bytes_free(&b);
}

/* A client that logs in without TLS where it is required is told so, in the packet that answers its response. */
static void test_plain_login_where_tls_is_required(void **state)
{
    (void)state;
    struct player p;
    struct tracker_options options = { .tls = TRACKER_TLS_STOP, .require_tls = true };
    uint8_t seq;
    bool wants_sqlstate;
    player_start(&p, &options);
    greet(&p, modern);
    assert_int_equal(respond(&p, modern & ~(uint32_t)PACKET_CLIENT_SSL, "app"), SLUICE_ERR_TLS_REQUIRED);
    assert_true(tracker_can_inject(p.tracker, &seq, &wants_sqlstate));
    assert_int_equal(seq, 2);
    assert_true(wants_sqlstate);
    player_stop(&p);
    player_start(&p, &options);
    greet(&p, modern);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 1, BYTES("\x85\x00\x00\x00\x01user\0password")),
                     SLUICE_ERR_TLS_REQUIRED);
    player_stop(&p);
}

/* A client that asks for TLS which it was not offered is refused: the server would go along, and we would be blind. */
static void test_tls_that_was_not_offered_is_refused(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    greet(&p, modern);
    struct bytes b = response_make(modern, 0, "");
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 1, b.at, 32), SLUICE_ERR_PROTOCOL);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, 0);
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "x", 1), SLUICE_ERR_PROTOCOL); /* it is over */
    bytes_free(&b);
    player_stop(&p);
}

/* With compression let through, the session is opaque from the OK on; so it is for a client that compresses unasked. */
static void test_compression_is_opaque_after_ok(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct player p;
        struct tracker_options options = { .keep_compression = keep != 0 };
        player_start(&p, &options);
        greet(&p, modern);
        assert_int_equal(respond(&p, modern & ~(uint32_t)PACKET_CLIENT_SSL, "app"), 0);
        assert_int_equal(tracker_phase(p.tracker), TRACKER_AUTH);
        assert_int_equal(player_packet(&p, TRACKER_SERVER, 2, BYTES("\0\0\0\2\0\0\0")), 0);
        assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_COMPRESSION);
        assert_string_equal(tracker_user(p.tracker), "app");
        player_stop(&p);
    }
}

/* A client older than protocol 4.1 is let through, and not followed. */
static void test_old_client_is_opaque(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    greet(&p, modern);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 1, BYTES("\x85\x00\x00\x00\x01user\0password")), 0);
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_OLD_CLIENT);
    player_stop(&p);
}

/* What a stranger says to the port, before and after the greeting. */
static void test_garbage_from_a_client_is_refused(void **state)
{
    (void)state;
    static const char *const garbage[] = { "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                           "SSH-2.0-x\r\n", "\xff\xff\xff\x01xxxxxx" };
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        struct player p;
        player_start(&p, NULL);
        assert_int_equal(player_feed(&p, TRACKER_CLIENT, garbage[i], strlen(garbage[i])), SLUICE_ERR_PROTOCOL);
        player_stop(&p);
        player_start(&p, NULL);
        greet(&p, modern);
        assert_int_equal(player_feed(&p, TRACKER_CLIENT, garbage[i], 10), SLUICE_ERR_PROTOCOL);
        assert_int_equal(p.forwarded[TRACKER_CLIENT].len, 0);
        player_stop(&p);
    }
}

/* A server that is none: other protocol, no end of its version, nothing in the packet, another sequence number. */
static void test_garbage_from_a_server_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } garbage[] = {
        { BYTES("SSH-2.0-OpenSSH_9.2\r\n") },
        { BYTES("\x00\x00\x00\x00") },
        { BYTES("\x01\x00\x00\x00\x0a") },
        { BYTES("\x05\x00\x00\x00\x09"
                "3.23") },
        { BYTES("\x08\x00\x00\x00\x0a"
                "9.7.0\0\x01") },
        { BYTES("\x08\x00\x00\x01\x0a"
                "9.7.0\0\x01") },
        { BYTES("\xff\xff\x00\x00\x0a"
                "9.7.0\0\x01") },
    };
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        struct player p;
        player_start(&p, NULL);
        assert_int_equal(player_feed(&p, TRACKER_SERVER, garbage[i].bytes, garbage[i].len), SLUICE_ERR_PROTOCOL);
        assert_int_equal(p.forwarded[TRACKER_SERVER].len, 0);
        uint8_t seq = 99; /* the client has got nothing, and can be told */
        assert_true(tracker_can_inject(p.tracker, &seq, NULL));
        assert_int_equal(seq, 0);
        player_stop(&p);
    }
}

/* Where an error of our own may be put, with which number and form. */
static void test_an_error_may_be_injected_between_packets(void **state)
{
    (void)state;
    struct player p;
    uint8_t seq = 99;
    bool wants_sqlstate = true;
    player_start(&p, NULL);
    assert_true(tracker_can_inject(p.tracker, &seq, &wants_sqlstate));
    assert_int_equal(seq, 0);
    assert_false(wants_sqlstate);
    assert_int_equal(player_feed(&p, TRACKER_SERVER, "\x50\0", 2), 0);
    assert_false(tracker_can_inject(p.tracker, NULL, NULL)); /* half a header of the greeting is out */
    player_stop(&p);

    player_start(&p, NULL);
    greet(&p, modern);
    assert_true(tracker_can_inject(p.tracker, &seq, &wants_sqlstate));
    assert_int_equal(seq, 1);
    assert_false(wants_sqlstate);
    assert_int_equal(respond(&p, modern & ~taken, "app"), 0);
    assert_true(tracker_can_inject(p.tracker, &seq, &wants_sqlstate));
    assert_int_equal(seq, 2);
    assert_true(wants_sqlstate);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 2, BYTES("\0\0\0\2\0\0\0")), 0);
    assert_true(tracker_can_inject(p.tracker, &seq, NULL));
    assert_int_equal(seq, 1); /* as the answer to the next command */
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 0, BYTES("\x03SELECT 1")), 0);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1, BYTES("\x01")), 0);
    assert_true(tracker_can_inject(p.tracker, &seq, NULL));
    assert_int_equal(seq, 2); /* amid the result */
    player_stop(&p);
}

/* Memory that runs out is an error, not a crash. */
static void test_new_without_memory(void **state)
{
    (void)state;
    mem_fail_at(1);
    assert_null(tracker_new(NULL));
    mem_fail_at(0);
    tracker_del(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting_loses_what_would_blind_us),
        cmocka_unit_test(test_greeting_tells_thread_and_version),
        cmocka_unit_test(test_refused_client_is_closed),
        cmocka_unit_test(test_auth_goes_on_until_ok),
        cmocka_unit_test(test_long_user_name_is_cut),
        cmocka_unit_test(test_tls_passthrough_is_opaque),
        cmocka_unit_test(test_tls_that_was_not_offered_is_refused),
        cmocka_unit_test(test_tls_stops_behind_the_request),
        cmocka_unit_test(test_tls_request_that_is_none),
        cmocka_unit_test(test_server_that_speaks_in_front_of_tls),
        cmocka_unit_test(test_plain_login_where_tls_is_required),
        cmocka_unit_test(test_compression_is_opaque_after_ok),
        cmocka_unit_test(test_old_client_is_opaque),
        cmocka_unit_test(test_garbage_from_a_client_is_refused),
        cmocka_unit_test(test_garbage_from_a_server_is_refused),
        cmocka_unit_test(test_an_error_may_be_injected_between_packets),
        cmocka_unit_test(test_new_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
