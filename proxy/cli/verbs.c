/* SPDX-License-Identifier: Apache-2.0 */
/* verbs.c - the table of all verbs. */
#include "cli/args.h"
#include "cli/commands.h"

#define BIT(id) (1u << (id))

enum {
    OF_CLIENT = BIT(ARGS_CONFIG) | BIT(ARGS_ADMIN) | BIT(ARGS_TOKEN_FILE) | BIT(ARGS_JSON),
    OF_ACCEPTING = BIT(ARGS_WAIT_CATCHUP) | BIT(ARGS_OLD_IS_DEAD) | BIT(ARGS_ACCEPT_LOSS) | BIT(ARGS_ACCEPT_ERRANT) |
                   BIT(ARGS_GTID_S) | BIT(ARGS_WAIVE),
};

const struct verb verbs[] = {
    { "serve", "-c FILE", 0, 0, BIT(ARGS_CONFIG) | BIT(ARGS_LOG_FORMAT) | BIT(ARGS_LOG_LEVEL),
      "run the proxy in the foreground",
      "Listens for every source of FILE and serves until SIGTERM or SIGINT. The first signal undoes a switch that has\n"
      "not flipped, lets sessions end for stop-timeout and exits 0; a second one exits at once.\n"
      "Logs go to stderr, one line an event.",
      command_serve },
    { "status", "[SOURCE]", 0, 1, OF_CLIENT, "show sources, backends, consumers and switches",
      "Shows one source, or all. Changes nothing.", command_status },
    { "check", "SOURCE BACKEND", 2, 2, OF_CLIENT | OF_ACCEPTING, "dry run of a switch: every precondition on a line",
      "Judges every precondition of a switch of SOURCE to BACKEND, with the figures found and what to do.\n"
      "Pauses nobody, holds nobody, changes nothing. Exits 0 when a switch would begin, 3 when it would be refused.",
      command_check },
    { "switch", "SOURCE BACKEND", 2, 2, OF_CLIENT | OF_ACCEPTING | BIT(ARGS_JSON_LINES) | BIT(ARGS_YES),
      "make BACKEND the active one",
      "Pauses the consumer, holds new clients, lets old sessions end, proves by GTID that nothing is lost, flips,\n"
      "releases, resumes. New clients wait at most hold-timeout; sessions that are busy longer than drain-timeout are\n"
      "killed. A failure before the flip undoes everything; after the flip nothing goes back by itself.\n"
      "Prints each step as it happens. Ctrl-C detaches, the switch goes on; `sluice abort SOURCE` ends it.\n"
      "Do not use it while somebody else (DM, an operator) is starting or stopping the consumer.",
      command_switch },
    { "readdress", "SOURCE", 1, 1,
      OF_CLIENT | BIT(ARGS_JSON_LINES) | BIT(ARGS_TO) | BIT(ARGS_SOURCE_FILE) | BIT(ARGS_TASK_FILE) |
          BIT(ARGS_DRY_RUN) | BIT(ARGS_RESUME) | BIT(ARGS_UNDO) | BIT(ARGS_WAIT_CATCHUP) | BIT(ARGS_ACCEPT_LOSS) |
          BIT(ARGS_ACCEPT_ERRANT) | BIT(ARGS_YES),
      "change the address from which DM reads",
      "For a source whose consumer is DM: onto Sluice for the first time, from it, or between any two addresses.\n"
      "DM masks passwords in what it gives out, so your own files are needed: the source's with --source-file, and "
      "one\n"
      "--task-file for each task of the source. In the source's file from.host and from.port alone are rewritten; the\n"
      "new file is written beside the old one, as NAME.HOST-PORT.yaml, and never over another.\n"
      "Pauses and stops the tasks of this source (what they do on other sources goes on), its relay and the source,\n"
      "sees that no connection of DM's account is left on the old server, proves by GTID that the new one has all "
      "that\n"
      "was delivered, and starts everything there as it was. Until all tasks run at the new address a failure, or\n"
      "`sluice abort SOURCE`, leads back. After a crash `sluice status` says how to go on: the same with --resume, or\n"
      "with --resume --undo to take it back.\n"
      "A task that was paused is started and paused again; one that has finished is not started again.\n"
      "Do not use it for what a switch does: DM reads nothing between stop and start.",
      command_readdress },
    { "abort", "SOURCE", 1, 1, OF_CLIENT, "undo the switch in progress",
      "Before the flip everything is undone; after it, only the wait for the consumer ends. Exits 1 when nothing can "
      "be\n"
      "aborted.",
      command_abort },
    { "hold", "SOURCE", 1, 1, OF_CLIENT, "keep new clients waiting",
      "New clients are accepted and wait, without a byte sent to them; each reads an error after hold-timeout. "
      "Sessions\n"
      "that are routed already go on. Lasts, also over a restart, until `sluice release SOURCE`.",
      command_hold },
    { "release", "SOURCE", 1, 1, OF_CLIENT, "end a hold",
      "Routes those who wait, and all who come, to the active backend.", command_release },
    { "adopt", "SOURCE BACKEND", 2, 2, OF_CLIENT, "declare which backend is active, where no record says it",
      "For a source that is held because state-dir has no record of it, or because a backend was latched as rewound: "
      "you\n"
      "say that BACKEND is the right one. Do not use it in place of a switch: nothing is checked against the consumer.",
      command_adopt },
    { "repin", "SOURCE BACKEND", 2, 2, OF_CLIENT, "accept the server_uuid that BACKEND shows now",
      "A backend is pinned to the server_uuid that it showed first. After a reinstallation this accepts the new one.\n"
      "Do not use it to silence an alarm that you cannot explain: another server may answer under the address.",
      command_repin },
    { "history", "SOURCE", 1, 1, OF_CLIENT | BIT(ARGS_LIMIT), "show past switches",
      "Newest first. --json has every check's figures.", command_history },
    { "check-config", "-c FILE", 0, 0, BIT(ARGS_CONFIG) | BIT(ARGS_REFERENCE) | BIT(ARGS_JSON),
      "check a configuration file",
      "Reads FILE and the secrets that it names as `serve` would, and starts nothing. Exits 2 where it is refused, "
      "with\n"
      "file, line, key, reason and what to do.",
      command_check_config },
    { "gtid", "COMMAND A [B]", 0, 0, 0, "GTID sets at the shell",
      "normalize A; union, subtract, intersect A B; contains A B (yes and exit 0 when A holds all of B, else no and "
      "1);\n"
      "count A.",
      NULL }, /* takes its words itself: see cli.c */
};
const size_t verb_count = ARRAY_LEN(verbs);
