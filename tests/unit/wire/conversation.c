/* SPDX-License-Identifier: Apache-2.0 */
#include "conversation.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *unhex(const char *hex, size_t *out_len)
{
    size_t len = strlen(hex) / 2;
    uint8_t *bytes = malloc(len + 1);
    assert(bytes != NULL);
    for (size_t i = 0; i < len; i++) {
        unsigned byte = 0;
        int found = sscanf(hex + 2 * i, "%2x", &byte);
        assert(found == 1);
        bytes[i] = (uint8_t)byte;
    }
    *out_len = len;
    return bytes;
}

static void read_turn(struct conversation *c, json_t *event)
{
    const char *kind = json_string_value(json_array_get(event, 1));
    struct turn *turn = &c->turns[c->count];
    assert(kind != NULL);
    if (strcmp(kind, "truth") == 0) {
        turn->truth = json_array_get(event, 2);
    } else if (strcmp(kind, "c") == 0 || strcmp(kind, "s") == 0) {
        turn->from = kind[0] == 'c' ? TRACKER_CLIENT : TRACKER_SERVER;
        turn->bytes = unhex(json_string_value(json_array_get(event, 2)), &turn->len);
        c->total += turn->len;
    } else {
        return; /* "held", "released", "gaveup", "closed": no bytes */
    }
    c->count++;
}

static void read_conversation(struct conversation *c, const char *line)
{
    json_error_t error;
    json_t *events = NULL, *event = NULL;
    size_t i = 0;
    *c = (struct conversation){ .json = json_loads(line, 0, &error) };
    assert(c->json != NULL);
    c->what = json_string_value(json_object_get(c->json, "what"));
    events = json_object_get(c->json, "events");
    c->turns = calloc(json_array_size(events) + 1, sizeof *c->turns);
    assert(c->turns != NULL);
    json_array_foreach(events, i, event) read_turn(c, event);
}

struct conversation *conversations_load(const char *path, size_t *out_count)
{
    struct conversation *all = NULL;
    char *line = NULL;
    size_t room = 0, count = 0;
    FILE *file = fopen(path, "r");
    assert(file != NULL);
    while (getline(&line, &room, file) > 0) {
        all = realloc(all, (count + 1) * sizeof *all);
        assert(all != NULL);
        read_conversation(&all[count++], line);
    }
    free(line);
    fclose(file);
    *out_count = count;
    return all;
}

void conversations_free(struct conversation *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < all[i].count; k++)
            free(all[i].turns[k].bytes);
        free(all[i].turns);
        json_decref(all[i].json);
    }
    free(all);
}
