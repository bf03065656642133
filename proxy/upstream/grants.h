/* SPDX-License-Identifier: Apache-2.0 */
/* grants.h - does SHOW GRANTS show a privilege on *.*? Reads texts of the server; no I/O. */
#pragma once
#include <stdbool.h>
#include "core/attr.h"
#include "core/text.h"
#include "upstream/connector.h"

/*
 * grants_has - is |privilege| ("REPLICATION CLIENT", "CONNECTION_ADMIN"), upper case, among the privileges on *.* of |grants|, the
 * rows of SHOW GRANTS? "ALL PRIVILEGES" holds every static one (one whose name has no '_').
 */
bool grants_has(const struct rows *grants, const char *privilege);
/*
 * grants_name_missing - append one GRANT statement for those of |needed| (NULL-terminated) that are missing to |out|; nothing when
 * none is. "A|B" asks for one of the two, and A is named.
 * |account| as CURRENT_USER() prints it: "sluice@%".
 */
void grants_name_missing(const struct rows *grants, const char *const *needed, const char *account, struct text *out);
