/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/answers.h"
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "sluice/gtid.h"

uint32_t answers_version_id(const char *version)
{
    unsigned major, minor, patch;
    if (sscanf(version, "%3u.%3u.%3u", &major, &minor, &patch) != 3) return 0;
    return major * 10000 + minor * 100 + patch;
}

bool answers_is_mariadb(const char *version)
{
    return strcasestr(version, "mariadb") != NULL;
}

void answers_copy(char *out, size_t room, const char *from)
{
    snprintf(out, room, "%s", from == NULL ? "" : from);
}

const char *answers_text2(const struct rows *r, size_t row, const char *name, const char *old_name)
{
    int column = rows_column(r, name);
    return rows_text(r, row, column >= 0 ? column : rows_column(r, old_name));
}

static int parsed(int rv, const struct gtid_parse_error *why, struct upstream_error *error)
{
    if (rv == 0) return 0;
    if (rv == GTID_ERR_NOMEM) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    return upstream_error_set(error, SLUICE_ERR_PROTOCOL, 0, "the server's GTID set cannot be read: %s at byte %zu",
                              why->reason, why->offset);
}

int answers_gtid_set(const char *text, struct gtid_set **out, struct upstream_error *error)
{
    struct gtid_parse_error why = { 0 };
    if (text == NULL) text = "";
    return parsed(gtid_set_parse(text, strlen(text), out, &why), &why, error);
}

int answers_select_gtid_set(struct connector *c, const char *sql, bool is_owned, struct gtid_set **out,
                            struct upstream_error *error)
{
    struct rows *r;
    struct gtid_parse_error why = { 0 };
    int rv = connector_query(c, sql, &r, error);
    if (rv != 0) return rv;
    const char *text = rows_text(r, 0, 0);
    if (text == NULL) text = "";
    rv = is_owned ? gtid_set_parse_owned(text, strlen(text), out, &why) : gtid_set_parse(text, strlen(text), out, &why);
    rows_del(r);
    return parsed(rv, &why, error);
}

int answers_replica_status(struct connector *c, struct rows **out, struct upstream_error *error)
{
    const char *version = connector_server_version(c);
    if (answers_is_mariadb(version)) return connector_query(c, "SHOW ALL SLAVES STATUS", out, error);
    bool is_old = answers_version_id(version) < 80022;
    return connector_query(c, is_old ? "SHOW SLAVE STATUS" : "SHOW REPLICA STATUS", out, error);
}
