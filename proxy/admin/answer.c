/* SPDX-License-Identifier: Apache-2.0 */
/* How a request gets its answer, whoever gives it. */
#include <assert.h>
#include <string.h>
#include "admin/internal.h"
#include "core/error.h"
#include "core/mem.h"

static int dump_to_text(const char *bytes, size_t len, void *arg)
{
    struct text *t = arg;
    text_append(t, bytes, len);
    return t->status == 0 ? 0 : -1;
}

void admin_dump(const json_t *doc, struct text *out)
{
    if (doc == NULL || json_dump_callback(doc, dump_to_text, out, JSON_COMPACT) != 0) out->status = SLUICE_ERR_NOMEM;
    text_puts(out, "\n");
}

json_t *admin_error_doc(int code, const char *msg)
{
    json_t *text = json_string(msg);
    if (text == NULL) {
        /* A message may quote a client's bytes, cut inside a character. */
        char *ascii = mem_strdup(msg);
        for (char *p = ascii; p != NULL && *p != '\0'; p++) {
            if ((unsigned char)*p >= 0x80) *p = '?';
        }
        text = ascii == NULL ? NULL : json_string(ascii);
        mem_free(ascii);
    }
    return json_pack("{s:b, s:o, s:i}", "result", 0, "msg", text, "code", code);
}

static void add_headers(const struct admin_conn *c, int status, const char *content_type, struct MHD_Response *r)
{
    MHD_add_response_header(r, "Content-Type", content_type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    if (status == 401) MHD_add_response_header(r, "WWW-Authenticate", "Bearer realm=\"sluice\"");
    if (status == 405) MHD_add_response_header(r, "Allow", c->allow);
    if (c->admin->state != ADMIN_STATE_SERVING) MHD_add_response_header(r, "Connection", "close");
}

/* Without memory for an answer |response| stays NULL, and the connection is closed. */
void admin_conn_answer(struct admin_conn *c, int status, const char *content_type, struct text *body)
{
    assert(c->state == ADMIN_CONN_RECEIVING || c->state == ADMIN_CONN_WAITING);
    assert(c->response == NULL);
    size_t len = body->len;
    char *bytes = text_take(body);
    if (bytes != NULL) c->response = MHD_create_response_from_buffer_with_free_callback(len, bytes, mem_free);
    if (c->response != NULL) {
        add_headers(c, status, content_type, c->response);
    } else {
        mem_free(bytes);
    }
    c->status = status;
    c->state = ADMIN_CONN_ANSWERED;
    c->deadline_ms = admin_now_ms(c->admin) + c->admin->limits.send_timeout_ms;
    admin_conn_resume(c);
}

void admin_conn_answer_json(struct admin_conn *c, int status, json_t *doc)
{
    struct text body = TEXT_INIT;
    if (doc == NULL) {
        /* No memory for a document: the words of this one are fixed. */
        status = 500;
        text_puts(&body, "{\"result\":false,\"msg\":\"memory ran out\",\"code\":1}\n");
    } else {
        admin_dump(doc, &body);
    }
    json_decref(doc);
    admin_conn_answer(c, status, "application/json", &body);
}

void admin_conn_answer_error(struct admin_conn *c, int status, int code, const char *msg)
{
    admin_conn_answer_json(c, status, admin_error_doc(code, msg));
}
