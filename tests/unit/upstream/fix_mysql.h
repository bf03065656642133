/* SPDX-License-Identifier: Apache-2.0 */
/* fix_mysql.h - the two real servers that with_mysql.py has started: targets, and connections that must come about. */
#pragma once
#include <stdint.h>
#include "upstream/connector.h"

enum { LIMIT_MS = 20000 };

/* mysql_env - a value that with_mysql.py has set; fails the test without it. */
const char *mysql_env(const char *name);
/* mysql_target - |server| "A" or "B", an account of tests/lib/accounts.sql or of with_mysql.py. Nothing in it is to be freed. */
struct upstream_target mysql_target(const char *server, const char *user);
/* mysql_open - connect or fail the test. */
struct connector *mysql_open(const char *server, const char *user);
/* mysql_do - run a statement or fail the test. */
void mysql_do(struct connector *c, const char *sql);
