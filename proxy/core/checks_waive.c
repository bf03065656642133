/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator may wave through by name: never what GTIDs say, which --accept-loss and --accept-errant are for. */
#include <stdio.h>
#include <string.h>
#include "core/checks.h"
#include "core/error.h"

static const char *const waivable[] = {
    "time_zone",      "sql_mode",    "lower_case_table_names", "character_set_server", "collation_server",
    "version-family", "dm-ddl-locks"
};

static int find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(waivable); i++) {
        if (strlen(waivable[i]) == len && memcmp(waivable[i], name, len) == 0) return (int)i;
    }
    return -1;
}

int checks_waive_parse(const char *names, uint32_t *waived, struct text *error)
{
    for (const char *p = names;; p++) {
        size_t len = strcspn(p, ",");
        int at = find(p, len);
        if (at < 0) {
            text_printf(error, "'%.*s' is no check that can be waived; these can be: ", len > 60 ? 60 : (int)len, p);
            for (size_t i = 0; i < ARRAY_LEN(waivable); i++)
                text_printf(error, "%s%s", i == 0 ? "" : ", ", waivable[i]);
            return SLUICE_ERR_INVALID;
        }
        *waived |= UINT32_C(1) << at;
        p += len;
        if (*p == '\0') return 0;
    }
}

void checks_waive(struct check_list *list, uint32_t waived)
{
    for (size_t i = 0; i < list->count; i++) {
        struct check *c = &list->items[i];
        int at = find(c->name, strlen(c->name));
        if (at < 0 || (waived >> at & 1) == 0 || c->state == CHECK_OK || c->is_waived) continue;
        char detail[CHECK_DETAIL_LEN + 1];
        memcpy(detail, c->detail, sizeof detail);
        snprintf(c->detail, sizeof c->detail, "waived: %.*s", CHECK_DETAIL_LEN - 8, detail);
        c->is_waived = true;
        c->state = CHECK_WARN;
    }
}
