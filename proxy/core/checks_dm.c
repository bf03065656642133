/* SPDX-License-Identifier: Apache-2.0 */
#include "core/checks_dm.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "core/text.h"
#include "sluice/gtid.h"

static const char *text_of(const char *s)
{
    return s == NULL ? "" : s;
}

static void add_cluster(struct check_list *list, const struct checks_dm *in, const struct dm_facts *f)
{
    if (f->members_error != NULL) {
        check_add(list, "C13", "dm-leader", CHECK_FAIL,
                  "see `list-member`, and that master-addr leads to this DM's masters",
                  "DM did not say who its leader is, and which worker has source %s: %.300s", in->source_id,
                  f->members_error);
        return;
    }
    bool has_leader = *text_of(f->leader) != '\0';
    check_add(list, "C13", "dm-leader", has_leader ? CHECK_OK : CHECK_FAIL,
              "see `list-member`: DM's masters must agree on a leader, or no order is carried out",
              "leader: %s; masters alive: %u of %u", has_leader ? f->leader : "none", f->masters_alive, f->masters);
    check_add(list, "C13", "dm-source", f->is_bound ? CHECK_OK : CHECK_FAIL,
              "bind it: start a dm-worker, or see `list-member --worker` and `operate-source show`", "source %s: %s%s",
              in->source_id, f->is_bound ? "bound to " : "no worker has it", f->is_bound ? text_of(f->worker) : "");
}

static bool is_wildcard(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool is_same(const struct checks_dm_address *a, const struct dm_facts *f)
{
    return a->port == f->from_port && strcasecmp(a->host, text_of(f->from_host)) == 0;
}

static void add_address(struct check_list *list, const struct checks_dm *in, const struct dm_facts *f)
{
    static const char todo[] =
        "let DM go through Sluice: change `from` of its source (sluice readdress), or name this address "
        "in advertise-address";
    struct text ours = TEXT_INIT;
    bool is_ours = is_same(&in->listen, f);
    text_printf(&ours, "%s:%u", in->listen.host, in->listen.port);
    for (size_t i = 0; i < in->advertise_count; i++) {
        is_ours = is_ours || is_same(&in->advertise[i], f);
        text_printf(&ours, ", %s:%u", in->advertise[i].host, in->advertise[i].port);
    }
    /* Which addresses a wildcard stands for cannot be told from here. */
    bool may_be = is_wildcard(in->listen.host) && in->listen.port == f->from_port && in->advertise_count == 0 &&
                  in->listen_name == NULL;
    check_add(list, "C13", "dm-address",
              is_ours  ? CHECK_OK
              : may_be ? CHECK_WARN
                       : CHECK_FAIL,
              may_be                    ? "name the address in advertise-address, so that it can be compared"
              : in->listen_todo != NULL ? in->listen_todo
                                        : todo,
              "DM reads from %s:%u; %s is %s", text_of(f->from_host), f->from_port,
              in->listen_name == NULL ? "this listener" : in->listen_name, text_str(&ours));
    text_free(&ours);
}

static void add_config(struct check_list *list, const struct checks_dm *in, const struct dm_facts *f)
{
    if (!f->has_config) {
        check_add(list, "C13", "dm-address", CHECK_FAIL, "see that DM shows it: get-config source",
                  "DM does not show the configuration of source %s: %s", in->source_id, text_of(f->config_error));
        return;
    }
    add_address(list, in, f);
    check_add(list, "C13", "dm-enable-gtid", f->enable_gtid ? CHECK_OK : CHECK_FAIL,
              "by file and position nothing can be carried to another server: set enable-gtid: true in the source",
              "enable-gtid: %s", f->enable_gtid ? "true" : "false");
    bool is_mysql = strcmp(text_of(f->flavor), "mysql") == 0, is_told = *text_of(f->flavor) != '\0';
    if (!is_mysql)
        check_add(list, "C13", "dm-flavor", is_told ? CHECK_FAIL : CHECK_WARN, "only MySQL's GTIDs are supported",
                  "flavor: %s", is_told ? f->flavor : "not told");
}

/* Table points ahead of S drop rows after a switch. */
void checks_add_dm_locks(struct check_list *list, const struct dm_facts *f)
{
    bool is_well = f->locks_are_known && f->lock_count == 0;
    if (!f->locks_are_known)
        check_add(list, "C13", "dm-ddl-locks", CHECK_WARN, "look yourself: shard-ddl-lock",
                  "DM did not say which locks it has");
    for (size_t i = 0; i < f->lock_count; i++)
        check_add(
            list, "C13", "dm-ddl-locks", CHECK_FAIL,
            "resolve it first: shard-ddl-lock, shard-ddl-lock unlock; to switch all the same: --waive=dm-ddl-locks",
            "unresolved lock %s of task %s", f->locks[i].id, f->locks[i].task);
    for (size_t i = 0; i < f->source.task_count; i++) {
        const struct dm_task *t = &f->source.tasks[i];
        bool is_locked = *text_of(t->ddl_lock) != '\0' || *text_of(t->blocking_ddl) != '\0' ||
                         *text_of(t->conflict) != '\0' || t->unresolved > 0;
        if (!is_locked) continue;
        is_well = false;
        check_add(
            list, "C13", "dm-ddl-locks", CHECK_FAIL,
            "wait until the shards agree, or resolve it: shard-ddl-lock; to switch all the same: --waive=dm-ddl-locks",
            "task %s: lock '%s', blocking DDL '%.300s', unresolved groups: %zu%s%.200s", t->name, text_of(t->ddl_lock),
            text_of(t->blocking_ddl), t->unresolved,
            *text_of(t->conflict) == '\0' ? "" : ", conflict: ", text_of(t->conflict));
    }
    if (is_well) check_add(list, "C13", "dm-ddl-locks", CHECK_OK, "", "none unresolved");
}

/* Readers of another account than DM's: a switch ends their streams, and nobody pauses them before. */
static void add_other_readers(struct check_list *list, const struct checks_dm *in, const struct dm_facts *f)
{
    struct text who = TEXT_INIT;
    size_t count = 0;
    if (*text_of(f->from_user) == '\0')
        return; /* whose is whose cannot be told; the line of the configuration says so */
    for (size_t i = 0; i < in->stream_count; i++) {
        const struct checks_dm_stream *s = &in->streams[i];
        if (strcmp(s->user, f->from_user) == 0) continue;
        if (count++ < 5)
            text_printf(&who, "%s%s from %s (server_id %u)", count == 1 ? "" : ", ", s->user, s->peer, s->reader_id);
    }
    check_add(
        list, "C14", "other-readers", count == 0 ? CHECK_OK : CHECK_WARN,
        "nobody pauses them: their streams are parked and closed with the rest, and they must come back by themselves",
        "binlog streams through Sluice of others than DM's account %s: %zu%s%s", f->from_user, count,
        count == 0 ? "" : ": ", text_str(&who));
    text_free(&who);
}

/* DM's parser knows "uuid:interval" only (go-mysql, ParseUUIDSet). */
static void add_tags(struct check_list *list, const char *what, const char *of, const struct gtid_set *set)
{
    if (set == NULL || !gtid_set_has_tags(set)) return;
    check_add(list, "C13", "dm-tagged-gtids", CHECK_FAIL, "DM cannot read tagged GTIDs: it would stop at the first one",
              "%s%s%s has tagged GTIDs", what, *of == '\0' ? "" : " of ", of);
}

static const char *part_fate(const struct consumer_part *part)
{
    return consumer_stage_is_awake(part->stage) ? ", would be paused" : ", left alone";
}

static void add_relay(struct check_list *list, const struct consumer_status *status)
{
    const struct consumer_part *relay = &status->relay;
    if (!relay->is_present) return;
    add_tags(list, "gtid-W", "", relay->position);
    bool is_behind = false;
    for (size_t i = 0; i < status->task_count; i++) {
        const struct gtid_set *s = status->tasks[i].s;
        is_behind = is_behind || (s != NULL && (relay->position == NULL || !gtid_set_contains(relay->position, s)));
    }
    check_add(list, "C13", "dm-relay", is_behind ? CHECK_WAIT : CHECK_OK,
              "the relay is reading what the tasks already have: wait until it has passed them", "relay: %s, %s%s%s",
              consumer_stage_name(relay->stage), text_of(relay->detail), part_fate(relay),
              is_behind ? ", behind the tasks" : "");
}

static void add_validator(struct check_list *list, const struct consumer_status *status)
{
    const struct consumer_part *v = &status->validator;
    if (!v->is_present) return;
    add_tags(list, "gtid-V", "", v->position);
    check_add(list, "C13", "dm-validator", CHECK_OK, "", "validator: %s%s%s", consumer_stage_name(v->stage),
              part_fate(v), v->position == NULL ? ", no checkpoint yet" : "");
}

void checks_add_dm(struct check_list *list, const struct checks_dm *in, const struct consumer_status *status)
{
    const struct dm_facts *f = status->dm;
    if (f == NULL) return;
    add_cluster(list, in, f);
    add_config(list, in, f);
    checks_add_dm_locks(list, f);
    add_other_readers(list, in, f);
    for (size_t i = 0; i < status->task_count; i++)
        add_tags(list, "gtid-S", status->tasks[i].name, status->tasks[i].s);
    add_relay(list, status);
    add_validator(list, status);
}

void checks_add_dm_server(struct check_list *list, const char *name, const struct facts *f)
{
    add_tags(list, "gtid-E", name, f->executed);
    add_tags(list, "gtid-P", name, f->purged);
}
