/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/local_sockets.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#include "core/error.h"
#include "core/mem.h"
#include "upstream/connector.h"

enum {
    ADDRESS_WORDS = 4,
    SOCKETS_MAX = 1 << 20,
    CLOSING_ROUNDS_MIN = 2,
    CLOSING_WAIT_NS = 2000000,
    CLOSING_LIMIT_MS = 50
};

/* A socket as /proc/net lists it, before its owner is known. */
struct found {
    struct threads_socket socket;
    unsigned long inode;
};
struct found_list {
    struct found *items;
    size_t count, room;
    size_t unowned;
};

/* What is compared with the file's remote end: an address as IPv6, IPv4 mapped, in the file's own words. */
struct remote_end {
    uint32_t words[ADDRESS_WORDS];
    unsigned port;
};

static const uint32_t mapped_words[3] = { 0, 0, 0xffff };

static int remote_end_of(const struct sockaddr *sa, struct remote_end *out)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        *out = (struct remote_end){ .words = { 0, 0, htonl(mapped_words[2]), in->sin_addr.s_addr },
                                    .port = ntohs(in->sin_port) };
        return 0;
    }
    if (sa->sa_family != AF_INET6) return SLUICE_ERR_IO;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
    memcpy(out->words, &in6->sin6_addr, sizeof out->words);
    out->port = ntohs(in6->sin6_port);
    return 0;
}

/* "0100007F" or 32 digits: 32-bit words of the address as they lie in memory, each printed as a number. */
static int parse_words(const char *hex, uint32_t words[ADDRESS_WORDS])
{
    size_t len = strlen(hex);
    if (len == 8) {
        words[0] = words[1] = 0;
        words[2] = htonl(mapped_words[2]);
        words[3] = (uint32_t)strtoul(hex, NULL, 16);
        return 0;
    }
    if (len != 32) return SLUICE_ERR_SYNTAX;
    for (int i = 0; i < ADDRESS_WORDS; i++) {
        char word[9] = { 0 };
        memcpy(word, hex + 8 * i, 8);
        words[i] = (uint32_t)strtoul(word, NULL, 16);
    }
    return 0;
}

static int list_add(struct found_list *list, uint16_t port, unsigned long inode)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 32 : list->room * 2;
        struct found *items = room > SOCKETS_MAX ? NULL : mem_realloc(list->items, room * sizeof *items);
        if (items == NULL) return SLUICE_ERR_NOMEM;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] =
        (struct found){ .socket = { .local_port = port, .owner = THREADS_OWNER_UNKNOWN }, .inode = inode };
    list->unowned++;
    return 0;
}

/*
 * A host with clients that come and go has tens of thousands of sockets in TIME_WAIT: their lines, and those of other ports, are
 * passed over without being parsed. "  sl: LOCAL:PORT REMOTE:PORT ST", the addresses of the same width.
 */
static bool is_of_interest(const char *line, const struct remote_end *remote)
{
    const char *local = strchr(line, ':');
    if (local == NULL || local[1] != ' ') return true;
    local += 2;
    size_t width = strcspn(local, ":");
    size_t port_at = width + sizeof ":0000 " - 1 + width + 1;
    char port[5];
    if (strlen(local) < port_at + sizeof "0000 06" - 1) return true;
    snprintf(port, sizeof port, "%04X", remote->port & 0xffffu);
    return memcmp(local + port_at, port, 4) == 0 && memcmp(local + port_at + 4, " 06", 3) != 0;
}

/* One line of /proc/net/tcp or tcp6. A socket without an inode is no process's any more. */
static int take_line(const char *line, const struct remote_end *remote, struct found_list *list)
{
    char local_hex[33], remote_hex[33];
    unsigned local_port, remote_port;
    unsigned long inode;
    uint32_t words[ADDRESS_WORDS];
    if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %32[0-9A-Fa-f]:%x %*x %*x:%*x %*x:%*x %*x %*u %*u %lu", local_hex,
               &local_port, remote_hex, &remote_port, &inode) != 5) {
        return 0; /* the heading */
    }
    if (inode == 0 || remote_port != remote->port || local_port > UINT16_MAX) return 0;
    if (parse_words(remote_hex, words) != 0 || memcmp(words, remote->words, sizeof words) != 0) return 0;
    return list_add(list, (uint16_t)local_port, inode);
}

static int read_table(const char *path, const struct remote_end *remote, struct found_list *list)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return errno == ENOENT ? 0 : SLUICE_ERR_IO; /* no tcp6 where IPv6 is off */
    char line[512];
    int rv = 0;
    while (rv == 0 && fgets(line, sizeof line, file) != NULL) {
        if (is_of_interest(line, remote)) rv = take_line(line, remote, list);
    }
    if (rv == 0 && ferror(file)) rv = SLUICE_ERR_IO;
    fclose(file);
    return rv;
}

/* ---- owners ---- */

static void read_comm(int pid, char *out, size_t room)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    out[0] = '\0';
    if (file == NULL) return;
    if (fgets(out, (int)room, file) == NULL) out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    fclose(file);
}

/* The same program as ours, or one of its name. */
static bool is_sluice(int pid, const char *comm)
{
    char path[40], its[4096], ours[4096];
    if (strcmp(comm, "sluice") == 0) return true;
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t its_len = readlink(path, its, sizeof its);
    ssize_t our_len = readlink("/proc/self/exe", ours, sizeof ours);
    return its_len > 0 && its_len == our_len && memcmp(its, ours, (size_t)its_len) == 0;
}

static void set_owner(struct found *f, int pid, bool is_us)
{
    f->socket.owner = is_us ? THREADS_OWNER_US : THREADS_OWNER_OTHER;
    f->socket.pid = pid;
    read_comm(pid, f->socket.comm, sizeof f->socket.comm);
    f->socket.is_sluice = !is_us && is_sluice(pid, f->socket.comm);
}

static int by_inode(const void *a, const void *b)
{
    unsigned long x = ((const struct found *)a)->inode, y = ((const struct found *)b)->inode;
    return x < y ? -1 : x > y;
}

/* In a sorted list; one without any socket has no items at all. */
static struct found *list_find(const struct found_list *list, unsigned long inode)
{
    struct found key = { .inode = inode };
    if (list->items == NULL) return NULL;
    return bsearch(&key, list->items, list->count, sizeof key, by_inode);
}

static void claim(struct found_list *list, unsigned long inode, int pid, bool is_us)
{
    struct found *f = list_find(list, inode);
    if (f == NULL || f->socket.owner != THREADS_OWNER_UNKNOWN) return;
    set_owner(f, pid, is_us);
    list->unowned--;
}

/* Every descriptor of a process that is a socket. A process we may not look into, or that is gone, claims nothing. */
static void claim_by_process(struct found_list *list, int pid, bool is_us)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    struct dirent *entry;
    while (list->unowned > 0 && (entry = readdir(dir)) != NULL) {
        char target[64];
        unsigned long inode;
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (len <= 0) continue;
        target[len] = '\0';
        if (sscanf(target, "socket:[%lu]", &inode) == 1) claim(list, inode, pid, is_us);
    }
    closedir(dir);
}

/* The kernel hands the table out in pieces, and under change a socket can be in two of them. */
static void sort_and_unite(struct found_list *list)
{
    size_t kept = 0;
    qsort(list->items, list->count, sizeof *list->items, by_inode);
    for (size_t i = 0; i < list->count; i++) {
        if (kept == 0 || list->items[kept - 1].inode != list->items[i].inode) list->items[kept++] = list->items[i];
    }
    list->count = list->unowned = kept;
}

static void find_owners(struct found_list *list)
{
    int us = (int)getpid();
    sort_and_unite(list);
    claim_by_process(list, us, true);
    if (list->unowned == 0) return;
    DIR *proc = opendir("/proc");
    if (proc == NULL) return;
    struct dirent *entry;
    while (list->unowned > 0 && (entry = readdir(proc)) != NULL) {
        int pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
        if (pid > 0 && pid != us) claim_by_process(list, pid, false);
    }
    closedir(proc);
}

static int read_tables(const struct remote_end *remote, struct found_list *list)
{
    int rv = read_table("/proc/net/tcp", remote, list);
    return rv == 0 ? read_table("/proc/net/tcp6", remote, list) : rv;
}

/* What has no owner and is not in the table any more is nobody's. */
static int drop_gone(const struct remote_end *remote, struct found_list *list)
{
    struct found_list now = { 0 };
    size_t kept = 0;
    int rv = read_tables(remote, &now);
    if (now.items != NULL) qsort(now.items, now.count, sizeof *now.items, by_inode);
    for (size_t i = 0; rv == 0 && i < list->count; i++) {
        const struct found *f = &list->items[i];
        if (f->socket.owner != THREADS_OWNER_UNKNOWN || list_find(&now, f->inode) != NULL) {
            list->items[kept++] = *f;
        } else {
            list->unowned--;
        }
    }
    if (rv == 0) list->count = kept;
    mem_free(now.items);
    return rv;
}

/*
 * A socket may be closed between the reading of the table and the search for its owner: nobody has it then, and that is not "an
 * owner that we may not see". Its descriptor goes first and the table's line a little later, when the closing thread gets on: so the
 * table is looked at again, a few times, for as long as there is anything without an owner.
 */
static int drop_closed(const struct remote_end *remote, struct found_list *list)
{
    uint64_t end_ms = upstream_now_ms() + CLOSING_LIMIT_MS;
    int rv = 0;
    for (int round = 0; rv == 0 && list->unowned > 0; round++) {
        if (round >= CLOSING_ROUNDS_MIN && upstream_now_ms() >= end_ms) break; /* a large table takes long to read */
        if (round > 0) nanosleep(&(struct timespec){ .tv_nsec = CLOSING_WAIT_NS }, NULL);
        rv = drop_gone(remote, list);
    }
    return rv;
}

static int copy_out(const struct found_list *list, struct threads_socket **out, size_t *out_count)
{
    struct threads_socket *sockets = NULL;
    if (list->items != NULL && list->count > 0) {
        sockets = mem_calloc(list->count, sizeof *sockets);
        if (sockets == NULL) return SLUICE_ERR_NOMEM;
        for (size_t i = 0; i < list->count; i++)
            sockets[i] = list->items[i].socket;
    }
    *out = sockets;
    *out_count = list->count;
    return 0;
}

int local_sockets_read(const struct sockaddr *remote, struct threads_socket **out, size_t *out_count)
{
    struct found_list list = { 0 };
    struct remote_end end;
    int rv = remote_end_of(remote, &end);
    if (rv == 0) rv = read_tables(&end, &list);
    if (rv == 0 && list.items != NULL) find_owners(&list);
    if (rv == 0) rv = drop_closed(&end, &list);
    if (rv == 0) rv = copy_out(&list, out, out_count);
    mem_free(list.items);
    return rv;
}
