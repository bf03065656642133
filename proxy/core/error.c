/* SPDX-License-Identifier: Apache-2.0 */
#include "core/error.h"

const char *error_name(int code)
{
    switch (code) {
    case 0: return "OK";
#define X(name, value, number, state, text)                                                                            \
    case name: return #name;
        SLUICE_ERRORS(X)
#undef X
    default: return "SLUICE_ERR_?";
    }
}

const char *error_text(int code)
{
    switch (code) {
    case 0: return "success";
#define X(name, value, number, state, text)                                                                            \
    case name: return text;
        SLUICE_ERRORS(X)
#undef X
    default: return "unknown error";
    }
}

uint16_t error_mysql_errno(int code)
{
    switch (code) {
#define X(name, value, number, state, text)                                                                            \
    case name: return number;
        SLUICE_ERRORS(X)
#undef X
    default: return 1105; /* ER_UNKNOWN_ERROR */
    }
}

const char *error_sqlstate(int code)
{
    switch (code) {
#define X(name, value, number, state, text)                                                                            \
    case name: return state;
        SLUICE_ERRORS(X)
#undef X
    default: return "HY000";
    }
}
