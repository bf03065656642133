/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/statedir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/error.h"
#include "core/text.h"

/* What an operator can do about an errno of the disk. */
static const char *hint(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT: return "make room on its file system";
    case EROFS: return "its file system is mounted read-only";
    case EACCES:
    case EPERM: return "it must belong to the user that runs sluice and be writable for it";
    case ENOENT: return "its parent directory must exist";
    case ENOTDIR: return "it must be a directory, and so must all above it";
    default: return "see the kernel's log";
    }
}

static int fail(struct text *error, const char *path, const char *what, int code)
{
    text_printf(error, "state-dir %s: cannot %s: %s; %s", path, what, strerror(code), hint(code));
    return SLUICE_ERR_IO;
}

int statedir_sync(const char *path, struct text *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(error, path, "open it", errno);
    int code = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return code == 0 ? 0 : fail(error, path, "sync it", code);
}

static int sync_parent(const char *path, struct text *error)
{
    struct text parent = TEXT_INIT;
    text_puts(&parent, path);
    text_puts(&parent, "/..");
    int rv = parent.status != 0 ? parent.status : statedir_sync(text_str(&parent), error);
    text_free(&parent);
    return rv;
}

static int make(const char *path, struct text *error)
{
    if (mkdir(path, 0700) == 0) return sync_parent(path, error);
    int code = errno;
    struct stat st;
    if (code == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return 0;
    return fail(error, path, "create it", code == EEXIST ? ENOTDIR : code);
}

/* The holder writes its pid after it has the lock, so for an instant there may be none. */
static int tell_holder(const char *path, int fd, struct text *error)
{
    char pid[16] = "";
    ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
    pid[len < 0 ? 0 : len] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    text_printf(
        error,
        "state-dir %s: in use by another sluice (process %s); stop that one first, or give this one a state-dir "
        "of its own",
        path, pid[0] == '\0' ? "unknown" : pid);
    return SLUICE_ERR_BUSY;
}

/* The pid is for the message alone: the lock is what counts, so a disk too full for it is no reason to end here. */
static void write_pid(int fd)
{
    char pid[16];
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0) return;
    ssize_t written = pwrite(fd, pid, (size_t)len, 0);
    (void)written;
}

int statedir_take(const char *path, int *out_fd, struct text *error)
{
    int rv = make(path, error);
    if (rv != 0) return rv;
    struct text file = TEXT_INIT;
    text_printf(&file, "%s/lock", path);
    if (file.status != 0) return file.status;
    int fd = open(text_str(&file), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code = errno;
    text_free(&file);
    if (fd < 0) return fail(error, path, "write in it", code);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        code = errno;
        rv = code == EWOULDBLOCK ? tell_holder(path, fd, error) : fail(error, path, "lock it", code);
        close(fd);
        return rv;
    }
    write_pid(fd);
    *out_fd = fd;
    return 0;
}

void statedir_drop(int fd)
{
    close(fd);
}
