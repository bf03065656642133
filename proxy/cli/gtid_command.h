/* SPDX-License-Identifier: Apache-2.0 */
/* gtid_command.h - sluice gtid: GTID sets at the shell. No daemon, no configuration. */
#pragma once
#include <stdio.h>

/*
 * gtid_command - do what the words after `gtid` say.
 *
 *     normalize A                          the server's normal form, on one line
 *     union | subtract | intersect A B     likewise
 *     contains A B                         "yes" when A holds all of B, else "no"
 *     count A                              how many transactions
 *
 * A set that is `-` is read from standard input, to its end. --json prints one object with "result" and "msg" on top and the
 * answer as "set", "contains" (with "missing", what of B is not in A) or "count".
 *
 * |argc|, |argv|  argv[0] is "gtid"; options may stand anywhere behind it.
 * |out|, |err|    where the answer and reasons of failure go; with --json failures go to |out|, too.
 *
 * Returns the exit code: 0; 1 for "no", or when memory, input or output failed; 2 when the words are wrong or a set is no GTID
 * set: then the byte offset and the reason are told. Call from: main.
 */
int gtid_command(int argc, char **argv, FILE *out, FILE *err);
