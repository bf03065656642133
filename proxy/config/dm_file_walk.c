/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's marks count characters, not bytes, and from behind a BOM: an index is carried to bytes by walking over the UTF-8. Its
 * index is used, not line and column, as it counts the two characters of CR LF one by one and so needs no rule for line ends.
 */
#include "config/dm_file_walk.h"
#include <string.h>
#include "core/error.h"
#include "core/mem.h"

struct frame {
    bool is_map;
    bool wants_value; /* of a mapping: its key has been read */
};

struct walk {
    const char *text;
    size_t len;
    yaml_parser_t parser;
    struct frame frames[DM_FILE_DEPTH_MAX];
    char keys[DM_FILE_DEPTH_MAX][DM_FILE_KEY_LEN + 1];
    size_t depth;
    unsigned documents, ordinal;
    size_t byte, character; /* how far the text was walked over */
    dm_file_value_fn fn;
    void *arg;
    struct text *error;
};

static int fail(struct walk *w, size_t line, const char *why)
{
    text_printf(w->error, "line %zu: %s", line + 1, why);
    return SLUICE_ERR_SYNTAX;
}

/* Marks never go back, so each byte is looked at once. */
static size_t byte_of(struct walk *w, size_t character)
{
    while (w->character < character && w->byte < w->len) {
        w->byte++;
        while (w->byte < w->len && ((unsigned char)w->text[w->byte] & 0xC0) == 0x80)
            w->byte++;
        w->character++;
    }
    return w->byte;
}

static void keep_key(struct walk *w, const yaml_event_t *event)
{
    char *to = w->keys[w->depth - 1];
    size_t len = event->type == YAML_SCALAR_EVENT ? event->data.scalar.length : DM_FILE_KEY_LEN + 1;
    const char *value = event->type == YAML_SCALAR_EVENT ? (const char *)event->data.scalar.value : "";
    if (len > DM_FILE_KEY_LEN || memchr(value, '\0', len) != NULL) {
        strcpy(to, "\1");
    } else {
        memcpy(to, value, len);
        to[len] = '\0';
    }
}

static bool is_marked(const yaml_event_t *event)
{
    switch ((int)event->type) {
    case YAML_SCALAR_EVENT: return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    default: return false;
    }
}

static int tell_value(struct walk *w, const yaml_event_t *event)
{
    bool is_scalar = event->type == YAML_SCALAR_EVENT;
    struct dm_file_value v = { .type = event->type,
                               .text = is_scalar ? (const char *)event->data.scalar.value : "",
                               .len = is_scalar ? event->data.scalar.length : 0,
                               .style = is_scalar ? event->data.scalar.style : YAML_ANY_SCALAR_STYLE,
                               .is_marked = is_marked(event),
                               .line = (unsigned)event->start_mark.line + 1,
                               .ordinal = w->ordinal,
                               .depth = w->depth,
                               .keys = (const char(*)[DM_FILE_KEY_LEN + 1]) w->keys };
    v.begin = byte_of(w, event->start_mark.index);
    v.end = byte_of(w, event->end_mark.index);
    return w->fn(w->arg, &v, w->error);
}

static bool is_key_place(const struct walk *w)
{
    return w->depth > 0 && w->frames[w->depth - 1].is_map && !w->frames[w->depth - 1].wants_value;
}

/* A node has ended: the mapping around it goes from key to value, or back. */
static void node_ended(struct walk *w)
{
    if (w->depth == 0) return;
    struct frame *f = &w->frames[w->depth - 1];
    if (f->is_map) f->wants_value = !f->wants_value;
}

static int take_node(struct walk *w, const yaml_event_t *event)
{
    bool is_container = event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
    int rv = 0;
    if (is_key_place(w)) {
        keep_key(w, event);
    } else {
        rv = tell_value(w, event);
    }
    if (!is_container) {
        node_ended(w);
    } else if (w->depth == DM_FILE_DEPTH_MAX) {
        return fail(w, event->start_mark.line, "nested too deeply");
    } else {
        w->keys[w->depth][0] = '\0';
        w->frames[w->depth++] = (struct frame){ .is_map = event->type == YAML_MAPPING_START_EVENT };
    }
    return rv;
}

static int take_event(struct walk *w, const yaml_event_t *event)
{
    int rv = 0;
    switch ((int)event->type) {
    case YAML_STREAM_START_EVENT:
        if (event->data.stream_start.encoding != YAML_UTF8_ENCODING)
            rv = fail(w, 0, "the file is not UTF-8: save it as UTF-8");
        break;
    case YAML_DOCUMENT_START_EVENT:
        if (++w->documents > 1) rv = fail(w, event->start_mark.line, "a second document begins: keep one in the file");
        break;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT: rv = take_node(w, event); break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        node_ended(w);
        break;
    default: break;
    }
    w->ordinal++;
    return rv;
}

static int parse_failed(struct walk *w)
{
    if (w->parser.error == YAML_MEMORY_ERROR) return SLUICE_ERR_NOMEM;
    if (w->parser.error == YAML_READER_ERROR) {
        text_printf(w->error, "byte %zu: not UTF-8, or a character that YAML does not allow: save the file as UTF-8",
                    w->parser.problem_offset);
        return SLUICE_ERR_SYNTAX;
    }
    text_printf(w->error, "line %zu: %s: correct the YAML", w->parser.problem_mark.line + 1, w->parser.problem);
    return SLUICE_ERR_SYNTAX;
}

int dm_file_walk(const char *text, size_t len, dm_file_value_fn fn, void *arg, struct text *error)
{
    struct walk *w = mem_calloc(1, sizeof *w);
    bool is_over = false;
    if (w == NULL) return SLUICE_ERR_NOMEM;
    w->text = text;
    w->len = len;
    w->fn = fn;
    w->arg = arg;
    w->error = error;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) w->byte = 3; /* libyaml counts from behind it */
    int rv = len > DM_FILE_BYTES_MAX ? fail(w, 0, "the file is larger than 256 KiB") : 0;
    if (rv == 0 && !yaml_parser_initialize(&w->parser)) rv = SLUICE_ERR_NOMEM;
    if (rv != 0) {
        mem_free(w);
        return rv;
    }
    yaml_parser_set_input_string(&w->parser, (const unsigned char *)text, len);
    while (rv == 0 && !is_over) {
        yaml_event_t event;
        if (!yaml_parser_parse(&w->parser, &event)) {
            rv = parse_failed(w);
            break;
        }
        is_over = event.type == YAML_STREAM_END_EVENT;
        rv = take_event(w, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&w->parser);
    mem_free(w);
    return rv;
}

bool dm_file_value_is(const struct dm_file_value *v, const char *a, const char *b)
{
    if (v->depth != (b == NULL ? 1 : 2) || strcmp(v->keys[0], a) != 0) return false;
    return b == NULL || strcmp(v->keys[1], b) == 0;
}
