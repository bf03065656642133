/* SPDX-License-Identifier: Apache-2.0 */
/* readdress.h - the address change of a source that DM reads: what the rest of source/ needs to know of it. On the source's loop. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include "core/attr.h"
#include "source/source.h"

struct readdress_run; /* opaque; one per source, NULL with a consumer that is not DM */
struct record_switch;

/* readdress_is_record - is this record of the journal one of an address change? */
bool readdress_is_record(const struct record_switch *record);
/* readdress_record_is_left - is it open, and so far that only the user's files lead on? Of one that nobody works on. */
bool readdress_record_is_left(const struct record_switch *record);
/* readdress_new - |left| NULL, or what the journal has open. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int readdress_new(struct source *s, const struct record_switch *left, struct readdress_run **out);
void readdress_del(struct readdress_run *run);
/* readdress_start - recover what needs no files. Once, from source_start(). */
void readdress_start(struct readdress_run *run);
/* readdress_close - the source is closing: everything under way ends. */
void readdress_close(struct readdress_run *run);
/* readdress_may_be_left - undone, done, or where the journal knows the rest. NULL: yes. */
bool readdress_may_be_left(const struct readdress_run *run);
/* readdress_busy - is one in progress or unfinished? Then |out| says so, and what to do; |*out_number| is its number. NULL: no. */
bool readdress_busy(const struct readdress_run *run, char *out, size_t room, uint64_t *out_number);
/* readdress_abort - NULL |why| where it is being undone or ended, else why it cannot be. Only where one is in progress. */
bool readdress_abort(struct readdress_run *run, const char *text, const char **out_why);
bool readdress_is_open(const struct readdress_run *run);
/* readdress_order - a POST; answers |call|. */
void readdress_order(struct readdress_run *run, struct source_call *call);
uint64_t readdress_number(const struct readdress_run *run);
/* readdress_json - as GET /v1/switches/{n} shows it, while it is open. */
json_t *readdress_json(struct readdress_run *run);
/* readdress_status - in the source's status: null, or what is in progress or unfinished. */
json_t *readdress_status(const struct readdress_run *run);
