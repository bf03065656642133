/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/gtid_command.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include "core/attr.h"
#include "core/text.h"
#include "sluice/gtid.h"

enum { EXIT_YES = 0, EXIT_NO = 1, EXIT_FAILED = 1, EXIT_WRONG = 2 };
enum { STDIN_BYTES_MAX = 1 << 30 };

static const char usage[] =
    "usage: sluice gtid normalize A | count A | union A B | subtract A B | intersect A B | contains A B  [--json]\n"
    "  A and B are GTID sets; - reads one from standard input. contains: does A hold all of B? yes and 0, or no and "
    "1.\n";

struct request {
    const struct command *command;
    const char *words[3]; /* the command, A, B */
    size_t word_count;
    bool is_json;
    bool wants_help;
    FILE *out;
    FILE *err;
    struct gtid_set *sets[2];
};

typedef int command_fn(struct request *r);

struct command {
    const char *name;
    size_t set_count;
    command_fn *run;
};

/* ---- answers ---- */

/* Ends an answer: what could not be written is a failure, whatever was found. */
static int written(struct request *r, int code)
{
    if (fflush(r->out) == 0 && !ferror(r->out)) return code;
    fprintf(r->err, "sluice gtid: the answer could not be written: %s\n", strerror(errno));
    return EXIT_FAILED;
}

/* Prints one object and ends it; NULL: it could not be made. */
static int answer_json(struct request *r, int code, json_t *doc)
{
    bool is_made = doc != NULL && json_dumpf(doc, r->out, JSON_COMPACT) == 0;
    json_decref(doc);
    if (is_made) fputc('\n', r->out);
    int rv = written(r, code);
    if (is_made || rv != code) return rv;
    fputs("sluice gtid: memory ran out\n", r->err);
    return EXIT_FAILED;
}

SLUICE_PRINTF(3, 4) static int fail(struct request *r, int code, const char *fmt, ...)
{
    char msg[512]; /* words of the command line are cut to 100 bytes in |fmt| */
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    for (char *p = msg; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            *p = '?'; /* neither a terminal nor JSON takes any byte */
    if (r->is_json) return answer_json(r, code, json_pack("{s:b, s:s}", "result", 0, "msg", msg));
    fprintf(r->err, "sluice gtid: %s\n", msg);
    return code;
}

static int fail_memory(struct request *r)
{
    return fail(r, EXIT_FAILED, "memory ran out");
}

static int answer_set(struct request *r, const struct gtid_set *set)
{
    char *printed = gtid_set_print(set, GTID_SEPARATOR_COMMA, NULL);
    if (printed == NULL) return fail_memory(r);
    int code = EXIT_YES;
    if (r->is_json) {
        code = answer_json(r, EXIT_YES, json_pack("{s:b, s:s, s:s}", "result", 1, "msg", "", "set", printed));
    } else {
        fprintf(r->out, "%s\n", printed);
        code = written(r, EXIT_YES);
    }
    gtid_free(printed);
    return code;
}

/* ---- commands ---- */

static int run_normalize(struct request *r)
{
    return answer_set(r, r->sets[0]);
}

static int answer_combined(struct request *r, int rv, struct gtid_set *combined)
{
    if (rv != 0) return fail_memory(r);
    int code = answer_set(r, combined);
    gtid_set_del(combined);
    return code;
}

static int run_union(struct request *r)
{
    struct gtid_set *set = NULL;
    int rv = gtid_set_union(r->sets[0], r->sets[1], &set);
    return answer_combined(r, rv, set);
}

static int run_subtract(struct request *r)
{
    struct gtid_set *set = NULL;
    int rv = gtid_set_subtract(r->sets[0], r->sets[1], &set);
    return answer_combined(r, rv, set);
}

static int run_intersect(struct request *r)
{
    struct gtid_set *set = NULL;
    int rv = gtid_set_intersect(r->sets[0], r->sets[1], &set);
    return answer_combined(r, rv, set);
}

static int run_count(struct request *r)
{
    uint64_t count = gtid_set_count(r->sets[0]);
    if (!r->is_json) {
        fprintf(r->out, "%" PRIu64 "\n", count);
        return written(r, EXIT_YES);
    }
    json_t *number = count <= INT64_MAX ? json_integer((json_int_t)count) : json_real((double)count);
    return answer_json(r, EXIT_YES, json_pack("{s:b, s:s, s:o}", "result", 1, "msg", "", "count", number));
}

static int answer_contains_json(struct request *r, bool does)
{
    struct gtid_set *missing = NULL;
    char *printed = NULL;
    if (gtid_set_subtract(r->sets[1], r->sets[0], &missing) == 0)
        printed = gtid_set_print(missing, GTID_SEPARATOR_COMMA, NULL);
    int code = EXIT_FAILED;
    if (printed == NULL)
        code = fail_memory(r);
    else
        code = answer_json(
            r, does ? EXIT_YES : EXIT_NO,
            json_pack("{s:b, s:s, s:b, s:s}", "result", 1, "msg", "", "contains", does, "missing", printed));
    gtid_free(printed);
    gtid_set_del(missing);
    return code;
}

static int run_contains(struct request *r)
{
    bool does = gtid_set_contains(r->sets[0], r->sets[1]);
    if (r->is_json) return answer_contains_json(r, does);
    fprintf(r->out, "%s\n", does ? "yes" : "no");
    return written(r, does ? EXIT_YES : EXIT_NO);
}

static const struct command commands[] = {
    { "normalize", 1, run_normalize }, { "count", 1, run_count },         { "union", 2, run_union },
    { "subtract", 2, run_subtract },   { "intersect", 2, run_intersect }, { "contains", 2, run_contains },
};

/* ---- the words ---- */

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static bool is_stdin(const char *word)
{
    return strcmp(word, "-") == 0;
}

static int read_words(struct request *r, int argc, char **argv)
{
    const char *extra = NULL, *unknown = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            r->is_json = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            r->wants_help = true;
        else if (argv[i][0] == '-' && !is_stdin(argv[i]))
            unknown = argv[i];
        else if (r->word_count < ARRAY_LEN(r->words))
            r->words[r->word_count++] = argv[i];
        else
            extra = argv[i];
    }
    if (r->wants_help) return 0;
    if (unknown != NULL) return fail(r, EXIT_WRONG, "unknown option '%.100s'; see: sluice gtid --help", unknown);
    if (r->word_count == 0) return fail(r, EXIT_WRONG, "a command is missing; see: sluice gtid --help");
    r->command = find_command(r->words[0]);
    if (r->command == NULL)
        return fail(r, EXIT_WRONG, "unknown command '%.100s'; see: sluice gtid --help", r->words[0]);
    if (extra != NULL || r->word_count != 1 + r->command->set_count)
        return fail(r, EXIT_WRONG, "%s takes %s; see: sluice gtid --help", r->command->name,
                    r->command->set_count == 1 ? "one set" : "two sets");
    if (r->command->set_count == 2 && is_stdin(r->words[1]) && is_stdin(r->words[2]))
        return fail(r, EXIT_WRONG, "only one of the two sets can come from standard input");
    return 0;
}

static int read_stdin(struct request *r, struct text *t)
{
    char piece[65536];
    size_t n = 0;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0 && t->len < STDIN_BYTES_MAX)
        text_append(t, piece, n);
    if (n > 0) return fail(r, EXIT_WRONG, "standard input is longer than 1 GiB");
    if (ferror(stdin)) return fail(r, EXIT_FAILED, "standard input cannot be read: %s", strerror(errno));
    return t->status == 0 ? 0 : fail_memory(r);
}

static int read_set(struct request *r, size_t index)
{
    const char *word = r->words[1 + index];
    struct text input = TEXT_INIT;
    struct gtid_parse_error error = { 0, "" };
    int code = 0;
    if (is_stdin(word))
        code = read_stdin(r, &input);
    else
        text_puts(&input, word);
    if (code == 0) {
        int rv =
            input.status == 0 ? gtid_set_parse(text_str(&input), input.len, &r->sets[index], &error) : GTID_ERR_NOMEM;
        if (rv == GTID_ERR_SYNTAX)
            code = fail(r, EXIT_WRONG, "%c is no GTID set: at byte %zu: %s", "AB"[index], error.offset, error.reason);
        else if (rv != 0)
            code = fail_memory(r);
    }
    text_free(&input);
    return code;
}

int gtid_command(int argc, char **argv, FILE *out, FILE *err)
{
    assert(argc >= 1);
    struct request r = { .out = out, .err = err };
    int code = read_words(&r, argc, argv);
    if (code == 0 && r.wants_help) {
        fputs(usage, out);
        return written(&r, EXIT_YES);
    }
    for (size_t i = 0; code == 0 && i < r.command->set_count; i++)
        code = read_set(&r, i);
    if (code == 0) code = r.command->run(&r);
    gtid_set_del(r.sets[0]);
    gtid_set_del(r.sets[1]);
    return code;
}
