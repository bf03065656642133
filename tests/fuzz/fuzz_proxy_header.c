/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_proxy_header.c - what a peer of a listed network sends first. Three readers see it: all at once, byte by byte, and as the proxy
 * reads, never more than is wanted. They must agree on all of it, and what is whole must survive being written and read again.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "core/error.h"
#include "core/proxy_header.h"
#include "fuzz.h"

/* Returns how many bytes it took. |piece| 0: as many as it wants. */
static size_t feed(struct proxy_header_reader *r, const uint8_t *data, size_t size, size_t piece)
{
    size_t at = 0;
    for (;;) {
        size_t used = 0, left = size - at, len = piece == 0 ? proxy_header_want(r) : piece;
        if (left == 0 || len == 0) return at;
        if (len > left) len = left;
        uint8_t *exact = malloc(len); /* so that the sanitizer sees a byte too many */
        FUZZ_CHECK(exact != NULL);
        memcpy(exact, data + at, len);
        int rv = proxy_header_feed(r, exact, len, &used);
        free(exact);
        at += used;
        FUZZ_CHECK((rv == 0) == (r->fault == PROXY_HEADER_FINE) && used <= len);
        FUZZ_CHECK(at <= PROXY_HEADER_V2_LEN_MAX);
        if (rv != 0 || r->is_whole) return at;
        FUZZ_CHECK(used == len);
    }
}

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->version == b->version && a->is_local == b->is_local && network_address_same(&a->source, &b->source) &&
           network_address_same(&a->destination, &b->destination);
}

static void write_and_read(const struct proxy_header *h)
{
    uint8_t out[PROXY_HEADER_WRITTEN_LEN_MAX];
    for (unsigned version = 1; version <= 2; version++) {
        struct proxy_header_reader r = { 0 };
        size_t len = proxy_header_write(version, &h->source, &h->destination, out);
        FUZZ_CHECK(feed(&r, out, len, 1) == len && r.is_whole);
        FUZZ_CHECK(network_address_same(&r.header.source, &h->source));
        FUZZ_CHECK(network_address_same(&r.header.destination, &h->destination));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header_reader all = { 0 }, each = { 0 }, wanted = { 0 };
    size_t used = feed(&all, data, size, size == 0 ? 1 : size);
    FUZZ_CHECK(feed(&each, data, size, 1) == used);
    FUZZ_CHECK(feed(&wanted, data, size, 0) == used);
    FUZZ_CHECK(all.fault == each.fault && all.fault == wanted.fault);
    FUZZ_CHECK(all.is_whole == each.is_whole && all.is_whole == wanted.is_whole);
    FUZZ_CHECK(proxy_header_fault_text(all.fault)[0] != '\0');
    if (!all.is_whole) return 0;
    FUZZ_CHECK(is_same(&all.header, &each.header) && is_same(&all.header, &wanted.header));
    write_and_read(&all.header);
    return 0;
}
