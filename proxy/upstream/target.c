/* SPDX-License-Identifier: Apache-2.0 */
/* What needs no client library: targets, errors, the clock. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "core/error.h"
#include "core/mem.h"
#include "upstream/connector.h"

static int copy_text(const char *from, char **out)
{
    if (from == NULL) return 0;
    *out = mem_strdup(from);
    return *out == NULL ? SLUICE_ERR_NOMEM : 0;
}

int upstream_target_copy(const struct upstream_target *from, struct upstream_target *out)
{
    struct upstream_target copy = { .addr = from->addr, .tls = from->tls, .proxy_version = from->proxy_version };
    if (copy_text(from->host, &copy.host) != 0 || copy_text(from->user, &copy.user) != 0 ||
        copy_text(from->password, &copy.password) != 0 || copy_text(from->tls_ca, &copy.tls_ca) != 0 ||
        copy_text(from->bind, &copy.bind) != 0) {
        upstream_target_free(&copy);
        return SLUICE_ERR_NOMEM;
    }
    *out = copy;
    return 0;
}

void upstream_target_free(struct upstream_target *t)
{
    if (t->password != NULL) explicit_bzero(t->password, strlen(t->password));
    mem_free(t->host);
    mem_free(t->user);
    mem_free(t->password);
    mem_free(t->tls_ca);
    mem_free(t->bind);
    *t = (struct upstream_target){ 0 };
}

void upstream_target_text(const struct upstream_target *t, char *out, size_t room)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (t->addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&t->addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        snprintf(out, room, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&t->addr;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        snprintf(out, room, "%s:%u", ip, ntohs(in->sin_port));
    }
}

int upstream_error_set(struct upstream_error *e, int code, unsigned mysql_errno, const char *fmt, ...)
{
    if (e == NULL) return code;
    va_list args;
    e->code = code;
    e->mysql_errno = mysql_errno;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    for (char *p = e->text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20) *p = ' '; /* a server's text stays one line */
    }
    return code;
}

uint64_t upstream_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
