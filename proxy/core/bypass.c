/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bypass.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_consumers(const struct bypass_input *in, const struct threads_row *row)
{
    for (size_t i = 0; i < in->user_count; i++) {
        if (strcmp(in->users[i], row->user) == 0) return true;
    }
    return false;
}

/* Each channel has one dump thread: one more under the same account is somebody else. */
static bool is_backends(struct bypass_input *in, const struct threads_row *row)
{
    for (size_t i = 0; i < in->channel_count; i++) {
        struct bypass_channel *c = &in->channels[i];
        if (c->is_found || strcmp(c->user, row->user) != 0) continue;
        c->is_found = true;
        return true;
    }
    return false;
}

/* A client's, and neither a leg nor anything else of this process; what has no socket any more has just ended. */
static bool is_around(const struct bypass_input *in, size_t i)
{
    const struct threads_row *row = &in->rows[i];
    bool is_not_ours = in->classes[i] == THREADS_ELSEWHERE || in->classes[i] == THREADS_FOREIGN;
    return is_not_ours && threads_host_port(row->host) != 0 && strcmp(row->user, in->own_user) != 0 &&
           strcmp(row->user, "unauthenticated user") != 0;
}

struct found {
    size_t count;
    char text[400];
};

static void note(struct found *f, const struct threads_row *row, const char *from)
{
    size_t len = strlen(f->text);
    f->count++;
    snprintf(f->text + len, sizeof f->text - len, "%s%" PRIu64 " of %.40s from %.60s (%.20s)", len == 0 ? "" : ", ",
             row->id, row->user, from, row->command);
}

/* Who reads by the leg whose thread |row| is: the server may show our address in the place of it. */
static const char *client_of(const struct bypass_input *in, const struct threads_row *row)
{
    for (size_t i = 0; i < in->leg_count; i++) {
        if (in->legs[i].id == row->id && in->legs[i].client[0] != '\0') return in->legs[i].client;
    }
    return row->host;
}

static void add_fine(struct check_list *list, const struct bypass_input *in, const struct found *ours)
{
    if (ours->count == 0) {
        check_add(list, "C14", "bypass", CHECK_OK, "", "%s: nobody reads the binlog around Sluice", in->server);
    } else {
        check_add(list, "C14", "bypass", CHECK_OK, "", "%s: nobody reads the binlog around Sluice; through it: %s",
                  in->server, ours->text);
    }
}

void bypass_add_checks(struct check_list *list, struct bypass_input *in)
{
    struct found consumers = { 0 }, readers = { 0 }, ours = { 0 };
    for (size_t i = 0; i < in->row_count; i++) {
        const struct threads_row *row = &in->rows[i];
        if (in->classes[i] == THREADS_LEG && threads_is_dump(row)) note(&ours, row, client_of(in, row));
        if (!is_around(in, i)) continue;
        if (threads_is_dump(row) && is_backends(in, row)) continue;
        if (is_consumers(in, row)) {
            note(&consumers, row, row->host);
        } else if (threads_is_dump(row)) {
            note(&readers, row, row->host);
        }
    }
    if (consumers.count == 0 && readers.count == 0) {
        add_fine(list, in, &ours);
        return;
    }
    if (consumers.count > 0) {
        check_add(list, "C14", "bypass", in->level,
                  "let them connect to Sluice's address; or bypass: warn in the configuration",
                  "%s: %zu sessions of the consumer's account do not come through Sluice: %s", in->server,
                  consumers.count, consumers.text);
    }
    if (readers.count > 0) {
        check_add(list, "C14", "bypass", CHECK_WARN,
                  "other replicas are no harm; readers of this source's consumer are",
                  "%s: %zu binlog readers do not come through Sluice: %s", in->server, readers.count, readers.text);
    }
}
