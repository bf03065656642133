/* SPDX-License-Identifier: Apache-2.0 */
#include "core/admission.h"
#include "core/error.h"
#include <stdio.h>

void admission_decide(const struct admission_input *in, struct admission *out)
{
    *out = (struct admission){ .mode = ADMISSION_HOLD };
    if (in->is_stopping) {
        out->mode = ADMISSION_REFUSE;
        out->code = SLUICE_ERR_STOPPING;
        snprintf(out->text, sizeof out->text, "Sluice is being stopped; connect again in a moment");
    } else if (cutover_is_holding(in->cutover)) {
        snprintf(out->text, sizeof out->text, "a switch is in phase %s", cutover_state_name(in->cutover->state));
    } else if (!in->has_record) {
        snprintf(out->text, sizeof out->text, "which backend is active is not known%s%s",
                 *in->waiting_for == '\0' ? "" : ": ", in->waiting_for);
    } else if (*in->latch != '\0') {
        snprintf(out->text, sizeof out->text, "backend %s is latched: %s", in->active, in->latch);
    } else if (in->is_held) {
        snprintf(out->text, sizeof out->text, "held by hand (sluice release)");
    } else if (!in->is_confirmed) {
        snprintf(out->text, sizeof out->text, "waiting for backend %s%s%s", in->active,
                 *in->waiting_for == '\0' ? "" : ": ", in->waiting_for);
    } else if (!in->is_settled) {
        snprintf(out->text, sizeof out->text, "looking for what an earlier process left on backend %s", in->active);
    } else {
        out->mode = ADMISSION_ROUTE;
    }
}
