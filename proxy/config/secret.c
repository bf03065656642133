/* SPDX-License-Identifier: Apache-2.0 */
/* secret.c - passwords and tokens come from files that only their owner can read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

enum { SECRET_LEN_MAX = 4096 };

static int refuse(char **out_reason, int code, const char *fmt, ...) SLUICE_PRINTF(3, 4);
static int refuse(char **out_reason, int code, const char *fmt, ...)
{
    char reason[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    char *kept = mem_strdup(reason);
    if (kept == NULL) return SLUICE_ERR_NOMEM;
    *out_reason = kept;
    return code;
}

/* The descriptor is looked at, not the path: what is judged is what is read. */
static int judge_file(int fd, const char *path, char **out_reason)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return refuse(out_reason, SLUICE_ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(out_reason, SLUICE_ERR_CONFIG, "%s is no regular file; name a file that holds the secret", path);
    if ((st.st_mode & 077) != 0)
        return refuse(out_reason, SLUICE_ERR_CONFIG,
                      "%s has mode %04o, others than its owner have access; run: chmod 600 %s", path,
                      (unsigned)(st.st_mode & 07777), path);
    return 0;
}

static int read_line(int fd, const char *path, char buf[SECRET_LEN_MAX + 1], char **out_reason)
{
    size_t len = 0;
    while (len < SECRET_LEN_MAX + 1) {
        ssize_t n = read(fd, buf + len, SECRET_LEN_MAX + 1 - len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return refuse(out_reason, SLUICE_ERR_IO, "%s: %s; see that it can be read", path, strerror(errno));
        if (n == 0) break;
        len += (size_t)n;
    }
    if (len > SECRET_LEN_MAX)
        return refuse(out_reason, SLUICE_ERR_CONFIG, "%s is longer than %d bytes; one line with the secret is expected",
                      path, SECRET_LEN_MAX);
    buf[len] = '\0';
    buf[strcspn(buf, "\r\n")] = '\0';
    if (buf[0] == '\0')
        return refuse(out_reason, SLUICE_ERR_CONFIG, "the first line of %s is empty; write the secret there", path);
    return 0;
}

int config_read_secret(const char *path, char **out, char **out_reason)
{
    char buf[SECRET_LEN_MAX + 1];
    char *kept = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not stop the start */
    if (fd < 0)
        return refuse(out_reason, SLUICE_ERR_IO,
                      "%s: %s; create the file, owned by the user that runs sluice, mode 0600", path, strerror(errno));
    int rv = judge_file(fd, path, out_reason);
    if (rv == 0) rv = read_line(fd, path, buf, out_reason);
    if (rv == 0) {
        kept = mem_strdup(buf);
        if (kept == NULL) rv = SLUICE_ERR_NOMEM;
    }
    explicit_bzero(buf, sizeof buf);
    close(fd);
    if (rv == 0) *out = kept;
    return rv;
}
