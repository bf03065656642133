/* SPDX-License-Identifier: Apache-2.0 */
/* serve and check-config: the verbs that read the whole configuration file. */
#include <jansson.h>
#include <stdio.h>
#include <sys/resource.h>
#include "base/log.h"
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/serve.h"

/* The file, or NULL with the reason told. */
static struct config *load(const struct args *args)
{
    struct config *config = NULL;
    char *reason = NULL;
    if (args->config == NULL) {
        (void)output_fail(args, CLI_EXIT_USAGE, "%s needs -c FILE; see: sluice %s --help", args->verb->name,
                          args->verb->name);
        return NULL;
    }
    int rv = config_load(args->config, &config, &reason);
    if (rv != 0) (void)output_fail(args, CLI_EXIT_USAGE, "%s", reason == NULL ? error_text(rv) : reason);
    mem_free(reason);
    return config;
}

/* Defaults that do not fit are lowered, and the log says so; what the file asks for is serve's to judge. */
static void fit_open_files(struct config *config)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || !config_fit_open_files(config, files.rlim_max)) return;
    for (size_t i = 0; i < config->source_count; i++)
        log_warn("the limit of open files is below what the defaults need",
                 LOG_STR("source", config->sources[i].source_id), LOG_U64("limit", files.rlim_max),
                 LOG_U64("max_sessions", config->sources[i].limits.sessions_max),
                 LOG_U64("hold_clients", config->sources[i].limits.hold_clients_max),
                 LOG_STR("hint", "raise LimitNOFILE (systemd) or ulimit -Hn, or set max-sessions and hold-clients"));
}

int command_serve(const struct args *args, const struct cli_hooks *hooks)
{
    int code = CLI_EXIT_FAILED;
    struct config *config = load(args);
    const struct serve_options options = { .log_format = args->log_format, .log_least = args->log_level };
    if (config == NULL) return CLI_EXIT_USAGE;
    log_setup(args->log_format, args->log_level);
    fit_open_files(config);
    if (hooks->serve == NULL)
        code = output_fail(args, CLI_EXIT_FAILED, "this sluice was built without its proxy");
    else
        code = hooks->serve(config, &options);
    config_del(config);
    return code;
}

int command_check_config(const struct args *args, const struct cli_hooks *hooks)
{
    (void)hooks;
    if (args->reference) {
        struct text table = TEXT_INIT;
        config_print_reference(&table);
        fputs(text_str(&table), stdout);
        text_free(&table);
        return CLI_EXIT_DONE;
    }
    struct config *config = load(args);
    if (config == NULL) return CLI_EXIT_USAGE;
    if (args->json) {
        json_t *doc = json_pack("{s:s,s:I}", "config", config->path, "sources", (json_int_t)config->source_count);
        output_json(args, doc, CLI_EXIT_DONE);
        json_decref(doc);
    } else {
        printf("%s: ok, %zu source%s\n", config->path, config->source_count, config->source_count == 1 ? "" : "s");
    }
    config_del(config);
    return CLI_EXIT_DONE;
}
