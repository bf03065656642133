/* SPDX-License-Identifier: Apache-2.0 */
/* Who reaches the servers without Sluice: the processlists against our legs and the group's own replication. */
#include "core/bypass.h"
#include <stdio.h>
#include <string.h>
#include "core/dm.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

enum { CHANNELS_MAX = 64 };

/* Until it has been connected once, a channel knows its source by the address only. */
static bool reads_from(const struct facts_channel *ch, const struct backend *from)
{
    if (*ch->source_uuid != '\0') return strcmp(ch->source_uuid, from->pin) == 0;
    return strcmp(ch->source_host, from->config->address.host) == 0 && ch->source_port == from->config->address.port;
}

static size_t count_unknown(const struct source *s, const struct backend *from)
{
    size_t count = 0;
    for (size_t i = 0; i < s->backend_count; i++)
        count += &s->backends[i] != from && !s->backends[i].has_facts;
    return count;
}

static size_t collect_channels(const struct source *s, const struct backend *from, struct bypass_channel *out)
{
    size_t count = 0;
    for (size_t i = 0; i < s->backend_count; i++) {
        const struct facts *f = &s->backends[i].facts;
        for (uint32_t j = 0; s->backends[i].has_facts && j < f->channel_count && count < CHANNELS_MAX; j++) {
            if (!reads_from(&f->channels[j], from)) continue;
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

void bypass_take_consumer(struct source *s, const struct consumer_status *found)
{
    const char *user = found->dm != NULL ? found->dm->from_user : found->source_user;
    if (user != NULL && *user != '\0') snprintf(s->consumer_user, sizeof s->consumer_user, "%s", user);
}

/* By its own word, which also counts when none of its streams ever came through here; else by the streams that did. */
static const char (*consumers_users(const struct source *s, size_t *out_count))[THREADS_USER_LEN + 1]
{
    bool is_told = *s->consumer_user != '\0';
    *out_count = is_told ? 1 : s->stream_user_count;
    return is_told ? &s->consumer_user : s->stream_users;
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
                               .unknown_backend_count = count_unknown(s, b),
                               .channels = channels,
                               .channel_count = collect_channels(s, b, channels),
                               .level = s->config->bypass == CONFIG_BYPASS_REFUSE ? CHECK_FAIL : CHECK_WARN };
    in.users = consumers_users(s, &in.user_count);
    bypass_add_checks(list, &in);
    threads_verdict_free(&verdict);
    mem_free(legs);
}
