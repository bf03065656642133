/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gtid_lines.c - the library on standard input and output, for test_gtid_property.py.
 *
 * A line is an operation and its operands in hexadecimal digits; the answer is a line too: "ok" and text in hexadecimal digits, or
 * "no", the byte offset and the reason.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sluice/gtid.h"

enum { WORDS_MAX = 3 };

static void die(const char *why)
{
    fprintf(stderr, "gtid_lines: %s\n", why);
    exit(2);
}

/* Turns digits into bytes in place; returns their number. */
static size_t from_hex(char *digits)
{
    size_t len = strlen(digits) / 2;
    for (size_t i = 0; i < len; i++) {
        char pair[3] = { digits[2 * i], digits[2 * i + 1], '\0' };
        digits[i] = (char)strtoul(pair, NULL, 16);
    }
    return len;
}

static void answer(const void *bytes, size_t len)
{
    fputs("ok ", stdout);
    for (size_t i = 0; i < len; i++)
        printf("%02x", ((const unsigned char *)bytes)[i]);
    putchar('\n');
}

static void answer_set(struct gtid_set *set)
{
    size_t len = 0;
    char *text = gtid_set_print(set, GTID_SEPARATOR_COMMA_NEWLINE, &len);
    if (text == NULL) die("memory ran out");
    answer(text, len);
    gtid_free(text);
    gtid_set_del(set);
}

static void answer_bytes(const struct gtid_set *set, enum gtid_encoding encoding)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (gtid_set_encode(set, encoding, &bytes, &len) != 0) die("memory ran out");
    answer(bytes, len);
    gtid_free(bytes);
}

static bool is(const char *word, const char *name)
{
    return strcmp(word, name) == 0;
}

static void perform(const char *operation, const struct gtid_set *a, const struct gtid_set *b)
{
    struct gtid_set *out = NULL;
    int rv = 0;
    if (is(operation, "encode") || is(operation, "encode_tagged")) {
        answer_bytes(a, is(operation, "encode") ? GTID_ENCODING_AUTO : GTID_ENCODING_TAGGED);
        return;
    }
    if (is(operation, "normalize")) {
        out = gtid_set_copy(a);
        if (out == NULL) die("memory ran out");
        answer_set(out);
        return;
    }
    if (b == NULL) die("an operand is missing");
    if (is(operation, "contains")) {
        answer(gtid_set_contains(a, b) ? "1" : "0", 1);
        return;
    }
    if (is(operation, "union"))
        rv = gtid_set_union(a, b, &out);
    else if (is(operation, "subtract"))
        rv = gtid_set_subtract(a, b, &out);
    else if (is(operation, "intersect"))
        rv = gtid_set_intersect(a, b, &out);
    else
        die("unknown operation");
    if (rv != 0) die("memory ran out");
    answer_set(out);
}

static int read_operand(const char *operation, char *digits, struct gtid_set **out_set, struct gtid_parse_error *error)
{
    size_t len = from_hex(digits);
    if (is(operation, "decode")) return gtid_set_decode((const uint8_t *)digits, len, out_set, NULL, error);
    if (is(operation, "owned")) return gtid_set_parse_owned(digits, len, out_set, error);
    return gtid_set_parse(digits, len, out_set, error);
}

static void handle(char *line)
{
    char *words[WORDS_MAX] = { NULL }, empty[] = "";
    struct gtid_set *sets[2] = { NULL, NULL };
    struct gtid_parse_error error = { 0, "" };
    size_t count = 0;
    for (char *word = line; count < WORDS_MAX && (words[count] = strsep(&word, " ")) != NULL;)
        count++;
    if (count == 1) words[count++] = empty;
    int rv = 0;
    for (size_t i = 1; rv == 0 && i < count; i++)
        rv = read_operand(words[0], words[i], &sets[i - 1], &error);
    if (rv == GTID_ERR_SYNTAX)
        printf("no %zu %s\n", error.offset, error.reason);
    else if (rv != 0)
        die("memory ran out");
    else if (is(words[0], "decode") || is(words[0], "owned"))
        perform("normalize", sets[0], NULL);
    else
        perform(words[0], sets[0], sets[1]);
    gtid_set_del(sets[0]);
    gtid_set_del(sets[1]);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len = 0;
    while ((len = getline(&line, &room, stdin)) > 0) {
        if (line[len - 1] == '\n') line[len - 1] = '\0';
        handle(line);
    }
    free(line);
    return 0;
}
