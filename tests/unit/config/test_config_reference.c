/* SPDX-License-Identifier: Apache-2.0 */
/* The table in the code, the full example and the README's reference say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "config/schema.h"
#include "core/mem.h"
#include "core/text.h"
#include "fix_config.h"

struct search {
    const char *full; /* conf/sluice-full.yaml */
    const char *at;   /* where the key before this one was found */
    int count;
};

/* The next line of the file behind |at| that is |note| as a comment; what follows it. */
static const char *find_note(const char *at, const char *note)
{
    size_t len = strlen(note);
    for (; (at = strstr(at, note)) != NULL; at += len)
        if (strncmp(at - 2, "# ", 2) == 0 && at[len] == '\n') return at + len + 1;
    return NULL;
}

static void expect_key(void *arg, const struct schema_leaf *leaf)
{
    struct search *s = arg;
    struct text note = TEXT_INIT, line = TEXT_INIT;
    const char *dot = strrchr(leaf->key, '.');
    schema_print_note(leaf, &note);
    const char *at = find_note(s->at, text_str(&note));
    if (at == NULL) {
        fail_msg("sluice-full.yaml: %s has to stand behind the key before it, under: # %s", leaf->key, text_str(&note));
        return; /* not reached; the analyzer does not know */
    }
    at += strspn(at, " -#");
    text_printf(&line, "%s: ", dot == NULL ? leaf->key : dot + 1);
    if (leaf->row->initial != NULL && leaf->row->initial[0] != '\0') text_printf(&line, "%s\n", leaf->row->initial);
    if (strncmp(at, text_str(&line), line.len) != 0)
        fail_msg("sluice-full.yaml: expected '%s' under: # %s", text_str(&line), text_str(&note));
    s->at = at;
    s->count++;
    text_free(&note);
    text_free(&line);
}

/* Every key of the table stands in the full example, in the table's order, under the table's words, with its default. */
static void test_full_example_equals_table(void **state)
{
    (void)state;
    char *full = fix_config_read(SOURCE_DIR "/conf/sluice-full.yaml");
    struct search search = { .full = full, .at = full };
    assert_int_equal(schema_walk(expect_key, &search), 0);
    assert_true(search.count > 30);
    free(full);
}

static void replace_dir(char *text)
{
    for (char *at; (at = strstr(text, "/etc/sluice")) != NULL;) {
        memcpy(at, "@DIR@", 5);
        memmove(at + 5, at + 11, strlen(at + 11) + 1);
    }
}

/* Both examples are accepted as they are, once the files they name exist. */
static void test_examples_load(void **state)
{
    static const char *const names[] = { "minimal", "full" };
    struct fix_config *f = *state;
    fix_config_file(f, "ca.pem", "certificate\n", 0644);
    fix_config_file(f, "dm-cert.pem", "certificate\n", 0644);
    fix_config_file(f, "dm-key.pem", "key\n", 0600);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[512];
        snprintf(path, sizeof path, SOURCE_DIR "/conf/sluice-%s.yaml", names[i]);
        char *text = fix_config_read(path);
        replace_dir(text);
        if (fix_config_load(f, text) != 0) fail_msg("sluice-%s.yaml%s", names[i], f->error);
        free(text);
    }
}

/* README.md carries the table between its two markers, byte by byte as `sluice check-config --reference` prints it. */
static void test_readme_equals_table(void **state)
{
    static const char begin[] = "<!-- config-reference: sluice check-config --reference -->\n",
                      end[] = "<!-- /config-reference -->";
    (void)state;
    if (access(SOURCE_DIR "/README.md", R_OK) != 0) fail_msg("there is no README.md");
    char *readme = fix_config_read(SOURCE_DIR "/README.md");
    struct text table = TEXT_INIT;
    config_print_reference(&table);
    assert_int_equal(table.status, 0);
    char *at = strstr(readme, begin);
    if (at == NULL) {
        fail_msg("README.md lacks the line %s", begin);
        return; /* not reached; the analyzer does not know */
    }
    at += strlen(begin);
    char *stop = strstr(at, end);
    assert_non_null(stop);
    *stop = '\0';
    assert_string_equal(at, text_str(&table));
    text_free(&table);
    free(readme);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_example_equals_table),
        cmocka_unit_test_setup_teardown(test_examples_load, fix_config_up, fix_config_down),
        cmocka_unit_test(test_readme_equals_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
