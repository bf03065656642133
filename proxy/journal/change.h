/* SPDX-License-Identifier: Apache-2.0 */
/* change.h - what a struct journal_txn is made of. Of journal/ only. */
#pragma once
#include "journal/record.h"

enum change_type { CHANGE_SOURCE_PUT, CHANGE_PIN_PUT, CHANGE_PIN_REMOVE, CHANGE_SWITCH_BEGIN, CHANGE_SWITCH_PUT };

struct journal_change {
    struct journal_change *next;
    enum change_type type;
    union {
        struct record_source source;
        struct record_pin pin; /* for a removal: the key alone */
        struct record_switch change;
    } record;
};
