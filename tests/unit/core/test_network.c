/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks: what is read, what is refused and why, who is inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/network.h"

static struct network_address address(const char *text)
{
    struct network_address a;
    assert_int_equal(network_address_parse(text, 3306, &a), 0);
    return a;
}

/* An address is inside as far as the prefix goes, and never in a network of the other family. */
static void test_networks_hold_their_addresses(void **state)
{
    static const struct {
        const char *network, *address;
        bool is_inside;
    } rows[] = {
        { "10.0.0.0/8", "10.255.1.2", true },
        { "10.0.0.0/8", "11.0.0.0", false },
        { "10.1.2.3", "10.1.2.3", true },
        { "10.1.2.3/32", "10.1.2.4", false },
        { "10.1.2.128/25", "10.1.2.129", true },
        { "10.1.2.128/25", "10.1.2.127", false },
        { "192.168.4.0/22", "192.168.7.255", true },
        { "192.168.4.0/22", "192.168.8.0", false },
        { "0.0.0.0/0", "203.0.113.9", true },
        { "0.0.0.0/0", "2001:db8::1", false },
        { "::/0", "2001:db8::1", true },
        { "::/0", "10.0.0.1", false },
        { "fd00::/8", "fdff::1", true },
        { "fd00::/8", "fe00::1", false },
        { "2001:db8::/33", "2001:db8:7fff::1", true },
        { "2001:db8::/33", "2001:db8:8000::1", false },
        { "::1", "::1", true },
        { "10.0.0.0/8", "::ffff:10.0.0.5", true }, /* an IPv4 client of a listener on "::" */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct network network;
        struct network_address a = address(rows[i].address);
        const char *why = NULL;
        assert_int_equal(network_parse(rows[i].network, &network, &why), 0);
        if (network_holds(&network, &a) != rows[i].is_inside) fail_msg("%s, %s", rows[i].network, rows[i].address);
    }
}

/* Who is not known is in no network. */
static void test_nobody_is_in_no_network(void **state)
{
    (void)state;
    struct network network;
    const char *why;
    const struct network_address none = { .family = NETWORK_NONE };
    assert_int_equal(network_parse("0.0.0.0/0", &network, &why), 0);
    assert_false(network_holds(&network, &none));
}

/* What is refused, with the word of the reason that tells it from the others. */
static void test_wrong_networks_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        { "", "is no network" },
        { "/8", "is no network" },
        { "10.0.0/8", "is no network" },
        { "10.0.0.0.0", "is no network" },
        { "010.0.0.0/8", "is no network" },
        { "db1.example", "is no network" },
        { "[fd00::]/8", "is no network" },
        { "fd00::%eth0/8", "is no network" },
        { "10.0.0.0/8 ", "/0 to /32" },
        { "10.0.0.0/33", "/0 to /32" },
        { "10.0.0.0/", "/0 to /32" },
        { "10.0.0.0/-1", "/0 to /32" },
        { "10.0.0.0/08", "/0 to /32" },
        { "10.0.0.0/255.0.0.0", "/0 to /32" },
        { "10.0.0.0/4294967304", "/0 to /32" },
        { "fd00::/129", "/0 to /128" },
        { "10.0.0.5/8", "bits behind" },
        { "10.1.2.192/25", "bits behind" },
        { "0.0.0.1/0", "bits behind" },
        { "fd00::1/64", "bits behind" },
        { "::ffff:10.0.0.0/104", "inside IPv6" },
        { "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8", "is no network" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct network network;
        const char *why = "";
        assert_int_equal(network_parse(rows[i].text, &network, &why), SLUICE_ERR_SYNTAX);
        if (strstr(why, rows[i].why) == NULL) fail_msg("%s: %s", rows[i].text, why);
    }
}

/* Text comes out as servers write it. */
static void test_addresses_are_printed_as_servers_do(void **state)
{
    static const char *const rows[][2] = { { "10.0.0.5", "10.0.0.5" },
                                           { "::FFFF:10.0.0.5", "10.0.0.5" },
                                           { "2001:DB8:0:0:0:0:0:1", "2001:db8::1" } };
    (void)state;
    char text[NETWORK_TEXT_LEN + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct network_address a = address(rows[i][0]);
        network_address_print(&a, text);
        assert_string_equal(text, rows[i][1]);
    }
    network_address_print(&(struct network_address){ .family = NETWORK_NONE }, text);
    assert_string_equal(text, "");
}

/* Only the two addresses that servers refuse to be told. */
static void test_loopback_is_one_address_of_each_family(void **state)
{
    static const struct {
        const char *text;
        bool is_loopback;
    } rows[] = {
        { "127.0.0.1", true }, { "::1", true }, { "::ffff:127.0.0.1", true }, { "127.0.0.2", false }, { "::2", false }
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct network_address a = address(rows[i].text);
        assert_int_equal(network_address_is_loopback(&a), rows[i].is_loopback);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_hold_their_addresses),
        cmocka_unit_test(test_nobody_is_in_no_network),
        cmocka_unit_test(test_wrong_networks_are_refused_with_a_reason),
        cmocka_unit_test(test_addresses_are_printed_as_servers_do),
        cmocka_unit_test(test_loopback_is_one_address_of_each_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
