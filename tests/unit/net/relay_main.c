/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data path of one source without the rest of Sluice, for tests against real servers. Its argument is the version of the PROXY
 * header that servers get, and headers are then taken from 127.0.0.9. Prints its port, then obeys a line at a
 * time and answers each with its counters: "route PORT INDEX EPOCH", "hold", "drain", "kill", "show". Ends with its input.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "net/listener.h"
#include "net/sessions.h"

struct program {
    uv_loop_t loop;
    uv_poll_t input;
    struct listener *listener;
    struct sessions *s;
    unsigned legs_gone, legs_lost;
    char line[256];
    size_t len;
};

static void on_legs_gone(void *arg)
{
    ((struct program *)arg)->legs_gone++;
}

static void on_leg_lost(void *arg, const struct sessions_loss *loss)
{
    ((struct program *)arg)->legs_lost += loss->count;
}

static bool show_leg(void *arg, const struct sessions_leg *leg)
{
    (void)arg;
    printf(" leg=%" PRIu64 "/%s/%s/%s/%s%s%s", leg->thread_id, leg->host_port, leg->user, leg->phase,
           leg->is_idle ? "idle" : "busy", leg->is_in_transaction ? "/transaction" : "",
           leg->is_stream ? "/stream" : "");
    if (leg->is_told) printf(" told=%" PRIu64 "/%s", leg->thread_id, leg->peer);
    return true;
}

static void show(struct program *p)
{
    const struct sessions_counters *c = sessions_counters(p->s);
    printf("legs=%" PRIu32 " held=%" PRIu32 " streams=%" PRIu32 " idle=%" PRIu64 " boundary=%" PRIu64 " killed=%" PRIu64
           " protocol=%" PRIu64 " lost=%u buffered=%" PRIu64 " to_client=%" PRIu64,
           sessions_leg_count(p->s), sessions_held_count(p->s), sessions_stream_count(p->s), c->closed_idle_total,
           c->closed_boundary_total, c->killed_total, c->protocol_errors_total, p->legs_lost, c->buffered_bytes,
           c->bytes_to_client_total);
    sessions_each_leg(p->s, show_leg, p);
    printf("\n");
}

static void route(struct program *p, const char *words)
{
    struct sessions_mode mode = { .kind = SESSIONS_ROUTE };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    unsigned port, index, epoch;
    if (sscanf(words, "%u %u %u", &port, &index, &epoch) != 3) abort();
    in.sin_port = htons((uint16_t)port);
    memcpy(&mode.as.route.address, &in, sizeof in);
    mode.as.route.address_len = sizeof in;
    mode.as.route.backend_index = index;
    mode.as.route.epoch = epoch;
    memset(mode.as.route.server_uuid, 'a', LEGS_UUID_LEN);
    sessions_set_mode(p->s, &mode);
}

static void obey(struct program *p, const char *line)
{
    static const struct sessions_mode hold = { .kind = SESSIONS_HOLD, .as = { .hold = { .phase = "a test" } } };
    if (strncmp(line, "route ", 6) == 0) {
        route(p, line + 6);
    } else if (strcmp(line, "hold") == 0) {
        sessions_set_mode(p->s, &hold);
    } else if (strcmp(line, "drain") == 0) {
        sessions_drain_begin(p->s);
    } else if (strcmp(line, "kill") == 0) {
        sessions_drain_kill(p->s);
    } else if (strcmp(line, "show") != 0) {
        abort();
    }
    show(p);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    struct program *p = poll->data;
    (void)status;
    (void)events;
    ssize_t n = read(STDIN_FILENO, p->line + p->len, sizeof p->line - 1 - p->len);
    if (n <= 0) {
        uv_close((uv_handle_t *)&p->input, NULL);
        listener_close(p->listener, NULL, NULL);
        sessions_close(p->s, NULL, NULL);
        return;
    }
    p->len += (size_t)n;
    p->line[p->len] = '\0';
    char *end;
    while ((end = strchr(p->line, '\n')) != NULL) {
        *end = '\0';
        obey(p, p->line);
        p->len -= (size_t)(end + 1 - p->line);
        memmove(p->line, end + 1, p->len + 1);
    }
}

int main(int argc, char **argv)
{
    static struct program p;
    struct network load_balancer;
    const char *why;
    if (network_parse("127.0.0.9", &load_balancer, &why) != 0) return 1;
    const struct sessions_config config = { .loop = &p.loop,
                                            .source_id = "real",
                                            .hold_timeout_ms = 8000,
                                            .hold_clients_max = 1000,
                                            .sessions_max = 1000,
                                            .connect_timeout_ms = 5000,
                                            .accept_from = &load_balancer,
                                            .accept_from_count = argc > 1,
                                            .proxy_send = argc > 1 ? (unsigned)atoi(argv[1]) : 0,
                                            .callbacks = { on_legs_gone, on_leg_lost },
                                            .arg = &p };
    struct listener_config listener = {
        .loop = &p.loop, .source_id = "real", .host = "127.0.0.1", .on_accept = sessions_on_accept
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_WARN);
    if (uv_loop_init(&p.loop) != 0 || sessions_new(&config, &p.s) != 0) return 1;
    listener.arg = p.s;
    if (listener_new(&listener, &p.listener, NULL) != 0) return 1;
    if (uv_poll_init(&p.loop, &p.input, STDIN_FILENO) != 0 || uv_poll_start(&p.input, UV_READABLE, on_input) != 0)
        return 1;
    p.input.data = &p;
    printf("%u\n", listener_port(p.listener));
    uv_run(&p.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&p.loop) == 0 ? 0 : 2; /* nothing may be left */
}
