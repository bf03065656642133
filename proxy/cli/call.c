/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/call.h"
#include <string.h>
#include "cli/args.h"
#include "cli/client.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "core/error.h"

int call_open(const struct args *args, struct client **out)
{
    struct text error = TEXT_INIT;
    int rv = client_open(args, out, &error);
    int code = rv == 0 ? CLI_EXIT_DONE : rv == SLUICE_ERR_NOMEM ? CLI_EXIT_FAILED : CLI_EXIT_USAGE;
    if (rv != 0) code = output_fail(args, code, "%s", error.len > 0 ? text_str(&error) : error_text(rv));
    text_free(&error);
    return code;
}

/* What was ordered and not answered may have been done, or not. */
static int fail_call(const struct args *args, int rv, const json_t *body, const struct text *error)
{
    if (body == NULL || rv == SLUICE_ERR_UNREACHABLE || rv == SLUICE_ERR_PROTOCOL)
        return output_fail(args, CLI_EXIT_FAILED, "%s", text_str(error));
    return output_fail(args, CLI_EXIT_UNKNOWN,
                       "%s; whether the order was carried out is not known, see: sluice status %s",
                       rv == SLUICE_ERR_CANCELED ? "interrupted" : text_str(error), args->operands[0]);
}

int call_once(const struct args *args, struct client *client, const char *const *segments, const char *query,
              const json_t *body, json_t **out_doc)
{
    struct text path = TEXT_INIT, error = TEXT_INIT;
    long status = 0;
    client_path(&path, segments);
    text_puts(&path, query);
    int rv = path.status != 0 ? path.status : client_call(client, text_str(&path), body, out_doc, &status, &error);
    int code = rv == 0 ? output_code(*out_doc, status) : fail_call(args, rv, body, &error);
    text_free(&path);
    text_free(&error);
    return code;
}

/* Lists are taken apart: in the history each name stands for itself. */
static int add_waive(const struct args *args, json_t *body)
{
    json_t *names = json_array();
    int rv = 0;
    for (size_t i = 0; i < args->waive_count; i++) {
        for (const char *p = args->waive[i]; rv == 0; p++) {
            size_t len = strcspn(p, ",");
            rv |= json_array_append_new(names, json_stringn(p, len));
            p += len;
            if (*p == '\0') break;
        }
    }
    return rv | json_object_set_new(body, "waive", names);
}

int call_follow(const struct args *args, struct client *client, const json_t *doc, int code, const char *what,
                const char *to)
{
    json_int_t number = field_int(doc, "switch");
    if (code == CLI_EXIT_DONE && number > 0) return follow_switch(args, client, number, what, to);
    if (code == CLI_EXIT_DONE) code = CLI_EXIT_UNKNOWN; /* accepted, and yet no number to follow */
    if (args->json || args->json_lines) {
        output_json(args, doc, code);
    } else {
        output_fail(args, code, "%s", field_str(doc, "msg", "the daemon gave no reason"));
    }
    return code;
}

int call_accepting(const struct args *args, json_t *body)
{
    int rv = 0;
    if (args->has_wait) rv |= json_object_set_new(body, "wait-catchup", json_integer(args->wait_ms));
    if (args->accept_loss != NULL) rv |= json_object_set_new(body, "accept-loss", json_string(args->accept_loss));
    if (args->accept_errant_count > 0) {
        json_t *sets = json_array();
        for (size_t i = 0; i < args->accept_errant_count; i++)
            rv |= json_array_append_new(sets, json_string(args->accept_errant[i]));
        rv |= json_object_set_new(body, "accept-errant", sets);
    }
    return rv;
}

json_t *call_switch_body(const struct args *args)
{
    json_t *body = json_pack("{s:s}", "to", args->operands[1]);
    int rv = body == NULL ? -1 : call_accepting(args, body);
    if (args->old_is_dead) rv |= json_object_set_new(body, "old-is-dead", json_true());
    if (args->gtid_s != NULL) rv |= json_object_set_new(body, "gtid-s", json_string(args->gtid_s));
    if (rv == 0 && args->waive_count > 0) rv = add_waive(args, body);
    if (rv == 0) return body;
    json_decref(body);
    return NULL;
}
