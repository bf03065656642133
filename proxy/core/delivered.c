/* SPDX-License-Identifier: Apache-2.0 */
#include "core/delivered.h"
#include <stdio.h>
#include "core/error.h"

int delivered_init(struct delivered *d)
{
    *d = (struct delivered){
        .all = gtid_set_new(), .whole = gtid_set_new(), .sent = gtid_set_new(), .reason = "not read yet"
    };
    if (d->all != NULL && d->whole != NULL && d->sent != NULL) return 0;
    delivered_free(d);
    return SLUICE_ERR_NOMEM;
}

void delivered_free(struct delivered *d)
{
    gtid_set_del(d->all);
    gtid_set_del(d->whole);
    gtid_set_del(d->sent);
    *d = (struct delivered){ 0 };
}

void delivered_unknown(struct delivered *d, const char *reason)
{
    if (!d->is_known && *d->reason != '\0') return;
    d->is_known = false;
    snprintf(d->reason, sizeof d->reason, "%s", reason);
}

static void out_of_memory(struct delivered *d)
{
    delivered_unknown(d, "memory ran out");
}

void delivered_begin(struct delivered *d, const struct gtid_set *set)
{
    gtid_set_clear(d->all);
    gtid_set_clear(d->whole);
    d->is_known = true;
    d->reason[0] = '\0';
    delivered_request(d, set);
}

void delivered_request(struct delivered *d, const struct gtid_set *set)
{
    if (set == NULL || gtid_set_add_set(d->all, set) != 0 || gtid_set_add_set(d->whole, set) != 0) out_of_memory(d);
}

void delivered_gtid(struct delivered *d, const struct tracker_gtid *gtid)
{
    if (gtid->is_anonymous) {
        delivered_unknown(d, "a transaction without a GTID was sent (gtid_mode was not ON)");
    } else if (gtid_set_add(d->all, gtid->uuid, gtid->tag, (uint64_t)gtid->gno) != 0 ||
               gtid_set_add(d->sent, gtid->uuid, gtid->tag, (uint64_t)gtid->gno) != 0) {
        out_of_memory(d);
    }
}

void delivered_whole(struct delivered *d, const struct tracker_gtid *gtid)
{
    if (gtid->is_anonymous) return;
    if (gtid_set_add(d->whole, gtid->uuid, gtid->tag, (uint64_t)gtid->gno) != 0) out_of_memory(d);
}

void delivered_accept_loss(struct delivered *d, const struct gtid_set *loss)
{
    if (gtid_set_remove_set(d->all, loss) != 0 || gtid_set_remove_set(d->whole, loss) != 0 ||
        gtid_set_remove_set(d->sent, loss) != 0)
        out_of_memory(d);
}

void delivered_new_server(struct delivered *d)
{
    gtid_set_clear(d->sent);
}

struct gtid_set *delivered_part(const struct delivered *d)
{
    struct gtid_set *part = NULL;
    return gtid_set_subtract(d->all, d->whole, &part) == 0 ? part : NULL;
}
