/* SPDX-License-Identifier: Apache-2.0 */
/* tracker_reader.h - the replica UUID by which a binlog reader makes itself known, in the front of a statement. Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    TRACKER_READER_UUID_LEN = 36,
    TRACKER_READER_TEXT_LEN_MAX = 96, /* of a statement's front: what begins later is not looked for */
};

enum tracker_reader_result {
    TRACKER_READER_NONE,  /* the statement is another one, whatever follows */
    TRACKER_READER_MORE,  /* it may be one: the rest of the text tells */
    TRACKER_READER_FOUND, /* |out| is set */
};

/*
 * tracker_reader_scan - read the front of a statement: SET @slave_uuid = '...' or @replica_uuid, as replicas and go-mysql send it in front
 * of a dump (MySQL 8.0 and later both in one, with the same value). A server ends the dump of another reader with the same one.
 *
 * |text|, |len|  the statement's front; case of words and blanks do not count.
 * |out|          TRACKER_READER_FOUND: the UUID in lower case, with NUL; else untouched.
 *
 * The answer depends on the front alone: neither NONE nor FOUND is taken back by more text.
 */
enum tracker_reader_result tracker_reader_scan(const uint8_t *text, size_t len, char out[TRACKER_READER_UUID_LEN + 1]);
