/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unseen.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/mem.h"

/* In front of the bytes, in a page that is not theirs. */
struct head {
    void *block;
    size_t len;
    bool is_hidden;
};

static atomic_uint hidden_count;

static size_t page_len(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t pages_of(size_t len)
{
    size_t page = page_len();
    return (len + page - 1) / page * page;
}

static struct head *head_of(uint8_t *bytes)
{
    return (struct head *)(void *)(bytes - sizeof(struct head));
}

static bool hide(uint8_t *bytes, size_t len)
{
    if (atomic_fetch_add(&hidden_count, 1) < UNSEEN_BLOCKS_MAX && madvise(bytes, pages_of(len), MADV_DONTDUMP) == 0)
        return true;
    atomic_fetch_sub(&hidden_count, 1);
    return false;
}

uint8_t *unseen_alloc(size_t len)
{
    size_t page = page_len();
    assert(len > 0);
    if (len > SIZE_MAX / 2) return NULL;
    uint8_t *block = mem_alloc(2 * page + pages_of(len));
    if (block == NULL) return NULL;
    uintptr_t first = (uintptr_t)block + sizeof(struct head);
    uint8_t *bytes = block + sizeof(struct head) + (page - first % page) % page;
    *head_of(bytes) = (struct head){ .block = block, .len = len, .is_hidden = hide(bytes, len) };
    return bytes;
}

void unseen_wipe(uint8_t *bytes, size_t len)
{
    explicit_bzero(bytes, len);
}

void unseen_free(uint8_t *bytes)
{
    if (bytes == NULL) return;
    const struct head head = *head_of(bytes);
    unseen_wipe(bytes, head.len);
    if (head.is_hidden) {
        (void)madvise(bytes, pages_of(head.len), MADV_DODUMP); /* its next owner has nothing to hide */
        atomic_fetch_sub(&hidden_count, 1);
    }
    mem_free(head.block);
}
