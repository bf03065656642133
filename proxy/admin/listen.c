/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/listen.h"
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"

enum { BACKLOG = 128 };

static int open_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* True when a listener accepts, or would if its queue were not full. */
static int somebody_listens(const struct sockaddr_un *address)
{
    int fd = open_socket(AF_UNIX);
    if (fd < 0) return 1; /* not known: then nothing is removed */
    int rv = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int is_refused = rv != 0 && errno == ECONNREFUSED;
    close(fd);
    return !is_refused;
}

/* Make room at |path|: 0 when a stale socket was removed. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat st;
    const char *path = address->sun_path;
    if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : SLUICE_ERR_IO;
    if (!S_ISSOCK(st.st_mode)) {
        log_error("the path of the admin socket is something else than a socket", LOG_STR("path", path),
                  LOG_STR("hint", "remove it, or set admin.socket to another path"));
        return SLUICE_ERR_IO;
    }
    if (somebody_listens(address)) {
        log_error("another process listens on the admin socket", LOG_STR("path", path),
                  LOG_STR("hint", "stop the other sluice, or give this one an admin.socket of its own"));
        return SLUICE_ERR_BUSY;
    }
    if (unlink(path) != 0) {
        log_error("a stale admin socket cannot be removed", LOG_STR("path", path), LOG_STR("error", strerror(errno)));
        return SLUICE_ERR_IO;
    }
    log_info("removed a stale admin socket", LOG_STR("path", path));
    return 0;
}

static int bind_unix(int fd, const struct sockaddr_un *address)
{
    /* On Linux bind() takes the file's mode from the socket's inode, so that it is never wider for a moment. */
    if (fchmod(fd, 0600) != 0) return SLUICE_ERR_IO;
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0) return 0;
    if (errno == EADDRINUSE) {
        int rv = remove_stale(address);
        if (rv != 0) return rv;
        if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0) return 0;
    }
    log_error("the admin socket cannot be bound", LOG_STR("path", address->sun_path), LOG_STR("error", strerror(errno)),
              LOG_STR("hint", "its folder must exist and be writable for the user that sluice runs as"));
    return SLUICE_ERR_IO;
}

static int open_unix(const char *path, struct admin_listener *out)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path) {
        log_error("the path of the admin socket is empty or too long", LOG_STR("path", path), LOG_U64("bytes", len),
                  LOG_U64("bytes_max", sizeof address.sun_path - 1),
                  LOG_STR("hint", "set admin.socket to a shorter path"));
        return SLUICE_ERR_CONFIG;
    }
    memcpy(address.sun_path, path, len);
    char *copy = mem_strdup(path);
    if (copy == NULL) return SLUICE_ERR_NOMEM;
    int rv = SLUICE_ERR_IO;
    int fd = open_socket(AF_UNIX);
    if (fd < 0) goto err_after_strdup;
    rv = bind_unix(fd, &address);
    if (rv != 0) goto err_after_socket;
    rv = SLUICE_ERR_IO;
    if (chmod(path, 0600) != 0 || lstat(path, &st) != 0 || listen(fd, BACKLOG) != 0) goto err_after_bind;
    *out = (struct admin_listener){ .fd = fd, .path = copy, .dev = st.st_dev, .ino = st.st_ino };
    return 0;

err_after_bind:
    log_error("the admin socket cannot be listened on", LOG_STR("path", path), LOG_STR("error", strerror(errno)));
    unlink(path);
err_after_socket:
    close(fd);
err_after_strdup:
    mem_free(copy);
    assert(rv != 0);
    return rv;
}

/* 0 and a listening socket, or an errno. */
static int try_address(const struct addrinfo *ai, int *out_fd)
{
    int one = 1;
    int fd = open_socket(ai->ai_family);
    if (fd < 0) return errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0) {
        *out_fd = fd;
        return 0;
    }
    int error = errno;
    close(fd);
    return error;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char port[8] = "0";
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0) return 0;
    if (getnameinfo((struct sockaddr *)&bound, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0) return 0;
    unsigned value = 0;
    sscanf(port, "%u", &value);
    return (uint16_t)value;
}

static int open_tcp(const struct config_address *listen, struct admin_listener *out)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)listen->port);
    int rv = getaddrinfo(listen->host, port, &hints, &found);
    if (rv != 0) {
        log_error("admin.listen cannot be resolved", LOG_STR("host", listen->host), LOG_STR("error", gai_strerror(rv)));
        return SLUICE_ERR_IO;
    }
    int fd = -1;
    int error = ENOENT;
    for (const struct addrinfo *ai = found; ai != NULL && fd < 0; ai = ai->ai_next)
        error = try_address(ai, &fd);
    freeaddrinfo(found);
    if (fd < 0) {
        log_error("admin.listen cannot be listened on", LOG_STR("host", listen->host), LOG_U64("port", listen->port),
                  LOG_STR("error", strerror(error)), LOG_STR("hint", "is another process on that port?"));
        return error == EADDRINUSE ? SLUICE_ERR_BUSY : SLUICE_ERR_IO;
    }
    *out = (struct admin_listener){ .fd = fd, .port = port_of(fd) };
    return 0;
}

int admin_listener_open(const struct config_admin *config, struct admin_listener *out)
{
    if (config->socket != NULL) return open_unix(config->socket, out);
    if (config->listen.host == NULL) {
        log_error("admin has neither socket nor listen", LOG_STR("hint", "set admin.socket to a path"));
        return SLUICE_ERR_CONFIG;
    }
    if (config->token == NULL && !config->insecure) {
        log_error("admin.listen without a token", LOG_STR("hint", "set admin.token-file, or admin.insecure: true"));
        return SLUICE_ERR_CONFIG;
    }
    if (config->token != NULL && config->token[0] == '\0') {
        log_error("the admin token is empty", LOG_STR("hint", "write one into admin.token-file"));
        return SLUICE_ERR_CONFIG;
    }
    return open_tcp(&config->listen, out);
}

void admin_listener_close(struct admin_listener *l)
{
    struct stat st;
    if (l->path != NULL && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino) unlink(l->path);
    if (l->fd >= 0) close(l->fd);
    mem_free(l->path);
    *l = (struct admin_listener){ .fd = -1 };
}
