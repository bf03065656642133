/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/vfs_fault.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/error.h"
#include "core/text.h"

/* A piece of a file that was written and not synced since. */
struct range {
    sqlite3_int64 at;
    int len;
};

/* A file of the shim's: SQLite's view of it, and behind this struct the real one. */
struct fault_file {
    sqlite3_file base;
    const char *name; /* SQLite's; NULL for a temporary file */
    sqlite3_file *real;
    struct range *unsynced; /* kept while there is a shadow */
    size_t unsynced_count;
};

static sqlite3_vfs shim;
static sqlite3_vfs *root;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct vfs_fault armed;
static uint64_t armed_seen, armed_fired;
static uint64_t counts[VFS_FAULT_OP_COUNT];
static char shadow_dir[256];
static char pragma_name[64], pragma_value[64];

static _Noreturn void crash(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static enum vfs_fault_action hit(enum vfs_fault_op op)
{
    enum vfs_fault_action action = VFS_FAULT_NONE;
    pthread_mutex_lock(&lock);
    counts[op]++;
    if (armed.action != VFS_FAULT_NONE && armed.op == op &&
        (armed.arm_file[0] == '\0' || access(armed.arm_file, F_OK) == 0)) {
        armed_seen++;
        if (armed_seen == armed.nth || (armed.is_lasting && armed_seen > armed.nth)) action = armed.action;
        if (action != VFS_FAULT_NONE) armed_fired++;
    }
    pthread_mutex_unlock(&lock);
    if (action == VFS_FAULT_CRASH_BEFORE) crash();
    return action;
}

/* SQLITE_OK when the operation is to be done; else the code, with errno set as the disk would. */
static int fail_code(enum vfs_fault_action action, int eio_code)
{
    if (action == VFS_FAULT_EIO) {
        errno = EIO;
        return eio_code;
    }
    if (action == VFS_FAULT_ENOSPC) {
        errno = ENOSPC;
        return eio_code == SQLITE_IOERR_WRITE ? SQLITE_FULL : eio_code; /* as SQLite's own VFS tells them apart */
    }
    return SQLITE_OK;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct fault_file *)f)->real;
}

static void shadow_path(char *out, size_t size, const char *name)
{
    const char *base = strrchr(name, '/');
    snprintf(out, size, "%.255s/%.100s", shadow_dir, base == NULL ? name : base + 1);
}

static bool shadow_is_on(const struct fault_file *f)
{
    return shadow_dir[0] != '\0' && f->name != NULL;
}

/* Read through the open file: another descriptor's close would drop SQLite's locks. The shim's own troubles end the test. */
static void shadow_copy(struct fault_file *f, FILE *out, sqlite3_int64 at, sqlite3_int64 end)
{
    char block[4096];
    while (at < end) {
        size_t len = end - at < (sqlite3_int64)sizeof block ? (size_t)(end - at) : sizeof block;
        if (f->real->pMethods->xRead(f->real, block, (int)len, at) != SQLITE_OK) abort();
        if (fseek(out, (long)at, SEEK_SET) != 0 || fwrite(block, 1, len, out) != len) abort();
        at += (sqlite3_int64)len;
    }
}

static sqlite3_int64 real_size(const struct fault_file *f)
{
    sqlite3_int64 size = 0;
    assert(f->real->pMethods != NULL); /* it was opened */
    if (f->real->pMethods->xFileSize(f->real, &size) != SQLITE_OK) abort();
    return size;
}

/* What is there when the shim first sees a file is taken as durable. */
static void shadow_begin(struct fault_file *f)
{
    char path[512];
    shadow_path(path, sizeof path, f->name);
    if (access(path, F_OK) == 0) return;
    FILE *out = fopen(path, "wb");
    if (out == NULL) abort();
    shadow_copy(f, out, 0, real_size(f));
    if (fclose(out) != 0) abort();
}

static void shadow_note(struct fault_file *f, sqlite3_int64 at, int len)
{
    if (!shadow_is_on(f)) return;
    struct range *grown = realloc(f->unsynced, (f->unsynced_count + 1) * sizeof *grown);
    if (grown == NULL) abort();
    f->unsynced = grown;
    f->unsynced[f->unsynced_count++] = (struct range){ .at = at, .len = len };
}

/*
 * After a failed sync the kernel takes the pages for clean: what was written before is lost unless it is written again, and the
 * next sync says nothing of it (seen with ext4 and others).
 */
static void shadow_sync(struct fault_file *f, bool is_done)
{
    if (!shadow_is_on(f)) return;
    if (is_done) {
        char path[512];
        shadow_path(path, sizeof path, f->name);
        FILE *out = fopen(path, "r+b");
        sqlite3_int64 size = real_size(f);
        if (out == NULL) abort();
        for (size_t i = 0; i < f->unsynced_count; i++) {
            sqlite3_int64 end = f->unsynced[i].at + f->unsynced[i].len;
            shadow_copy(f, out, f->unsynced[i].at, end < size ? end : size);
        }
        if (fflush(out) != 0 || ftruncate(fileno(out), size) != 0 || fclose(out) != 0) abort();
    }
    f->unsynced_count = 0;
}

/* ---- a file ---- */

static int file_close(sqlite3_file *f)
{
    free(((struct fault_file *)f)->unsynced);
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_read(sqlite3_file *f, void *data, int len, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), data, len, at);
}

static int file_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 at)
{
    enum vfs_fault_action action = hit(VFS_FAULT_WRITE);
    int rc = fail_code(action, SQLITE_IOERR_WRITE);
    if (rc != SQLITE_OK) {
        int code = errno;
        if (len > 1) real_of(f)->pMethods->xWrite(real_of(f), data, len / 2, at);
        shadow_note((struct fault_file *)f, at, len / 2);
        errno = code;
        return rc;
    }
    rc = real_of(f)->pMethods->xWrite(real_of(f), data, len, at);
    shadow_note((struct fault_file *)f, at, len);
    if (action == VFS_FAULT_CRASH_AFTER) crash();
    return rc;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    enum vfs_fault_action action = hit(VFS_FAULT_TRUNCATE);
    int rc = fail_code(action, SQLITE_IOERR_TRUNCATE);
    if (rc != SQLITE_OK) return rc;
    rc = real_of(f)->pMethods->xTruncate(real_of(f), size);
    if (action == VFS_FAULT_CRASH_AFTER) crash();
    return rc;
}

static int file_sync(sqlite3_file *f, int flags)
{
    enum vfs_fault_action action = hit(VFS_FAULT_SYNC);
    int rc = fail_code(action, SQLITE_IOERR_FSYNC);
    int code = errno;
    if (rc == SQLITE_OK) rc = real_of(f)->pMethods->xSync(real_of(f), flags);
    shadow_sync((struct fault_file *)f, rc == SQLITE_OK);
    if (action == VFS_FAULT_EIO || action == VFS_FAULT_ENOSPC) errno = code;
    if (action == VFS_FAULT_CRASH_AFTER) crash();
    return rc;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int file_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int file_check_lock(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    if (op == SQLITE_FCNTL_PRAGMA && pragma_name[0] != '\0') {
        char **words = arg; /* [1] its name; [0] takes the answer */
        if (strcmp(words[1], pragma_name) == 0) {
            words[0] = sqlite3_mprintf("%s", pragma_value);
            return SQLITE_OK;
        }
    }
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_characteristics(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int file_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int file_shm_unmap(sqlite3_file *f, int is_delete)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), is_delete);
}

/* Version 2: without xFetch SQLite maps no file, and all writes come by here. */
static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    struct fault_file *file = (struct fault_file *)f;
    (void)vfs;
    *file = (struct fault_file){ .name = name, .real = (sqlite3_file *)(file + 1) };
    int rc = root->xOpen(root, name, file->real, flags, out_flags);
    file->base.pMethods = file->real->pMethods == NULL ? NULL : &file_methods;
    if (rc == SQLITE_OK && shadow_is_on(file)) shadow_begin(file);
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    int rc = root->xDelete(root, name, sync_dir);
    if (rc == SQLITE_OK && shadow_dir[0] != '\0') {
        char path[512];
        shadow_path(path, sizeof path, name);
        unlink(path);
    }
    return rc;
}

int vfs_fault_install(void)
{
    if (root != NULL) return 0;
    sqlite3_vfs *found = sqlite3_vfs_find(NULL);
    if (found == NULL) return SLUICE_ERR_IO;
    shim =
        *found; /* all that is not ours goes to the same functions; they look at no field of their first argument but pAppData */
    shim.pNext = NULL;
    shim.zName = "sluice-fault";
    shim.szOsFile = found->szOsFile + (int)sizeof(struct fault_file);
    shim.xOpen = vfs_open;
    shim.xDelete = vfs_delete;
    if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK) return SLUICE_ERR_IO;
    root = found;
    return 0;
}

static int find_word(const char *const *words, int count, const char *text, size_t len)
{
    for (int i = 0; i < count; i++) {
        if (words[i] != NULL && strlen(words[i]) == len && memcmp(words[i], text, len) == 0) return i;
    }
    return -1;
}

int vfs_fault_parse(const char *spec, struct vfs_fault *out)
{
    static const char *const ops[] = { "sync", "write", "truncate" };
    static const char *const actions[] = { NULL, "eio", "enospc", "crash-before", "crash-after" };
    size_t op_len = strcspn(spec, ":");
    int op = find_word(ops, ARRAY_LEN(ops), spec, op_len);
    if (op < 0 || spec[op_len] != ':') return SLUICE_ERR_INVALID;
    char *end = NULL;
    unsigned long long nth = strtoull(spec + op_len + 1, &end, 10);
    bool is_lasting = *end == '+';
    if (is_lasting) end++;
    if (nth == 0 || *end != ':') return SLUICE_ERR_INVALID;
    const char *word = end + 1;
    size_t len = strcspn(word, ":");
    int action = find_word(actions, ARRAY_LEN(actions), word, len);
    if (action < 0) return SLUICE_ERR_INVALID;
    const char *file = word[len] == ':' ? word + len + 1 : "";
    *out = (struct vfs_fault){
        .op = (enum vfs_fault_op)op, .nth = nth, .is_lasting = is_lasting, .action = (enum vfs_fault_action)action
    };
    int need = snprintf(out->arm_file, sizeof out->arm_file, "%s", file);
    return need < (int)sizeof out->arm_file ? 0 : SLUICE_ERR_INVALID;
}

int vfs_fault_install_from_environment(struct text *error)
{
    const char *spec = getenv("SLUICE_FAULT_DISK");
    if (spec == NULL || spec[0] == '\0') return 0;
    struct vfs_fault fault;
    int rv = vfs_fault_parse(spec, &fault);
    if (rv == 0) rv = vfs_fault_install();
    if (rv == 0) {
        vfs_fault_arm(&fault);
    } else {
        text_printf(error, "SLUICE_FAULT_DISK=%s: not understood; see journal/vfs_fault.h", spec);
    }
    return rv;
}

void vfs_fault_arm(const struct vfs_fault *fault)
{
    pthread_mutex_lock(&lock);
    armed = fault == NULL ? (struct vfs_fault){ 0 } : *fault;
    armed_seen = armed_fired = 0;
    pthread_mutex_unlock(&lock);
}

uint64_t vfs_fault_count(enum vfs_fault_op op)
{
    pthread_mutex_lock(&lock);
    uint64_t count = counts[op];
    pthread_mutex_unlock(&lock);
    return count;
}

uint64_t vfs_fault_fired(void)
{
    pthread_mutex_lock(&lock);
    uint64_t fired = armed_fired;
    pthread_mutex_unlock(&lock);
    return fired;
}

void vfs_fault_shadow(const char *dir)
{
    snprintf(shadow_dir, sizeof shadow_dir, "%s", dir == NULL ? "" : dir);
}

void vfs_fault_pragma(const char *name, const char *value)
{
    snprintf(pragma_name, sizeof pragma_name, "%s", name == NULL ? "" : name);
    snprintf(pragma_value, sizeof pragma_value, "%s", name == NULL ? "" : value);
}
