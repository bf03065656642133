/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - what each verb does. All: returns the exit code; prints; call from main, once. */
#pragma once

struct args;
struct cli_hooks;

int command_serve(const struct args *args, const struct cli_hooks *hooks);
int command_check_config(const struct args *args, const struct cli_hooks *hooks);
int command_status(const struct args *args, const struct cli_hooks *hooks);
int command_check(const struct args *args, const struct cli_hooks *hooks);
int command_switch(const struct args *args, const struct cli_hooks *hooks);
int command_readdress(const struct args *args, const struct cli_hooks *hooks);
int command_abort(const struct args *args, const struct cli_hooks *hooks);
int command_hold(const struct args *args, const struct cli_hooks *hooks);
int command_release(const struct args *args, const struct cli_hooks *hooks);
int command_adopt(const struct args *args, const struct cli_hooks *hooks);
int command_repin(const struct args *args, const struct cli_hooks *hooks);
int command_history(const struct args *args, const struct cli_hooks *hooks);
