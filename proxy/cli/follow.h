/* SPDX-License-Identifier: Apache-2.0 */
/* follow.h - shows the steps of a switch, or of an address change, until its end. */
#pragma once
#include <jansson.h>
#include "core/attr.h"

struct args;
struct client;

/* follow_switch - |what| is "switch" or "readdress", |to| where it leads, both for people. Prints; returns the exit code. */
SLUICE_MUSTCHECK int follow_switch(const struct args *args, struct client *client, json_int_t number, const char *what,
                                   const char *to);
