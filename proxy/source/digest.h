/* SPDX-License-Identifier: Apache-2.0 */
/* digest.h - SHA-256, by which a file is known again that may not be kept. */
#pragma once
#include <stddef.h>
#include "core/attr.h"

enum { DIGEST_TEXT_LEN = 64 };

/* digest_sha256 - of |len| bytes, as lower-case hexadecimal digits. Returns 0 or SLUICE_ERR_NOMEM. Any thread. */
SLUICE_MUSTCHECK int digest_sha256(const char *bytes, size_t len, char out[DIGEST_TEXT_LEN + 1]);
