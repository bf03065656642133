/* SPDX-License-Identifier: Apache-2.0 */
#include "fix_mysql.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

const char *mysql_env(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL) fail_msg("%s is not set: run this by with_mysql.py", name);
    return value;
}

struct upstream_target mysql_target(const char *server, const char *user)
{
    static char users[8][16], passwords[8][32];
    static unsigned next;
    static const char *const of_app[] = { "boss", "secure", "byrole" };
    char name[32];
    struct upstream_target t = { 0 };
    struct sockaddr_in *in = (struct sockaddr_in *)&t.addr;
    const char *password = user;
    for (size_t i = 0; i < ARRAY_LEN(of_app); i++) {
        if (strcmp(user, of_app[i]) == 0) password = "app";
    }
    snprintf(name, sizeof name, "SLUICE_TEST_%s_PORT", server);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in->sin_port = htons((uint16_t)atoi(mysql_env(name)));
    t.user = users[next % 8];
    t.password = passwords[next++ % 8];
    snprintf(t.user, sizeof users[0], "%s", user);
    snprintf(t.password, sizeof passwords[0], "%s-secret", password);
    return t;
}

struct connector *mysql_open(const char *server, const char *user)
{
    struct upstream_target target = mysql_target(server, user);
    struct upstream_error error = { 0 };
    struct connector *c = NULL;
    if (connector_open(&target, upstream_now_ms() + LIMIT_MS, NULL, &c, &error) != 0) fail_msg("%s", error.text);
    return c;
}

void mysql_do(struct connector *c, const char *sql)
{
    struct upstream_error error = { 0 };
    if (connector_query(c, sql, NULL, &error) != 0) fail_msg("%s: %s", sql, error.text);
}
