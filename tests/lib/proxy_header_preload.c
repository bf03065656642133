/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_header_preload.c - a stand-in: preloaded into a MySQL server it makes it read PROXY headers as Percona Server and MariaDB do, so
 * that its processlist shows the client's address. The server asks getpeername(2) who has connected; here it is told what the header
 * says. The header is read by a parser of its own, which shares nothing with the one under test.
 *
 *   SLUICE_TEST_PROXY_FROM=127.0.0.2   only connections from this address have one
 *   SLUICE_TEST_PROXY_DEMAND=1         and must have one, as Percona Server wants it; else it is waited for a moment, as MariaDB takes both
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FDS_MAX = 65536, WAIT_MS = 250, DEMAND_MS = 5000, LINE_MAX_LEN = 107 };
enum told { TOLD_NOT_YET, TOLD_NOTHING, TOLD_ADDRESS, TOLD_BAD };

static struct {
    enum told told;
    struct sockaddr_storage address;
    socklen_t len;
} ends[FDS_MAX];

static int real_getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    int (*real)(int, struct sockaddr *, socklen_t *);
    *(void **)&real = dlsym(RTLD_NEXT, "getpeername");
    return real(fd, address, len);
}

static int wait_for(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, ms) == 1;
}

/* Up to |room| bytes that are there, left where they are. */
static ssize_t peek(int fd, uint8_t *bytes, size_t room)
{
    return recv(fd, bytes, room, MSG_PEEK | MSG_DONTWAIT);
}

static enum told take(int fd, size_t len, enum told told)
{
    uint8_t dropped[4112];
    if (len > sizeof dropped || recv(fd, dropped, len, MSG_WAITALL) != (ssize_t)len) return TOLD_BAD;
    return told;
}

static enum told read_v1(int fd, const uint8_t *bytes, size_t len)
{
    char line[LINE_MAX_LEN + 1], host[64], to[64];
    unsigned port, to_port;
    const uint8_t *end = memchr(bytes, '\n', len);
    if (end == NULL) return TOLD_BAD;
    size_t line_len = (size_t)(end + 1 - bytes);
    if (line_len > LINE_MAX_LEN) return TOLD_BAD;
    memcpy(line, bytes, line_len);
    line[line_len] = '\0';
    if (strcmp(line, "PROXY UNKNOWN\r\n") == 0) return take(fd, line_len, TOLD_NOTHING);
    struct sockaddr_in *in = (struct sockaddr_in *)&ends[fd].address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ends[fd].address;
    if (sscanf(line, "PROXY TCP4 %63s %63s %u %u\r\n", host, to, &port, &to_port) == 4) {
        *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
        ends[fd].len = sizeof *in;
        return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? take(fd, line_len, TOLD_ADDRESS) : TOLD_BAD;
    }
    if (sscanf(line, "PROXY TCP6 %63s %63s %u %u\r\n", host, to, &port, &to_port) == 4) {
        *in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
        ends[fd].len = sizeof *in6;
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? take(fd, line_len, TOLD_ADDRESS) : TOLD_BAD;
    }
    return TOLD_BAD;
}

static enum told read_v2(int fd, const uint8_t *bytes, size_t len)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&ends[fd].address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ends[fd].address;
    size_t all = len < 16 ? SIZE_MAX : 16 + ((size_t)bytes[14] << 8 | bytes[15]);
    if (all > len) return TOLD_BAD;
    if (bytes[12] == 0x20) return take(fd, all, TOLD_NOTHING);
    if (bytes[12] == 0x21 && bytes[13] == 0x11 && all >= 28) {
        *in = (struct sockaddr_in){ .sin_family = AF_INET };
        memcpy(&in->sin_addr, bytes + 16, 4);
        memcpy(&in->sin_port, bytes + 24, 2);
        ends[fd].len = sizeof *in;
        return take(fd, all, TOLD_ADDRESS);
    }
    if (bytes[12] == 0x21 && bytes[13] == 0x21 && all >= 52) {
        *in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
        memcpy(&in6->sin6_addr, bytes + 16, 16);
        memcpy(&in6->sin6_port, bytes + 48, 2);
        ends[fd].len = sizeof *in6;
        return take(fd, all, TOLD_ADDRESS);
    }
    return TOLD_BAD;
}

static enum told read_header(int fd)
{
    static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
    uint8_t bytes[4112];
    int is_demanded = getenv("SLUICE_TEST_PROXY_DEMAND") != NULL;
    if (!wait_for(fd, is_demanded ? DEMAND_MS : WAIT_MS)) return is_demanded ? TOLD_BAD : TOLD_NOTHING;
    ssize_t n = peek(fd, bytes, sizeof bytes);
    if (n >= 12 && memcmp(bytes, signature, sizeof signature) == 0) return read_v2(fd, bytes, (size_t)n);
    if (n >= 6 && memcmp(bytes, "PROXY ", 6) == 0) return read_v1(fd, bytes, (size_t)n);
    return is_demanded ? TOLD_BAD : TOLD_NOTHING;
}

static int is_from_proxy(const struct sockaddr *address)
{
    const char *from = getenv("SLUICE_TEST_PROXY_FROM");
    struct in_addr wanted;
    if (from == NULL || address->sa_family != AF_INET || inet_pton(AF_INET, from, &wanted) != 1) return 0;
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr == wanted.s_addr;
}

/* A number that was used before belongs to a new connection. */
int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    int (*real)(int, struct sockaddr *, socklen_t *);
    *(void **)&real = dlsym(RTLD_NEXT, "accept");
    int accepted = real(fd, address, len);
    if (accepted >= 0 && accepted < FDS_MAX) ends[accepted].told = TOLD_NOT_YET;
    return accepted;
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    int (*real)(int, struct sockaddr *, socklen_t *, int);
    *(void **)&real = dlsym(RTLD_NEXT, "accept4");
    int accepted = real(fd, address, len, flags);
    if (accepted >= 0 && accepted < FDS_MAX) ends[accepted].told = TOLD_NOT_YET;
    return accepted;
}

int getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t peer_len = sizeof peer;
    if (fd < 0 || fd >= FDS_MAX || real_getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0 ||
        !is_from_proxy((const struct sockaddr *)&peer))
        return real_getpeername(fd, address, len);
    if (ends[fd].told == TOLD_NOT_YET) ends[fd].told = read_header(fd);
    if (ends[fd].told == TOLD_BAD) {
        errno = ENOTCONN;
        return -1;
    }
    if (ends[fd].told == TOLD_NOTHING) return real_getpeername(fd, address, len);
    memcpy(address, &ends[fd].address, ends[fd].len < *len ? ends[fd].len : *len);
    *len = ends[fd].len;
    return 0;
}
