/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/grants.h"
#include <string.h>
#include <strings.h>

/* "GRANT a, b ON *.* TO …": the list in between, or false. A grant of a role has no ON. */
static bool global_list(const char *line, const char **out, size_t *out_len)
{
    static const char head[] = "GRANT ";
    if (line == NULL || strncasecmp(line, head, sizeof head - 1) != 0) return false;
    const char *end = strstr(line, " ON *.* TO ");
    if (end == NULL) return false;
    *out = line + sizeof head - 1;
    *out_len = (size_t)(end - *out);
    return true;
}

static bool list_has(const char *list, size_t len, const char *privilege)
{
    size_t want = strlen(privilege);
    const char *end = list + len;
    for (const char *p = list; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma == NULL ? end : comma;
        while (p < stop && *p == ' ')
            p++;
        if ((size_t)(stop - p) == want && strncasecmp(p, privilege, want) == 0) return true;
        if (comma == NULL) return false;
        p = comma + 1;
    }
    return false;
}

bool grants_has(const struct rows *grants, const char *privilege)
{
    bool is_static = strchr(privilege, '_') == NULL;
    for (size_t i = 0; i < rows_count(grants); i++) {
        const char *list;
        size_t len;
        if (!global_list(rows_text(grants, i, 0), &list, &len)) continue;
        if (list_has(list, len, privilege)) return true;
        if (is_static && (list_has(list, len, "ALL PRIVILEGES") || list_has(list, len, "ALL"))) return true;
    }
    return false;
}

/* "A|B|C": the first is what is named when all are missing. */
static bool has_one_of(const struct rows *grants, const char *choice)
{
    char name[64];
    for (const char *p = choice;;) {
        size_t len = strcspn(p, "|");
        if (len >= sizeof name) return false;
        memcpy(name, p, len);
        name[len] = '\0';
        if (grants_has(grants, name)) return true;
        if (p[len] == '\0') return false;
        p += len + 1;
    }
}

static void put_account(const char *account, struct text *out)
{
    const char *at = strrchr(account, '@');
    if (at == NULL) at = account + strlen(account);
    text_puts(out, "'");
    text_append(out, account, (size_t)(at - account));
    text_printf(out, "'@'%s'", *at == '\0' ? "%" : at + 1);
}

void grants_name_missing(const struct rows *grants, const char *const *needed, const char *account, struct text *out)
{
    const char *before = "GRANT ";
    for (; *needed != NULL; needed++) {
        if (has_one_of(grants, *needed)) continue;
        text_puts(out, before);
        text_append(out, *needed, strcspn(*needed, "|"));
        before = ", ";
    }
    if (*before == 'G') return;
    text_puts(out, " ON *.* TO ");
    put_account(account, out);
}
