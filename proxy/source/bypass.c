/* SPDX-License-Identifier: Apache-2.0 */
/* Who reaches the servers without Sluice: the processlists against our legs and the group's own replication. */
#include "core/bypass.h"
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

enum { CHANNELS_MAX = 64 };

static size_t collect_channels(const struct source *s, const struct backend *from, struct bypass_channel *out)
{
    size_t count = 0;
    for (size_t i = 0; i < s->backend_count; i++) {
        const struct facts *f = &s->backends[i].facts;
        for (uint32_t j = 0; s->backends[i].has_facts && j < f->channel_count && count < CHANNELS_MAX; j++) {
            if (strcmp(f->channels[j].source_uuid, from->pin) != 0) continue;
            snprintf(out[count++].user, sizeof out->user, "%s", f->channels[j].source_user);
        }
    }
    return count;
}

static bool keep_stream_user(void *arg, const struct sessions_leg *leg)
{
    struct source *s = arg;
    if (!leg->is_stream || *leg->user == '\0') return true;
    for (size_t i = 0; i < s->stream_user_count; i++) {
        if (strcmp(s->stream_users[i], leg->user) == 0) return true;
    }
    if (s->stream_user_count == SOURCE_STREAM_USERS_MAX) return false;
    snprintf(s->stream_users[s->stream_user_count++], sizeof s->stream_users[0], "%s", leg->user);
    return true;
}

void bypass_add(struct source *s, const struct backend *b, const struct processlist *rows,
                const struct threads_socket *sockets, size_t socket_count, struct check_list *list)
{
    struct bypass_channel channels[CHANNELS_MAX] = { 0 };
    struct threads_verdict verdict = { 0 };
    struct threads_input judged = { .rows = rows->rows,
                                    .row_count = rows->count,
                                    .own_id = rows->own_id,
                                    .own_host = rows->own_host,
                                    .own_user = rows->own_user,
                                    .sockets = sockets,
                                    .socket_count = socket_count,
                                    .clients_are_told = s->config->proxy_protocol.send != CONFIG_PROXY_SEND_OFF };
    struct threads_leg *legs = NULL;
    if (rows->count == 0) return; /* a true list has at least our own connection: nothing can be said of this one */
    sessions_each_leg(s->sessions, keep_stream_user, s);
    int rv = listing_collect_legs(s, b, &legs, &judged.live_count);
    judged.live = legs;
    if (rv == 0) rv = threads_judge(&judged, &verdict);
    if (rv != 0) {
        mem_free(legs);
        list->status = rv;
        return;
    }
    struct bypass_input in = { .server = b->config->name,
                               .rows = rows->rows,
                               .row_count = rows->count,
                               .own_user = rows->own_user,
                               .classes = verdict.classes,
                               .legs = legs,
                               .leg_count = judged.live_count,
                               .users = (const char(*)[THREADS_USER_LEN + 1]) s->stream_users,
                               .user_count = s->stream_user_count,
                               .channels = channels,
                               .channel_count = collect_channels(s, b, channels),
                               .level = s->config->bypass == CONFIG_BYPASS_REFUSE ? CHECK_FAIL : CHECK_WARN };
    bypass_add_checks(list, &in);
    threads_verdict_free(&verdict);
    mem_free(legs);
}
