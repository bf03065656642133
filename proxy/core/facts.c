/* SPDX-License-Identifier: Apache-2.0 */
#include "core/facts.h"
#include "core/mem.h"
#include "sluice/gtid.h"

static void channel_free(struct facts_channel *ch)
{
    mem_free(ch->filters);
    mem_free(ch->last_error);
    gtid_set_del(ch->retrieved);
    gtid_set_del(ch->executed);
}

void facts_free(struct facts *f)
{
    for (uint32_t i = 0; i < f->channel_count; i++)
        channel_free(&f->channels[i]);
    mem_free(f->channels);
    mem_free(f->binlog_filters);
    mem_free(f->missing_grants);
    gtid_set_del(f->owned);
    gtid_set_del(f->executed);
    gtid_set_del(f->purged);
    *f = (struct facts){ 0 };
}
