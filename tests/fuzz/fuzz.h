/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - what a fuzzer defines, and how it fails. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* FUZZ_CHECK - a property that any input must have; it stays on whatever the build. */
#define FUZZ_CHECK(property) ((property) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
