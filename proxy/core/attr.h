/* SPDX-License-Identifier: Apache-2.0 */
/* attr.h - compiler attributes and the two macros that every file may use. */
#pragma once

#define SLUICE_MUSTCHECK          __attribute__((warn_unused_result))
#define SLUICE_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define ARRAY_LEN(a)              (sizeof(a) / sizeof((a)[0]))
