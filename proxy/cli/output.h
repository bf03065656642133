/* SPDX-License-Identifier: Apache-2.0 */
/* output.h - what goes to stdout and stderr: results, failures, tables; foreign text never reaches a terminal unchanged. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include "core/attr.h"
#include "core/text.h"

struct args;

/*
 * output_fail - tell a failure of our own: on stderr, or with --json and --json-lines as {"result":false,"msg":...,"code":...} on
 * stdout. Returns |code|.
 */
int output_fail(const struct args *args, int code, const char *fmt, ...) SLUICE_PRINTF(3, 4);
/*
 * output_json - print |doc| on stdout with "result", "msg" and "code" on top (made up from |code| where the daemon left them
 * out): over several lines with --json, on one with --json-lines.
 */
void output_json(const struct args *args, const json_t *doc, int code);
/* output_code - the exit code that an answer of the daemon means. */
int output_code(const json_t *doc, long status);
/* output_text - print on stdout as printf does, with every control character but newline replaced. */
void output_text(const char *fmt, ...) SLUICE_PRINTF(1, 2);
/* output_flush - 0, or SLUICE_ERR_IO when stdout did not take all that was printed (a full disk, a closed pipe). */
SLUICE_MUSTCHECK int output_flush(void);

/* Rows of cells, printed with columns as wide as they need to be. */
struct table {
    struct text cells; /* private: NUL-terminated, one behind the other */
    size_t columns, count;
};

/* table_add - append a cell; after |columns| of them a row is full. */
void table_add(struct table *t, const char *fmt, ...) SLUICE_PRINTF(2, 3);
/* table_print - each row behind |indent|; then the table is empty. */
void table_print(struct table *t, const char *indent);

/* field_str - a member as text: a string itself, "yes" or "no", a number; |absent| when null or missing. Up to four at a time. */
const char *field_str(const json_t *object, const char *key, const char *absent);
/* field_int - an integer member; 0 when missing. */
json_int_t field_int(const json_t *object, const char *key);
