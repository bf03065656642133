/* SPDX-License-Identifier: Apache-2.0 */
#include "net/legs.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/error.h"
#include "core/mem.h"

/*
 * The file: one header, then slots. Native byte order: it never leaves its machine. A slot's fields are stored first and its
 * state last, so kill -9 at any instant leaves a slot that is free or whole.
 */
#define LEGS_MAGIC "SLUICELG"
enum { LEGS_VERSION = 1, LEGS_SLOTS_MAX = 2 * LEGS_CAPACITY_MAX };

struct file_header {
    char magic[8];
    uint32_t version;
    uint32_t slot_bytes;
    uint32_t slot_count;
    uint32_t unused[11];
};

enum slot_state { SLOT_FREE = 0, SLOT_OPEN = 0x4c454721 };

struct file_slot {
    _Atomic uint32_t state;
    uint16_t port;
    char server_uuid[LEGS_UUID_LEN + 1];
    char host[LEGS_HOST_LEN + 1];
    uint64_t epoch;
    uint64_t thread_id;
    uint8_t told[16];    /* files of versions without it have zeros here: nothing was told */
    uint16_t told_port;  /* host byte order */
    uint8_t told_family; /* enum network_family */
    uint8_t unused[5];
};

_Static_assert(sizeof(struct file_header) == 64, "the header's size is part of the format");
_Static_assert(sizeof(struct file_slot) == 136, "the slot's size is part of the format");

enum slot_owner { OWNER_NONE, OWNER_US, OWNER_DEAD };

struct legs {
    int fd;
    void *map;
    size_t map_bytes;
    struct file_slot *slots;
    uint8_t *owners;      /* enum slot_owner, one a slot */
    uint32_t *free_slots; /* a stack */
    uint32_t slot_count, free_count;
    uint32_t capacity, open_count, leftover_count;
};

static size_t bytes_for(uint32_t slot_count)
{
    return sizeof(struct file_header) + (size_t)slot_count * sizeof(struct file_slot);
}

static int fail(struct text *out_error, const char *path, const char *what, int sys_errno, const char *hint)
{
    if (out_error != NULL) text_printf(out_error, "%s: %s: %s; %s", path, what, strerror(sys_errno), hint);
    return SLUICE_ERR_IO;
}

static bool is_ended(const char *s, size_t room)
{
    return memchr(s, '\0', room) != NULL;
}

static bool slot_is_sane(const struct file_slot *slot)
{
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
    if (state == SLOT_FREE) return true;
    return state == SLOT_OPEN && slot->told_family <= NETWORK_INET6 &&
           is_ended(slot->server_uuid, sizeof slot->server_uuid) && is_ended(slot->host, sizeof slot->host) &&
           strlen(slot->server_uuid) == LEGS_UUID_LEN;
}

static bool header_is_sane(const struct file_header *h, size_t file_bytes)
{
    return memcmp(h->magic, LEGS_MAGIC, sizeof h->magic) == 0 && h->version == LEGS_VERSION &&
           h->slot_bytes == sizeof(struct file_slot) && h->slot_count >= 1 && h->slot_count <= LEGS_SLOTS_MAX &&
           file_bytes >= bytes_for(h->slot_count); /* more: killed while the file was growing */
}

/* Maps what is there. Left-overs are counted; SLUICE_ERR_SYNTAX: not a file of ours. */
static int map_existing(struct legs *legs, size_t file_bytes)
{
    if (file_bytes < sizeof(struct file_header)) return SLUICE_ERR_SYNTAX;
    void *map = mmap(NULL, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, legs->fd, 0);
    if (map == MAP_FAILED) return SLUICE_ERR_IO;
    const struct file_header *h = map;
    bool is_sane = header_is_sane(h, file_bytes);
    struct file_slot *slots = (struct file_slot *)((char *)map + sizeof *h);
    uint32_t leftovers = 0;
    for (uint32_t i = 0; is_sane && i < h->slot_count; i++) {
        is_sane = slot_is_sane(&slots[i]);
        if (atomic_load_explicit(&slots[i].state, memory_order_relaxed) == SLOT_OPEN) leftovers++;
    }
    if (!is_sane) {
        munmap(map, file_bytes);
        return SLUICE_ERR_SYNTAX;
    }
    legs->map = map;
    legs->map_bytes = file_bytes;
    legs->slots = slots;
    legs->slot_count = h->slot_count;
    legs->leftover_count = leftovers;
    return 0;
}

/* The file gets room for |slot_count| slots, on disk: a store to a page that the disk has no room for is SIGBUS. */
static int grow_to(struct legs *legs, uint32_t slot_count)
{
    size_t bytes = bytes_for(slot_count);
    int rv = posix_fallocate(legs->fd, 0, (off_t)bytes);
    if (rv != 0) return rv;
    if (legs->map != NULL) munmap(legs->map, legs->map_bytes);
    legs->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, legs->fd, 0);
    if (legs->map == MAP_FAILED) {
        legs->map = NULL;
        return errno;
    }
    legs->map_bytes = bytes;
    legs->slots = (struct file_slot *)((char *)legs->map + sizeof(struct file_header));
    legs->slot_count = slot_count;
    struct file_header *h = legs->map;
    h->version = LEGS_VERSION;
    h->slot_bytes = sizeof(struct file_slot);
    h->slot_count = slot_count;
    memcpy(h->magic, LEGS_MAGIC, sizeof h->magic);
    return 0;
}

static int index_slots(struct legs *legs)
{
    legs->owners = mem_calloc(legs->slot_count, sizeof *legs->owners);
    legs->free_slots = mem_calloc(legs->slot_count, sizeof *legs->free_slots);
    if (legs->owners == NULL || legs->free_slots == NULL) return SLUICE_ERR_NOMEM;
    for (uint32_t i = legs->slot_count; i-- > 0;) { /* backwards, so that low slots are used first */
        if (atomic_load_explicit(&legs->slots[i].state, memory_order_relaxed) == SLOT_OPEN) {
            legs->owners[i] = OWNER_DEAD;
        } else {
            legs->free_slots[legs->free_count++] = i;
        }
    }
    return 0;
}

/* Opened and locked. The lock is checked to be on the file that the path still names. */
static int open_locked(const char *path, int *out_fd, size_t *out_bytes, bool *out_is_new, struct text *out_error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool is_new = fd < 0 && errno == ENOENT;
    if (is_new) fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_CREAT, 0600);
    if (fd < 0) return fail(out_error, path, "open", errno, "check state-dir and who owns it");
    struct stat st;
    int rv = SLUICE_ERR_IO;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rv = errno == EWOULDBLOCK ? SLUICE_ERR_BUSY : SLUICE_ERR_IO;
        fail(out_error, path, "lock", errno, "another sluice may be running on this state-dir");
    } else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        fail(out_error, path, "not a regular file", EINVAL, "move it away");
    } else {
        *out_fd = fd;
        *out_bytes = (size_t)st.st_size;
        *out_is_new = is_new || st.st_size == 0;
        return 0;
    }
    close(fd);
    return rv;
}

/*
 * What cannot be read is kept beside for a person to look at. A file of size zero is what a kill between creating and filling
 * it leaves: nothing had been opened by then.
 */
static int set_aside(const char *path, int *fd, struct text *out_error)
{
    char aside[4096];
    size_t bytes;
    bool is_new;
    int len = snprintf(aside, sizeof aside, "%s.damaged", path);
    if (len < 0 || (size_t)len >= sizeof aside) return fail(out_error, path, "name", ENAMETOOLONG, "shorten state-dir");
    if (rename(path, aside) != 0) return fail(out_error, path, "rename to .damaged", errno, "check state-dir");
    int old_fd = *fd;
    *fd = -1;
    int rv = open_locked(path, fd, &bytes, &is_new, out_error);
    close(old_fd);
    return rv;
}

static int load(struct legs *legs, const char *path, size_t bytes, bool is_new, enum legs_found *out_found,
                struct text *out_error)
{
    *out_found = LEGS_FOUND_NOTHING;
    if (!is_new) {
        int rv = map_existing(legs, bytes);
        if (rv == SLUICE_ERR_IO) return fail(out_error, path, "mmap", errno, "check the limits on memory");
        *out_found = rv != 0                    ? LEGS_FOUND_UNREADABLE
                     : legs->leftover_count > 0 ? LEGS_FOUND_LEFTOVERS
                                                : LEGS_FOUND_CLEAN;
        if (rv != 0 && set_aside(path, &legs->fd, out_error) != 0) return SLUICE_ERR_IO;
    }
    uint32_t needed = legs->capacity + legs->leftover_count;
    if (needed < legs->slot_count) needed = legs->slot_count;
    if (needed > LEGS_SLOTS_MAX)
        return fail(out_error, path, "too many left-overs", E2BIG, "clear the backends' threads");
    if (legs->map == NULL || needed > legs->slot_count) {
        int sys_errno = grow_to(legs, needed);
        if (sys_errno != 0)
            return fail(out_error, path, "reserve space", sys_errno, "check the free space of state-dir");
    }
    return index_slots(legs);
}

int legs_open(const char *path, uint32_t capacity, struct legs **out, enum legs_found *out_found,
              struct text *out_error)
{
    assert(capacity >= 1 && capacity <= LEGS_CAPACITY_MAX);
    size_t bytes = 0;
    bool is_new = false;
    enum legs_found found;
    struct legs *legs = mem_calloc(1, sizeof *legs);
    if (legs == NULL) return SLUICE_ERR_NOMEM;
    legs->fd = -1;
    legs->capacity = capacity;
    int rv = open_locked(path, &legs->fd, &bytes, &is_new, out_error);
    if (rv == 0) rv = load(legs, path, bytes, is_new, &found, out_error);
    if (rv != 0) {
        legs_close(legs);
        return rv;
    }
    *out = legs;
    *out_found = found;
    return 0;
}

void legs_close(struct legs *legs)
{
    if (legs == NULL) return;
    if (legs->map != NULL) munmap(legs->map, legs->map_bytes);
    if (legs->fd >= 0) close(legs->fd); /* and with it the lock */
    mem_free(legs->owners);
    mem_free(legs->free_slots);
    mem_free(legs);
}

static void record_from_slot(const struct file_slot *slot, struct legs_record *out)
{
    *out = (struct legs_record){ .thread_id = slot->thread_id, .port = slot->port, .epoch = slot->epoch };
    memcpy(out->server_uuid, slot->server_uuid, sizeof out->server_uuid);
    memcpy(out->host, slot->host, sizeof out->host);
    if (slot->told_family != NETWORK_NONE)
        network_address_set((enum network_family)slot->told_family, slot->told, slot->told_port, &out->told);
}

void legs_each_leftover(const struct legs *legs, legs_leftover_fn fn, void *arg)
{
    for (uint32_t i = 0; i < legs->slot_count; i++) {
        struct legs_record record;
        if (legs->owners[i] != OWNER_DEAD) continue;
        record_from_slot(&legs->slots[i], &record);
        if (!fn(arg, i, &record)) return;
    }
}

uint32_t legs_leftover_count(const struct legs *legs)
{
    return legs->leftover_count;
}

static void free_slot(struct legs *legs, uint32_t slot)
{
    atomic_store_explicit(&legs->slots[slot].state, SLOT_FREE, memory_order_release);
    legs->owners[slot] = OWNER_NONE;
    assert(legs->free_count < legs->slot_count);
    legs->free_slots[legs->free_count++] = slot;
}

void legs_forget_leftover(struct legs *legs, uint32_t slot)
{
    if (slot >= legs->slot_count || legs->owners[slot] != OWNER_DEAD) return;
    legs->leftover_count--;
    free_slot(legs, slot);
}

uint32_t legs_forget_leftovers_of(struct legs *legs, const char *server_uuid)
{
    uint32_t forgotten = 0;
    for (uint32_t i = 0; i < legs->slot_count; i++) {
        if (legs->owners[i] != OWNER_DEAD || strcmp(legs->slots[i].server_uuid, server_uuid) != 0) continue;
        legs_forget_leftover(legs, i);
        forgotten++;
    }
    return forgotten;
}

int legs_add(struct legs *legs, const struct legs_record *record, uint32_t *out_slot)
{
    assert(strlen(record->server_uuid) == LEGS_UUID_LEN);
    if (legs->open_count >= legs->capacity) return SLUICE_ERR_SESSIONS_FULL;
    assert(legs->free_count > 0); /* the file holds capacity + left-overs */
    uint32_t i = legs->free_slots[--legs->free_count];
    struct file_slot *slot = &legs->slots[i];
    assert(legs->owners[i] == OWNER_NONE);
    memcpy(slot->server_uuid, record->server_uuid, sizeof slot->server_uuid);
    memset(slot->host, 0, sizeof slot->host); /* all of it: legs_set_address() may be cut short by a kill */
    memcpy(slot->host, record->host, strnlen(record->host, LEGS_HOST_LEN));
    slot->port = record->port;
    slot->thread_id = record->thread_id;
    slot->epoch = record->epoch;
    memcpy(slot->told, record->told.bytes, sizeof slot->told);
    slot->told_port = record->told.port;
    slot->told_family = (uint8_t)record->told.family;
    atomic_store_explicit(&slot->state, SLOT_OPEN, memory_order_release);
    legs->owners[i] = OWNER_US;
    legs->open_count++;
    *out_slot = i;
    return 0;
}

void legs_set_address(struct legs *legs, uint32_t slot, const char *host, uint16_t port)
{
    assert(slot < legs->slot_count && legs->owners[slot] == OWNER_US);
    struct file_slot *s = &legs->slots[slot];
    size_t len = strnlen(host, LEGS_HOST_LEN);
    memcpy(s->host, host, len);
    s->host[len] = '\0';
    atomic_signal_fence(memory_order_seq_cst);
    s->port = port; /* a port says that the host is whole */
}

void legs_set_thread(struct legs *legs, uint32_t slot, uint64_t thread_id)
{
    assert(slot < legs->slot_count && legs->owners[slot] == OWNER_US);
    legs->slots[slot].thread_id = thread_id;
}

void legs_remove(struct legs *legs, uint32_t slot)
{
    assert(slot < legs->slot_count && legs->owners[slot] == OWNER_US);
    legs->open_count--;
    free_slot(legs, slot);
}

uint32_t legs_open_count(const struct legs *legs)
{
    return legs->open_count;
}
