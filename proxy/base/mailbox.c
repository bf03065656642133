/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"
#include <stdlib.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"

struct mail {
    struct mail *next;
    mail_fn fn;
    void *arg;
};

/* Everything that lay in the box when we came is run; what a letter posts is seen at the next turn of the loop. */
static void on_async(uv_async_t *async)
{
    struct mailbox *m = async->data;
    uv_mutex_lock(&m->lock);
    struct mail *mail = m->first;
    m->first = m->last = NULL;
    uv_mutex_unlock(&m->lock);
    while (mail != NULL) {
        struct mail *next = mail->next;
        mail->fn(mail->arg);
        mem_free(mail);
        mail = next;
    }
}

static void on_close(uv_handle_t *handle)
{
    struct mailbox *m = handle->data;
    uv_mutex_destroy(&m->lock);
    if (m->on_closed != NULL) m->on_closed(m->closed_arg);
}

int mailbox_init(struct mailbox *m, uv_loop_t *loop)
{
    *m = (struct mailbox){ 0 };
    if (uv_mutex_init(&m->lock) != 0) return SLUICE_ERR_NOMEM;
    if (uv_async_init(loop, &m->async, on_async) != 0) {
        uv_mutex_destroy(&m->lock);
        return SLUICE_ERR_IO;
    }
    m->async.data = m;
    return 0;
}

void mailbox_post(struct mailbox *m, mail_fn fn, void *arg)
{
    struct mail *mail = mem_alloc(sizeof *mail);
    if (mail == NULL) {
        log_error("a message between threads could not be allocated; ending so that recovery decides");
        abort();
    }
    *mail = (struct mail){ .fn = fn, .arg = arg };
    uv_mutex_lock(&m->lock);
    if (m->last == NULL) {
        m->first = mail;
    } else {
        m->last->next = mail;
    }
    m->last = mail;
    uv_mutex_unlock(&m->lock);
    uv_async_send(&m->async);
}

void mailbox_close(struct mailbox *m, void (*on_closed)(void *arg), void *arg)
{
    while (m->first != NULL)
        on_async(&m->async);
    m->on_closed = on_closed;
    m->closed_arg = arg;
    uv_close((uv_handle_t *)&m->async, on_close);
}
