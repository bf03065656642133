/* SPDX-License-Identifier: Apache-2.0 */
/* txn.c - a transaction is filled here, and emptied; nothing touches a disk. */
#include <assert.h>
#include "core/error.h"
#include "core/mem.h"
#include "journal/change.h"
#include "journal/journal.h"

static void change_del(struct journal_change *c)
{
    switch (c->type) {
    case CHANGE_SOURCE_PUT: record_source_free(&c->record.source); break;
    case CHANGE_PIN_PUT:
    case CHANGE_PIN_REMOVE: record_pin_free(&c->record.pin); break;
    case CHANGE_SWITCH_BEGIN:
    case CHANGE_SWITCH_PUT: record_switch_free(&c->record.change); break;
    }
    mem_free(c);
}

/* |r| is the record of |type|; its copy is added at the end. */
static void add(struct journal_txn *txn, enum change_type type, const void *r)
{
    if (txn->status != 0) return;
    struct journal_change *c = mem_calloc(1, sizeof *c);
    int rv = SLUICE_ERR_NOMEM;
    if (c != NULL) {
        c->type = type;
        switch (type) {
        case CHANGE_SOURCE_PUT: rv = record_source_copy(&c->record.source, r); break;
        case CHANGE_PIN_PUT:
        case CHANGE_PIN_REMOVE: rv = record_pin_copy(&c->record.pin, r); break;
        case CHANGE_SWITCH_BEGIN:
        case CHANGE_SWITCH_PUT: rv = record_switch_copy(&c->record.change, r); break;
        }
    }
    if (rv != 0) {
        mem_free(c);
        txn->status = rv;
        return;
    }
    if (txn->last == NULL) {
        txn->first = c;
    } else {
        txn->last->next = c;
    }
    txn->last = c;
}

void journal_txn_source_put(struct journal_txn *txn, const struct record_source *r)
{
    assert(r->epoch <= INT64_MAX);
    add(txn, CHANGE_SOURCE_PUT, r);
}

void journal_txn_pin_put(struct journal_txn *txn, const struct record_pin *r)
{
    add(txn, CHANGE_PIN_PUT, r);
}

void journal_txn_pin_remove(struct journal_txn *txn, const char *source_id, const char *backend)
{
    struct record_pin key = { 0 };
    if (record_set(&key.source_id, source_id) == 0 && record_set(&key.backend, backend) == 0) {
        add(txn, CHANGE_PIN_REMOVE, &key);
    } else {
        txn->status = SLUICE_ERR_NOMEM;
    }
    record_pin_free(&key);
}

void journal_txn_switch_begin(struct journal_txn *txn, const struct record_switch *r)
{
    for (const struct journal_change *c = txn->first; c != NULL; c = c->next)
        assert(c->type != CHANGE_SWITCH_BEGIN);
    add(txn, CHANGE_SWITCH_BEGIN, r);
}

void journal_txn_switch_put(struct journal_txn *txn, const struct record_switch *r)
{
    add(txn, CHANGE_SWITCH_PUT, r);
}

void journal_txn_free(struct journal_txn *txn)
{
    while (txn->first != NULL) {
        struct journal_change *c = txn->first;
        txn->first = c->next;
        change_del(c);
    }
    *txn = JOURNAL_TXN_INIT;
}
