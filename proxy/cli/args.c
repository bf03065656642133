/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "config/config.h"
#include "core/checks.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "sluice/gtid.h"

static const struct option {
    const char *name;
    char letter;
    const char *value; /* what its value is called; NULL: it takes none */
    const char *help;
} options[ARGS_OPTION_COUNT] = {
    [ARGS_CONFIG] = { "config", 'c', "FILE", "the configuration file" },
    [ARGS_ADMIN] = { "admin", 0, "ADDRESS", "where the daemon is: unix:/PATH or http://HOST:PORT" },
    [ARGS_TOKEN_FILE] = { "token-file", 0, "FILE", "the token for http://, mode 0600" },
    [ARGS_JSON] = { "json", 0, NULL, "one JSON object on stdout at the end, \"result\" and \"msg\" on top" },
    [ARGS_JSON_LINES] = { "json-lines", 0, NULL, "one JSON object a line: every step as it happens, then the end" },
    [ARGS_LOG_FORMAT] = { "log-format", 0, "text|json", "of the log on stderr; default: text" },
    [ARGS_LOG_LEVEL] = { "log-level", 0, "debug|info|warn|error", "the least that is logged; default: info" },
    [ARGS_WAIT_CATCHUP] = { "wait-catchup", 0, "DURATION",
                            "wait so long for the new backend to catch up; default: catchup-timeout; 0 refuses at "
                            "once" },
    [ARGS_OLD_IS_DEAD] = { "old-is-dead", 0, NULL,
                           "you vouch that the old server is down and stays down: it is asked nothing" },
    [ARGS_ACCEPT_LOSS] = { "accept-loss", 0, "GTIDSET|unknown",
                           "you accept that these transactions are not on the new backend" },
    [ARGS_ACCEPT_ERRANT] = { "accept-errant", 0, "GTIDSET|UUID",
                             "you accept these transactions, which only the new backend has; may be repeated" },
    [ARGS_GTID_S] = { "gtid-s", 0, "GTIDSET", "what the paused consumer has; for consumer type manual" },
    [ARGS_WAIVE] = { "waive", 0, "NAME",
                     "let these checks warn where they would fail, by their names; a list, or repeated" },
    [ARGS_TO] = { "to", 0, "HOST:PORT", "the address from which DM is to read" },
    [ARGS_SOURCE_FILE] = { "source-file", 0, "FILE", "the file by which DM has the source now" },
    [ARGS_TASK_FILE] = { "task-file", 0, "FILE", "a task's file; may be repeated, one for each task of the source" },
    [ARGS_DRY_RUN] = { "dry-run", 0, NULL, "print every check, and each call that would be made; do nothing" },
    [ARGS_RESUME] = { "resume", 0, NULL, "go on with one that was left unfinished, with the same files" },
    [ARGS_UNDO] = { "undo", 0, NULL, "with --resume: take it back, to the old address" },
    [ARGS_YES] = { "yes", 'y', NULL,
                   "do not ask before it is begun, or before something is accepted as lost, errant or dead" },
    [ARGS_LIMIT] = { "limit", 0, "N", "show the last N; default: 20, at most 1000" },
    [ARGS_REFERENCE] = { "reference", 0, NULL, "print the table of all keys, as Markdown, and check nothing" },
    [ARGS_HELP] = { "help", 'h', NULL, "this text" },
};

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < verb_count; i++)
        if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
    return NULL;
}

static int fail(const struct args *a, struct text *error, const char *fmt, ...) SLUICE_PRINTF(3, 4);
static int fail(const struct args *a, struct text *error, const char *fmt, ...)
{
    char reason[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    text_printf(error, "%s; see: sluice %s%s--help", reason, a->verb == NULL ? "" : a->verb->name,
                a->verb == NULL ? "" : " ");
    return SLUICE_ERR_INVALID;
}

static int set_log(struct args *a, enum args_option_id id, const char *value, struct text *error)
{
    static const char *const levels[] = {
        [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_ERROR] = "error"
    };
    if (id == ARGS_LOG_FORMAT) {
        bool is_json = strcmp(value, "json") == 0;
        if (!is_json && strcmp(value, "text") != 0)
            return fail(a, error, "--log-format is text or json, not '%s'", value);
        a->log_format = is_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (strcmp(levels[i], value) == 0) {
            a->log_level = (enum log_level)i;
            return 0;
        }
    return fail(a, error, "--log-level is debug, info, warn or error, not '%s'", value);
}

static int set_limit(struct args *a, const char *value, struct text *error)
{
    char *end = NULL;
    unsigned long n = strtoul(value, &end, 10);
    if (value[strspn(value, "0123456789")] != '\0' || n < 1 || n > 1000)
        return fail(a, error, "--limit is a number from 1 to 1000, not '%s'", value);
    a->limit = (uint32_t)n;
    return 0;
}

/* A set that no server would take is told here, with the place, before anybody is asked. */
static int check_set(const struct args *a, const char *option, const char *value, struct text *error)
{
    struct gtid_set *set = NULL;
    struct gtid_parse_error where = { 0 };
    int rv = gtid_set_parse(value, strlen(value), &set, &where);
    gtid_set_del(set);
    if (rv == GTID_ERR_SYNTAX)
        return fail(a, error, "--%s is no GTID set: %s at byte %zu", option, where.reason, where.offset);
    return rv == 0 ? 0 : fail(a, error, "%s", error_text(SLUICE_ERR_NOMEM));
}

static int set_sets(struct args *a, enum args_option_id id, const char *value, struct text *error)
{
    if (id == ARGS_ACCEPT_LOSS) a->accept_loss = value;
    if (id == ARGS_ACCEPT_LOSS && strcmp(value, "unknown") == 0) return 0;
    if (id == ARGS_GTID_S) a->gtid_s = value;
    if (id == ARGS_ACCEPT_ERRANT) {
        if (a->accept_errant_count == ARGS_ERRANT_MAX)
            return fail(a, error, "--accept-errant is given more than %d times", ARGS_ERRANT_MAX);
        a->accept_errant[a->accept_errant_count++] = value;
    }
    return check_set(a, options[id].name, value, error);
}

static int set_waive(struct args *a, const char *value, struct text *error)
{
    struct text why = TEXT_INIT;
    uint32_t waived = 0;
    if (a->waive_count == ARGS_WAIVE_MAX) return fail(a, error, "--waive is given more than %d times", ARGS_WAIVE_MAX);
    a->waive[a->waive_count++] = value;
    int rv = checks_waive_parse(value, &waived, &why);
    if (rv != 0) rv = fail(a, error, "--waive: %s", text_str(&why));
    text_free(&why);
    return rv;
}

static int add_task_file(struct args *a, const char *value, struct text *error)
{
    if (a->task_file_count == ARGS_TASK_FILES_MAX)
        return fail(a, error, "--task-file is given more than %d times", ARGS_TASK_FILES_MAX);
    a->task_files[a->task_file_count++] = value;
    return 0;
}

/* The form is judged here, where it was typed; whether somebody answers there, by the daemon. */
static int set_to(struct args *a, const char *value, struct text *error)
{
    struct config_address address;
    if (config_parse_address(value, &address) != 0)
        return fail(a, error, "--to is HOST:PORT, an IPv6 address in brackets, not '%s'", value);
    mem_free(address.host);
    a->to = value;
    return 0;
}

static int set_option(struct args *a, enum args_option_id id, const char *value, struct text *error)
{
    switch (id) {
    case ARGS_CONFIG: a->config = value; return 0;
    case ARGS_ADMIN: a->admin = value; return 0;
    case ARGS_TOKEN_FILE: a->token_file = value; return 0;
    case ARGS_JSON: a->json = true; return 0;
    case ARGS_JSON_LINES: a->json_lines = true; return 0;
    case ARGS_LOG_FORMAT:
    case ARGS_LOG_LEVEL: return set_log(a, id, value, error);
    case ARGS_WAIT_CATCHUP:
        a->has_wait = true;
        if (config_parse_duration(value, &a->wait_ms) == 0 && a->wait_ms <= 24 * 3600 * 1000) return 0;
        return fail(a, error, "--wait-catchup is a duration up to 24h such as 30s, or 0, not '%s'", value);
    case ARGS_OLD_IS_DEAD: a->old_is_dead = true; return 0;
    case ARGS_ACCEPT_LOSS:
    case ARGS_ACCEPT_ERRANT:
    case ARGS_GTID_S: return set_sets(a, id, value, error);
    case ARGS_WAIVE: return set_waive(a, value, error);
    case ARGS_TO: return set_to(a, value, error);
    case ARGS_SOURCE_FILE: a->source_file = value; return 0;
    case ARGS_TASK_FILE: return add_task_file(a, value, error);
    case ARGS_DRY_RUN: a->dry_run = true; return 0;
    case ARGS_RESUME: a->resume = true; return 0;
    case ARGS_UNDO: a->undo = true; return 0;
    case ARGS_YES: a->yes = true; return 0;
    case ARGS_LIMIT: return set_limit(a, value, error);
    case ARGS_REFERENCE: a->reference = true; return 0;
    case ARGS_HELP: a->help = true; return 0;
    case ARGS_OPTION_COUNT: break;
    }
    return SLUICE_ERR_INVALID;
}

/* "--name", "--name=value", "-x", "-xvalue": the option, and the value where it is attached. */
static int find_option(const char *word, const char **out_value)
{
    bool is_long = word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 1;
    for (int i = 0; i < ARGS_OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        bool is_it = is_long ? strlen(o->name) == len && memcmp(o->name, word + 2, len) == 0 : o->letter == word[1];
        if (!is_it) continue;
        if (is_long)
            *out_value = word[2 + len] == '=' ? word + 2 + len + 1 : NULL;
        else
            *out_value = word[2] == '\0' ? NULL : word + 2;
        return i;
    }
    return -1;
}

/* One option at argv[*i]; its value may be the next word. */
static int parse_option(struct args *a, int argc, char **argv, int *i, struct text *error)
{
    const char *value = NULL;
    int id = find_option(argv[*i], &value);
    if (id < 0) return fail(a, error, "%s is no option", argv[*i]);
    const struct option *o = &options[id];
    if (id != ARGS_HELP && (a->verb->options & (1u << id)) == 0)
        return fail(a, error, "%s takes no --%s", a->verb->name, o->name);
    if (o->value == NULL && value != NULL) return fail(a, error, "--%s takes no value", o->name);
    if (o->value != NULL && value == NULL) {
        if (*i + 1 == argc) return fail(a, error, "--%s needs its %s", o->name, o->value);
        value = argv[++*i];
    }
    return set_option(a, (enum args_option_id)id, value, error);
}

static int parse_words(struct args *a, int argc, char **argv, struct text *error)
{
    bool is_over = false; /* behind "--" all are operands */
    for (int i = 2; i < argc; i++) {
        if (!is_over && strcmp(argv[i], "--") == 0) {
            is_over = true;
        } else if (!is_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            int rv = parse_option(a, argc, argv, &i, error);
            if (rv != 0) return rv;
        } else if (a->operand_count == a->verb->operands_max) {
            return fail(a, error, "'%s' is one word too many", argv[i]);
        } else {
            a->operands[a->operand_count++] = argv[i];
        }
    }
    return 0;
}

int args_parse(int argc, char **argv, struct args *out, struct text *error)
{
    *out = (struct args){ .log_format = LOG_FORMAT_TEXT, .log_level = LOG_LEVEL_INFO };
    for (int i = 1; i < argc; i++) {
        json_t *utf8 = json_string(argv[i]);
        bool is_text = utf8 != NULL;
        json_decref(utf8);
        if (!is_text) return fail(out, error, "argument %d is no UTF-8", i);
    }
    for (int i = 1; i < argc; i++) { /* so that a wrong command line is answered in JSON too */
        if (strcmp(argv[i], "--json") == 0) out->json = true;
        if (strcmp(argv[i], "--json-lines") == 0) out->json_lines = true;
    }
    if (argc < 2) return fail(out, error, "a verb is missing");
    out->verb = verb_find(argv[1]);
    if (out->verb == NULL) return fail(out, error, "'%s' is no verb", argv[1]);
    int rv = parse_words(out, argc, argv, error);
    if (rv != 0 || out->help) return rv;
    if (out->operand_count < out->verb->operands_min)
        return fail(out, error, "%s needs: %s", out->verb->name, out->verb->operands);
    if (out->json && out->json_lines) return fail(out, error, "--json and --json-lines exclude each other");
    return 0;
}

static void print_verb_help(const struct verb *verb, struct text *out)
{
    text_printf(out, "sluice %s%s%s%s - %s\n\n%s\n\noptions:\n", verb->name, verb->operands[0] == '\0' ? "" : " ",
                verb->operands, verb->options != 0 ? " [OPTIONS]" : "", verb->summary, verb->help);
    for (int i = 0; i < ARGS_OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        struct text name = TEXT_INIT;
        if (i != ARGS_HELP && (verb->options & (1u << i)) == 0) continue;
        if (o->letter != 0) text_printf(&name, "-%c, ", o->letter);
        text_printf(&name, "--%s%s%s", o->name, o->value == NULL ? "" : " ", o->value == NULL ? "" : o->value);
        text_printf(out, "  %-32s %s\n", text_str(&name), o->help);
        text_free(&name);
    }
    if ((verb->options & (1u << ARGS_ADMIN)) == 0) return;
    text_puts(out, "\nThe daemon is found by --admin, by -c, or by the environment: SLUICE_ADMIN=unix:/PATH.\n"
                   "Exit codes: 0 done; 1 failed, or undone, or no daemon; 2 usage; 3 refused by a check or the gate;\n"
                   "4 a limit ran out; 5 the state is unknown, a person must look.\n");
}

void args_print_help(const struct verb *verb, struct text *out)
{
    if (verb != NULL) {
        print_verb_help(verb, out);
        return;
    }
    text_puts(
        out, "sluice - a stable address in front of the upstream of TiDB Data Migration\n\nusage: sluice VERB ...\n\n");
    for (size_t i = 0; i < verb_count; i++) {
        struct text name = TEXT_INIT;
        text_printf(&name, "%s %s", verbs[i].name, verbs[i].operands);
        text_printf(out, "  %-26s %s\n", text_str(&name), verbs[i].summary);
        text_free(&name);
    }
    text_puts(out, "\n  --version                  print the version\n"
                   "  VERB --help                what a verb does, its options, its exit codes\n");
}
