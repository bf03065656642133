/* SPDX-License-Identifier: Apache-2.0 */
/* A source's file with another address: two words change, every other byte stays, and what cannot be changed safely is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "config/dm_file.h"
#include "core/attr.h"
#include "core/error.h"
#include "core/mem.h"

static void expect_to(const char *host, unsigned port, const char *before, const char *after)
{
    struct text error = TEXT_INIT;
    char *made = NULL;
    size_t len = 0;
    int rv = dm_file_readdress(before, strlen(before), host, port, &made, &len, &error);
    if (rv != 0) print_message("%s\n", text_str(&error));
    assert_int_equal(rv, 0);
    assert_string_equal(made, after);
    assert_int_equal(len, strlen(after));
    mem_free(made);
    text_free(&error);
}

static void expect(const char *before, const char *after)
{
    expect_to("10.0.0.9", 3400, before, after);
}

static void expect_refused(const char *file, const char *words)
{
    struct text error = TEXT_INIT;
    char *made = NULL;
    size_t len = 0;
    assert_int_equal(dm_file_readdress(file, strlen(file), "10.0.0.9", 3400, &made, &len, &error), SLUICE_ERR_SYNTAX);
    if (strstr(text_str(&error), words) == NULL) print_message("%s\n", text_str(&error));
    assert_non_null(strstr(text_str(&error), words));
    assert_null(strstr(text_str(&error), "geheim"));
    assert_null(made);
    text_free(&error);
}

#define HEAD "source-id: mysql-01\nenable-gtid: true\n"

/* Comments, order, blanks and the end of the file stay, also where a comment has the same words. */
static void test_only_host_and_port_change(void **state)
{
    (void)state;
    expect("# host: 1.2.3.4\n" HEAD "from:\n  host: 1.2.3.4   # host: 1.2.3.4\n  user: dm\n  password: 'geheim'\n"
           "  port: 3306 # 3306\nchecker:\n  host: 1.2.3.4\n  port: 3306",
           "# host: 1.2.3.4\n" HEAD "from:\n  host: 10.0.0.9   # host: 1.2.3.4\n  user: dm\n  password: 'geheim'\n"
           "  port: 3400 # 3306\nchecker:\n  host: 1.2.3.4\n  port: 3306");
    expect("from:\n  port: 3306\n  host: db\n  user: dm\n" HEAD,
           "from:\n  port: 3400\n  host: 10.0.0.9\n  user: dm\n" HEAD);
}

/* Marks count characters: behind characters of two, three and four bytes the places are still right. */
static void test_comments_in_chinese_move_no_byte(void **state)
{
    (void)state;
    expect("# 上游数据库的地址\n" HEAD
           "from: # 旧地址 é 😀\n  # 主机\n  host: 1.2.3.4 # 主机\n  user: dm\n  # 端口\n  port: 3306 # 端口\n",
           "# 上游数据库的地址\n" HEAD
           "from: # 旧地址 é 😀\n  # 主机\n  host: 10.0.0.9 # 主机\n  user: dm\n  # 端口\n  port: 3400 # 端口\n");
    expect(HEAD "名: {值: 'é'}\nfrom: {user: 用户, host: 'x', port: 1}\n",
           HEAD "名: {值: 'é'}\nfrom: {user: 用户, host: '10.0.0.9', port: 3400}\n");
}

static void test_crlf_bom_and_old_line_ends_stay(void **state)
{
    (void)state;
    expect("\xEF\xBB\xBFsource-id: a\r\n# 注\r\nfrom:\r\n  host: b\r\n  port: 1\r\n  user: c\r\n",
           "\xEF\xBB\xBFsource-id: a\r\n# 注\r\nfrom:\r\n  host: 10.0.0.9\r\n  port: 3400\r\n  user: c\r\n");
    expect("source-id: a\rfrom:\r  host: b\r  port: 1\r  user: c\r",
           "source-id: a\rfrom:\r  host: 10.0.0.9\r  port: 3400\r  user: c\r");
    expect("source-id: a\n# \xE2\x80\xA8# x\nfrom:\n  host: b\n  port: 1\n  user: c\n",
           "source-id: a\n# \xE2\x80\xA8# x\nfrom:\n  host: 10.0.0.9\n  port: 3400\n  user: c\n");
}

static void test_quotes_and_flow_style_stay(void **state)
{
    (void)state;
    expect(HEAD "from: {host: 1.2.3.4, port: 3306, user: dm}\n", HEAD "from: {host: 10.0.0.9, port: 3400, user: dm}\n");
    expect("{\"source-id\":\"a\",\"from\":{\"host\":\"b\",\"port\":1,\"user\":\"c\"}}",
           "{\"source-id\":\"a\",\"from\":{\"host\":\"10.0.0.9\",\"port\":3400,\"user\":\"c\"}}");
    expect(HEAD "\"from\":\n  'host': \"b\"\n  port: '1'\n  user: c\n",
           HEAD "\"from\":\n  'host': \"10.0.0.9\"\n  port: '3400'\n  user: c\n");
}

/* What YAML would take for something else than text gets quotes; an address of IPv6 is one of it. */
static void test_hosts_that_need_quotes_get_them(void **state)
{
    (void)state;
    static const char file[] = HEAD "from: {host: b, port: 1, user: c}\n";
    expect_to("::1", 3306, file, HEAD "from: {host: \"::1\", port: 3306, user: c}\n");
    expect_to("on", 3306, file, HEAD "from: {host: \"on\", port: 3306, user: c}\n");
    expect_to("1e3", 3306, file, HEAD "from: {host: \"1e3\", port: 3306, user: c}\n");
    expect_to("db-1.example.org", 65535, file, HEAD "from: {host: db-1.example.org, port: 65535, user: c}\n");
    expect_to("fe80::1", 3306, HEAD "from:\n  host: 'b'\n  port: 1\n  user: c\n",
              HEAD "from:\n  host: 'fe80::1'\n  port: 3306\n  user: c\n");
}

/* Anchors elsewhere do no harm; in the two words, or in what holds them, they cannot be changed alone. */
static void test_anchors_aliases_and_tags_are_refused_where_they_matter(void **state)
{
    (void)state;
    expect(
        "source-id: &id a\nother: *id\nfrom: {host: b, port: 1, user: c, password: &p geheim}\nmore: *p\n",
        "source-id: &id a\nother: *id\nfrom: {host: 10.0.0.9, port: 3400, user: c, password: &p geheim}\nmore: *p\n");
    expect_refused("x: &f {host: b, port: 1, user: c, password: geheim}\n" HEAD "from: *f\n",
                   "line 4: from is to be changed");
    expect_refused(HEAD "from: &f {host: b, port: 1, user: c}\n", "line 3: from is to be changed");
    expect_refused(HEAD "from:\n  host: &h b\n  port: 1\n  user: c\nx: *h\n", "line 4: from.host and from.port");
    expect_refused("x: &h b\n" HEAD "from:\n  host: *h\n  port: 1\n  user: c\n", "line 5: from.host and from.port");
    expect_refused(HEAD "from:\n  host: !!str b\n  port: 1\n  user: c\n", "without anchor, alias or tag");
    expect_refused("x: &f {host: b}\n" HEAD "from:\n  <<: *f\n  port: 1\n  user: c\n", "line 5: from uses a merge key");
}

static void test_what_is_missing_or_twice_is_refused(void **state)
{
    (void)state;
    expect_refused("", "source-id is missing");
    expect_refused("just a word", "source-id is missing");
    expect_refused("- a\n- b\n", "source-id is missing");
    expect_refused(HEAD, "from.host is missing");
    expect_refused(HEAD "from:\n  host: b\n  user: c\n", "from.port (DM knows no default) is missing");
    expect_refused(HEAD "from:\n  host: b\n  port: 1\n", "from.user is missing");
    expect_refused(HEAD "from:\n  host: b\n  host: b\n  port: 1\n  user: c\n", "line 5: the key is there twice");
    expect_refused(HEAD "from: {host: b, port: 1, user: c}\nfrom: {host: b, port: 1, user: c}\n",
                   "line 4: from is there twice");
    expect_refused(HEAD "from: {host: b, port: 1, user: c}\n---\na: b\n", "line 4: a second document");
    expect_refused(HEAD "from:\n  host:\n  port: 1\n  user: c\n", "line 4: from.host");
    expect_refused(HEAD "from:\n  host: [b]\n  port: 1\n  user: c\n", "line 4: from.host");
}

static void test_words_that_are_no_single_line_are_refused(void **state)
{
    (void)state;
    expect_refused(HEAD "from:\n  host: |\n    b\n  port: 1\n  user: c\n", "on one line, plain or in quotes");
    expect_refused(HEAD "from:\n  host: \"b\\x61\"\n  port: 1\n  user: c\n", "without escapes");
    expect_refused(HEAD "from:\n  host: 'b''c'\n  port: 1\n  user: c\n", "without escapes");
    expect_refused(HEAD "from:\n  host: b\n  port: 0x1\n  user: c\n", "line 5: from.port is a number");
    expect_refused(HEAD "from:\n  host: b\n  port: 65536\n  user: c\n", "line 5: from.port is a number");
}

static void test_no_yaml_and_no_utf8_are_refused_with_their_place(void **state)
{
    (void)state;
    expect_refused(HEAD "from:\n  a: 1\n b: geheim\n", "correct the YAML");
    expect_refused(HEAD "x: \xff\n", "not UTF-8");
    static const char utf16[] = "\xFF\xFEs\0o\0";
    struct text error = TEXT_INIT;
    struct dm_source_file file;
    assert_int_equal(dm_file_read_source(utf16, 6, &file, &error), SLUICE_ERR_SYNTAX);
    assert_non_null(strstr(text_str(&error), "save it as UTF-8"));
    text_free(&error);
    char deep[400];
    memset(deep, '[', sizeof deep);
    assert_int_equal(dm_file_read_source(deep, sizeof deep, &file, &error), SLUICE_ERR_SYNTAX);
    text_free(&error);
}

/* Where memory runs out nothing is given, and nothing leaks. */
static void test_memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char file[] = HEAD "from: {host: b, port: 1, user: c}\n";
    struct text error = TEXT_INIT;
    char *made = NULL;
    size_t len = 0;
    int rv = SLUICE_ERR_NOMEM;
    unsigned long n = 0;
    while (rv != 0) {
        mem_fail_at(++n);
        rv = dm_file_readdress(file, strlen(file), "d", 2, &made, &len, &error);
        mem_fail_at(0);
        assert_true(rv == 0 || rv == SLUICE_ERR_NOMEM);
        text_free(&error);
    }
    assert_true(n > 5);
    mem_free(made);
}

static void test_task_file_names_its_sources(void **state)
{
    (void)state;
    static const char file[] = "name: t1\ntask-mode: all\nmysql-instances:\n  - source-id: mysql-01\n    meta: {}\n"
                               "  - {source-id: 'mysql-02'}\nremove-meta: true\n";
    struct text error = TEXT_INIT;
    struct dm_task_file task;
    assert_int_equal(dm_file_read_task(file, strlen(file), &task, &error), 0);
    assert_string_equal(task.name, "t1");
    assert_true(dm_task_file_has(&task, "mysql-01") && dm_task_file_has(&task, "mysql-02"));
    assert_false(dm_task_file_has(&task, "mysql-03"));
    assert_true(task.removes_meta);
    dm_task_file_free(&task);
    assert_int_equal(dm_file_read_task("name: t1\n", 9, &task, &error), SLUICE_ERR_SYNTAX);
    assert_non_null(strstr(text_str(&error), "mysql-instances"));
    text_free(&error);
    assert_int_equal(dm_file_read_task(HEAD, strlen(HEAD), &task, &error), SLUICE_ERR_SYNTAX);
    assert_non_null(strstr(text_str(&error), "name is missing"));
    text_free(&error);
}

/* No secret is left in what may be shown: not under its key, not in a comment, not by way of an anchor. */
static void test_masked_file_shows_no_secret(void **state)
{
    (void)state;
    static const char file[] =
        "# password: geheim\nx: &p geheim\n" HEAD "from:\n  host: b # geheim\n  port: 1\n  user: c\n  password: *p\n"
        "  security: {ssl-ca: /ca, ssl-key-bytes: geheim, ssl-key: /key}\nPasswords: [geheim, {a: geheim}]\nt: \"a "
        "b\\n\"\n";
    struct text error = TEXT_INIT;
    char *shown = NULL;
    assert_int_equal(dm_file_mask(file, strlen(file), &shown, &error), 0);
    assert_null(strstr(shown, "geheim"));
    assert_string_equal(
        shown, "x: \"******\"\nsource-id: mysql-01\nenable-gtid: true\nfrom:\n  host: b\n  port: 1\n  user: c\n"
               "  password: \"******\"\n  security:\n    ssl-ca: /ca\n    ssl-key-bytes: \"******\"\n"
               "    ssl-key: /key\nPasswords:\n  - \"******\"\n  -\n    a: \"******\"\nt: \"a b\\x0a\"\n");
    mem_free(shown);
    text_free(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_host_and_port_change),
        cmocka_unit_test(test_comments_in_chinese_move_no_byte),
        cmocka_unit_test(test_crlf_bom_and_old_line_ends_stay),
        cmocka_unit_test(test_quotes_and_flow_style_stay),
        cmocka_unit_test(test_hosts_that_need_quotes_get_them),
        cmocka_unit_test(test_anchors_aliases_and_tags_are_refused_where_they_matter),
        cmocka_unit_test(test_what_is_missing_or_twice_is_refused),
        cmocka_unit_test(test_words_that_are_no_single_line_are_refused),
        cmocka_unit_test(test_no_yaml_and_no_utf8_are_refused_with_their_place),
        cmocka_unit_test(test_memory_may_run_out_anywhere),
        cmocka_unit_test(test_task_file_names_its_sources),
        cmocka_unit_test(test_masked_file_shows_no_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
