/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/rows.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include "core/error.h"
#include "core/mem.h"

/* Cells are offsets into one buffer, so that a long processlist is two allocations that grow. */
struct rows {
    unsigned column_count;
    size_t count;
    char **names;
    size_t *cells; /* row after row; SIZE_MAX is SQL NULL */
    size_t cell_room;
    char *bytes; /* the cells' texts, each with its NUL */
    size_t len, room;
};

struct rows *rows_new(unsigned column_count)
{
    struct rows *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->column_count = column_count;
    r->names = mem_calloc(column_count, sizeof *r->names);
    if (r->names != NULL) return r;
    mem_free(r);
    return NULL;
}

int rows_set_name(struct rows *r, unsigned column, const char *name)
{
    assert(column < r->column_count && r->names[column] == NULL);
    r->names[column] = mem_strdup(name);
    return r->names[column] == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int room_for_cells(struct rows *r)
{
    size_t need = (r->count + 1) * r->column_count;
    if (need <= r->cell_room) return 0;
    size_t room = r->cell_room == 0 ? need * 4 : r->cell_room * 2;
    size_t *cells = mem_realloc(r->cells, room * sizeof *cells);
    if (cells == NULL) return SLUICE_ERR_NOMEM;
    r->cells = cells;
    r->cell_room = room;
    return 0;
}

static int room_for_bytes(struct rows *r, size_t more)
{
    if (more > CONNECTOR_RESULT_BYTES_MAX - r->len) return SLUICE_ERR_PROTOCOL;
    if (more <= r->room - r->len) return 0;
    size_t room = r->room == 0 ? 512 : r->room;
    while (room - r->len < more)
        room *= 2;
    char *bytes = mem_realloc(r->bytes, room);
    if (bytes == NULL) return SLUICE_ERR_NOMEM;
    r->bytes = bytes;
    r->room = room;
    return 0;
}

int rows_add(struct rows *r, char *const *cells, const unsigned long *lens)
{
    int rv = room_for_cells(r);
    if (rv != 0) return rv;
    for (unsigned i = 0; i < r->column_count; i++) {
        size_t *cell = &r->cells[r->count * r->column_count + i];
        *cell = SIZE_MAX;
        if (cells[i] == NULL) continue;
        if (lens[i] >= CONNECTOR_RESULT_BYTES_MAX) return SLUICE_ERR_PROTOCOL;
        rv = room_for_bytes(r, lens[i] + 1);
        if (rv != 0) return rv;
        *cell = r->len;
        memcpy(r->bytes + r->len, cells[i], lens[i]);
        r->len += lens[i];
        r->bytes[r->len++] = '\0';
    }
    r->count++;
    return 0;
}

size_t rows_count(const struct rows *r)
{
    return r->count;
}

int rows_column(const struct rows *r, const char *name)
{
    for (unsigned i = 0; i < r->column_count; i++) {
        if (r->names[i] != NULL && strcasecmp(r->names[i], name) == 0) return (int)i;
    }
    return -1;
}

const char *rows_text(const struct rows *r, size_t row, int column)
{
    if (row >= r->count || column < 0 || (unsigned)column >= r->column_count) return NULL;
    size_t cell = r->cells[row * r->column_count + (unsigned)column];
    return cell == SIZE_MAX ? NULL : r->bytes + cell;
}

const char *rows_text_by_name(const struct rows *r, size_t row, const char *name)
{
    return rows_text(r, row, rows_column(r, name));
}

int rows_column_count(const struct rows *r)
{
    return (int)r->column_count;
}

const char *rows_column_name(const struct rows *r, int column)
{
    return column < 0 || (unsigned)column >= r->column_count ? NULL : r->names[column];
}

void rows_del(struct rows *r)
{
    if (r == NULL) return;
    for (unsigned i = 0; i < r->column_count; i++)
        mem_free(r->names[i]);
    mem_free(r->names);
    mem_free(r->cells);
    mem_free(r->bytes);
    mem_free(r);
}
