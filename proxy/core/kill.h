/* SPDX-License-Identifier: Apache-2.0 */
/* kill.h - is a statement's text a KILL, and of which thread? Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kill_scan_result {
    KILL_SCAN_NONE,       /* it is no KILL */
    KILL_SCAN_MORE,       /* blanks, comments or a half word so far: the rest of the text tells */
    KILL_SCAN_BEGUN,      /* it is one; the rest of the text tells of which thread */
    KILL_SCAN_FOUND,      /* KILL [HARD|SOFT] [CONNECTION|QUERY] number */
    KILL_SCAN_UNREADABLE, /* it is one, of a thread that an expression names, or with more behind it */
};

/* Where the number stands in the text. */
struct kill_scan {
    uint64_t thread_id;
    size_t at;  /* of its first digit */
    size_t len; /* digits */
};

/*
 * kill_scan - read the front of a statement: blanks and comments (executable ones are read as the server does) may stand in front
 * and in between, case does not count.
 *
 * |text|, |len|  the statement, or its front.
 * |is_whole|     the text ends here; else KILL_SCAN_MORE and KILL_SCAN_BEGUN are possible, and nothing else that depends on the rest.
 * |out|          set with KILL_SCAN_FOUND only.
 *
 * Not seen: a KILL behind another statement of the same text, in a stored program, or in a text that PREPARE ... FROM names.
 */
enum kill_scan_result kill_scan(const uint8_t *text, size_t len, bool is_whole, struct kill_scan *out);
