/* SPDX-License-Identifier: Apache-2.0 */
#include "net/hold.h"
#include <assert.h>
#include "core/error.h"
#include "core/mem.h"

struct hold {
    uv_timer_t timer; /* runs while somebody waits: up to the first one's deadline */
    struct hold_config config;
    struct hold_client *first, *last; /* by since_ms, which is also the order of their deadlines */
    uint32_t count;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

/* Expiry is due one millisecond late rather than early: "waited longer than" must be true when it is said. */
static void arm(struct hold *hold)
{
    if (hold->first == NULL) {
        uv_timer_stop(&hold->timer);
        return;
    }
    uint64_t now_ms = uv_now(hold->config.loop);
    uint64_t deadline_ms = hold->first->since_ms + hold->config.timeout_ms;
    int rv = uv_timer_start(&hold->timer, on_timer, deadline_ms > now_ms ? deadline_ms - now_ms : 0, 0);
    assert(rv == 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct hold *hold = timer->data;
    uint64_t now_ms = uv_now(hold->config.loop);
    while (hold->first != NULL && hold->first->since_ms + hold->config.timeout_ms <= now_ms) {
        struct hold_client *client = hold->first;
        hold_remove(client);
        hold->config.on_expiry(hold->config.arg, client, now_ms - client->since_ms);
    }
    arm(hold);
}

int hold_new(const struct hold_config *config, struct hold **out)
{
    assert(config->timeout_ms >= 1 && config->clients_max >= 1 && config->on_expiry != NULL);
    struct hold *hold = mem_calloc(1, sizeof *hold);
    if (hold == NULL) return SLUICE_ERR_NOMEM;
    hold->config = *config;
    uv_timer_init(config->loop, &hold->timer);
    hold->timer.data = hold;
    *out = hold;
    return 0;
}

/* Those who come back together come latest first, each to the front: so both ends are cheap, and the middle is rare. */
static struct hold_client *place_for(const struct hold *hold, const struct hold_client *client)
{
    if (hold->last == NULL || hold->last->since_ms <= client->since_ms) return NULL;
    struct hold_client *next = hold->first;
    while (next->since_ms < client->since_ms)
        next = next->next;
    return next;
}

int hold_admit(struct hold *hold, struct hold_client *client, bool is_return)
{
    assert(client->hold == NULL);
    assert(client->since_ms <= uv_now(hold->config.loop));
    if (!is_return && hold->count >= hold->config.clients_max) return SLUICE_ERR_HOLD_FULL;
    struct hold_client *next = place_for(hold, client);
    struct hold_client *prev = next == NULL ? hold->last : next->prev;
    client->hold = hold;
    client->next = next;
    client->prev = prev;
    if (next == NULL) {
        hold->last = client;
    } else {
        next->prev = client;
    }
    if (prev == NULL) {
        hold->first = client;
    } else {
        prev->next = client;
    }
    hold->count++;
    if (hold->first == client) arm(hold);
    return 0;
}

void hold_remove(struct hold_client *client)
{
    struct hold *hold = client->hold;
    if (hold == NULL) return;
    assert(hold->count > 0);
    bool was_first = hold->first == client;
    if (client->prev == NULL) {
        hold->first = client->next;
    } else {
        client->prev->next = client->next;
    }
    if (client->next == NULL) {
        hold->last = client->prev;
    } else {
        client->next->prev = client->prev;
    }
    client->next = client->prev = NULL;
    client->hold = NULL;
    hold->count--;
    if (was_first) arm(hold);
}

struct hold_client *hold_first(struct hold *hold)
{
    return hold->first;
}

uint32_t hold_count(const struct hold *hold)
{
    return hold->count;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct hold *hold = handle->data;
    void (*on_closed)(void *arg) = hold->on_closed;
    void *arg = hold->closed_arg;
    mem_free(hold);
    if (on_closed != NULL) on_closed(arg);
}

void hold_close(struct hold *hold, void (*on_closed)(void *arg), void *arg)
{
    assert(hold->count == 0);
    hold->on_closed = on_closed;
    hold->closed_arg = arg;
    uv_close((uv_handle_t *)&hold->timer, on_timer_closed);
}
