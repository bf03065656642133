/* SPDX-License-Identifier: Apache-2.0 */
/* refusal.h - what a client reads instead of a greeting, and the close after it. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

enum { REFUSAL_LEN_MAX = 640 };

/*
 * refusal_build - an ERR packet in place of a greeting: sequence number 0 and no "#sqlstate", as a client has not said yet what
 * it understands. |message| is put behind "sluice: source 'X': ", and the whole cut at 599 bytes. Returns its length.
 */
size_t refusal_build(uint8_t out[REFUSAL_LEN_MAX], uint16_t mysql_errno, const char *source_id, const char *message);
/*
 * refusal_send_and_close - for a descriptor that never became a stream: told with one write, what it sent is dropped, closed.
 * Never blocks.
 */
void refusal_send_and_close(int fd, uint16_t mysql_errno, const char *source_id, const char *message);
