/* SPDX-License-Identifier: Apache-2.0 */
/* twins.h - binlog readers that a server takes for one and the same: one server_id, or one replica UUID. A source's; its loop only. */
#pragma once
#include <jansson.h>
#include <stdint.h>
#include "core/tracker_reader.h"

struct source;

enum { TWINS_TOLD_MAX = 64, TWINS_TEXT_LEN = 160 };

/* Readers that were warned of, once each. */
struct twins {
    uint32_t ids[TWINS_TOLD_MAX]; /* server_ids */
    uint32_t id_count;
    struct twins_uuid {
        char uuid[TRACKER_READER_UUID_LEN + 1];
        uint64_t seen_ms;              /* when two were last seen together: a server ends the first at once */
        char text[TWINS_TEXT_LEN + 1]; /* "2 ...: sessions 3 (10.0.0.1:4), 7 (10.0.0.2:5)" */
    } uuids[TWINS_TOLD_MAX];
    uint32_t uuid_count;
};

/* twins_look - |session| asks for a dump: is there another reader that says the same of itself? Warned of once. */
void twins_look(struct source *s, uint64_t session);
/* twins_warnings - a new JSON array of texts: those that are open now, and those with one UUID that met a short while ago. */
json_t *twins_warnings(const struct source *s);
