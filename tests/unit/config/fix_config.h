/* SPDX-License-Identifier: Apache-2.0 */
/* fix_config.h - a folder of its own with a password file, and configuration files in it. */
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "config/config.h"

struct fix_config {
    char dir[64];      /* made by fix_config_up() */
    char yaml[96];     /* dir/sluice.yaml */
    char password[96]; /* dir/password: "geheim" */
    struct config *config;
    char *error; /* without the path in front: ":LINE: KEY: ..." */
};

/* For cmocka: |*state| is a new struct fix_config; its teardown removes the folder. */
int fix_config_up(void **state);
int fix_config_down(void **state);
/* fix_config_file - write dir/NAME with |mode|; every "@DIR@" in |text| becomes the folder. */
void fix_config_file(struct fix_config *f, const char *name, const char *text, mode_t mode);
/* fix_config_load - write |text| as dir/sluice.yaml and load it; f->config or f->error afterwards. Returns what config_load() did. */
int fix_config_load(struct fix_config *f, const char *text);
/* fix_config_read - the whole file |path|; free() it. */
char *fix_config_read(const char *path);
