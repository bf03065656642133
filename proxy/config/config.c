/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"
#include <assert.h>
#include <sched.h>
#include <string.h>
#include "config/load.h"
#include "config/schema.h"
#include "core/error.h"
#include "core/mem.h"

enum { SOURCES_MANY = 200, PROBE_INTERVAL_MANY_MS = 10000 };

static void set_limit(struct config_limits *limits, const struct schema_row *row)
{
    uint32_t value = 0;
    if (row->type == SCHEMA_DURATION) {
        int rv = config_parse_duration(row->initial, &value);
        assert(rv == 0);
    } else {
        for (const char *p = row->initial; *p != '\0'; p++)
            value = value * 10 + (uint32_t)(*p - '0');
    }
    *(uint32_t *)(void *)((char *)limits + row->offset) = value;
}

struct config_limits config_limits_default(size_t source_count)
{
    struct config_limits limits = { 0 };
    for (size_t i = 0; i < schema_row_count; i++)
        if (schema_is_limit(&schema_rows[i])) set_limit(&limits, &schema_rows[i]);
    if (source_count > SOURCES_MANY) limits.probe_interval_ms = PROBE_INTERVAL_MANY_MS;
    return limits;
}

static uint32_t default_threads(size_t source_count)
{
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    uint32_t cores = count < 1 ? 1 : count > 256 ? 256 : (uint32_t)count;
    return source_count < cores ? (uint32_t)source_count : cores;
}

static int fill(struct load *l, struct config *config)
{
    int rv = load_document(l);
    if (rv == 0) rv = load_config(l, config);
    if (rv == 0) rv = l->is_admin_only ? check_admin(l, &config->admin) : check_config(l, config);
    if (rv == 0) rv = l->where.status;
    if (rv != 0 || l->is_admin_only) return rv;
    if (config->threads == 0) config->threads = default_threads(config->source_count);
    return 0;
}

static int load(const char *path, bool is_admin_only, struct config **out, char **out_error)
{
    struct load l = { .path = path, .is_admin_only = is_admin_only };
    int rv = SLUICE_ERR_NOMEM;
    struct config *config = mem_calloc(1, sizeof *config);
    if (config == NULL) goto failed;
    config->path = mem_strdup(path);
    if (config->path != NULL) rv = fill(&l, config);
    if (rv == 0) {
        load_free(&l);
        *out = config;
        return 0;
    }
    config_del(config);
failed:
    if (l.error.len == 0) text_printf(&l.error, "%s: %s", path, error_text(rv));
    *out_error = text_take(&l.error); /* NULL when not even that had room */
    load_free(&l);
    assert(rv != 0);
    return rv;
}

int config_load(const char *path, struct config **out, char **out_error)
{
    return load(path, false, out, out_error);
}

int config_load_admin(const char *path, struct config **out, char **out_error)
{
    return load(path, true, out, out_error);
}

void config_del(struct config *config)
{
    if (config == NULL) return;
    schema_free(SCHEMA_TOP, config);
    mem_free(config->path);
    mem_free(config);
}
