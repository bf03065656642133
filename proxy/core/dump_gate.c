/* SPDX-License-Identifier: Apache-2.0 */
#include "core/dump_gate.h"
#include "core/error.h"

/* |a| without |b|; NULL when memory ran out. */
static struct gtid_set *less(const struct gtid_set *a, const struct gtid_set *b)
{
    struct gtid_set *out = NULL;
    return gtid_set_subtract(a, b, &out) == 0 ? out : NULL;
}

/* What of |request| the server has neither executed nor in its hands. */
static struct gtid_set *missing_on_server(const struct dump_gate_input *in, const struct gtid_set *request)
{
    struct gtid_set *missing = less(request, in->executed);
    int rv = missing == NULL ? SLUICE_ERR_NOMEM : gtid_set_remove_set(missing, in->owned);
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

/* The server compares its P with all of the request, of which an operator may have said that some is not what the server has. */
static int judge_purged(const struct dump_gate_input *in, const struct gtid_set *request, struct dump_gate_result *out)
{
    bool is_lost = gtid_set_contains(in->request, in->purged) && !gtid_set_contains(request, in->purged);
    bool is_purged = in->names_file && !gtid_set_contains(request, in->purged);
    if (!is_lost && !is_purged) {
        *out = (struct dump_gate_result){ .verdict = DUMP_GATE_PASS };
        return 0;
    }
    struct gtid_set *missing = less(in->purged, request);
    if (missing == NULL) return SLUICE_ERR_NOMEM;
    *out = (struct dump_gate_result){ .verdict = is_lost ? DUMP_GATE_LOST : DUMP_GATE_PURGED, .missing = missing };
    return 0;
}

int dump_gate_judge(const struct dump_gate_input *in, struct dump_gate_result *out)
{
    struct gtid_set *without_loss = NULL, *missing = NULL;
    int rv = SLUICE_ERR_NOMEM;
    if (in->accepted_loss != NULL) {
        without_loss = less(in->request, in->accepted_loss);
        if (without_loss == NULL) return rv;
    }
    const struct gtid_set *request = without_loss == NULL ? in->request : without_loss;
    missing = missing_on_server(in, request);
    if (missing == NULL) goto out;
    if (!gtid_set_is_empty(missing)) {
        rv = judge_missing(in, missing, out); /* takes it */
    } else {
        gtid_set_del(missing);
        rv = judge_purged(in, request, out);
    }
out:
    gtid_set_del(without_loss);
    return rv;
}
