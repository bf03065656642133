/* SPDX-License-Identifier: Apache-2.0 */
#include "core/dump_gate.h"
#include "core/error.h"

/* |a| without |b|; NULL when memory ran out. */
static struct gtid_set *less(const struct gtid_set *a, const struct gtid_set *b)
{
    struct gtid_set *out = NULL;
    return gtid_set_subtract(a, b, &out) == 0 ? out : NULL;
}

/* What of the request the server has neither executed nor in its hands. */
static struct gtid_set *missing_on_server(const struct dump_gate_input *in)
{
    struct gtid_set *missing = less(in->request, in->executed);
    int rv = missing == NULL ? SLUICE_ERR_NOMEM : gtid_set_remove_set(missing, in->owned);
    if (rv == 0 && in->accepted_loss != NULL) rv = gtid_set_remove_set(missing, in->accepted_loss);
    if (rv == 0) return missing;
    gtid_set_del(missing);
    return NULL;
}

static int judge_missing(const struct dump_gate_input *in, struct gtid_set *missing, struct dump_gate_result *out)
{
    struct gtid_set *own = NULL;
    if (gtid_set_of_uuid(missing, in->uuid, &own) != 0) {
        gtid_set_del(missing);
        return SLUICE_ERR_NOMEM;
    }
    bool is_rewound = !gtid_set_is_empty(own);
    gtid_set_del(is_rewound ? missing : own);
    out->verdict = is_rewound ? DUMP_GATE_REWOUND : DUMP_GATE_BEHIND;
    out->missing = is_rewound ? own : missing;
    return 0;
}

int dump_gate_judge(const struct dump_gate_input *in, struct dump_gate_result *out)
{
    struct gtid_set *missing = missing_on_server(in);
    if (missing == NULL) return SLUICE_ERR_NOMEM;
    if (!gtid_set_is_empty(missing)) return judge_missing(in, missing, out);
    gtid_set_del(missing);
    if (!in->names_file || gtid_set_contains(in->request, in->purged)) {
        *out = (struct dump_gate_result){ .verdict = DUMP_GATE_PASS };
        return 0;
    }
    missing = less(in->purged, in->request);
    if (missing == NULL) return SLUICE_ERR_NOMEM;
    *out = (struct dump_gate_result){ .verdict = DUMP_GATE_PURGED, .missing = missing };
    return 0;
}
