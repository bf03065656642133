/* SPDX-License-Identifier: Apache-2.0 */
#include <mbedtls/md.h>
#include <stdio.h>
#include "core/error.h"
#include "source/digest.h"

int digest_sha256(const char *bytes, size_t len, char out[DIGEST_TEXT_LEN + 1])
{
    unsigned char raw[DIGEST_TEXT_LEN / 2];
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    if (info == NULL || mbedtls_md(info, (const unsigned char *)bytes, len, raw) != 0) return SLUICE_ERR_NOMEM;
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
    return 0;
}
