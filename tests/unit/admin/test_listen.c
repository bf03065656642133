/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/error.h"
#include "core/mem.h"

static void never(void *arg, struct admin_token *token, const struct admin_call *call)
{
    (void)arg;
    (void)token;
    (void)call;
    fail_msg("the handler of a refused start was called");
}

static int try_start(struct world *w)
{
    struct admin *admin = NULL;
    int rv = admin_start(&w->loop, &w->config, NULL, never, NULL, &admin);
    assert_null(admin);
    return rv;
}

static int bind_stale(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

/* Only the owner may speak to the unix socket, whatever the umask says; it is gone after the close. */
static void test_listen_socket_is_the_owners(void **state)
{
    (void)state;
    struct world w;
    struct stat st;
    mode_t before = umask(0);
    world_up(&w, NULL);
    umask(before);
    assert_int_equal(lstat(w.socket, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    world_close(&w);
    assert_int_not_equal(lstat(w.socket, &st), 0);
    world_down(&w);
}

/* A socket that a killed process left is replaced. */
static void test_listen_replaces_a_stale_socket(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    close(bind_stale(w.socket));
    assert_int_equal(admin_start(&w.loop, &w.config, NULL, never, NULL, &w.admin), 0);
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    world_down(&w);
}

/* A socket on which somebody listens is left alone, and the one who listens does not notice. */
static void test_listen_leaves_a_live_socket(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    assert_int_equal(try_start(&w), SLUICE_ERR_BUSY);
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    world_down(&w);
}

/* A file that is no socket is never removed. */
static void test_listen_leaves_other_files(void **state)
{
    (void)state;
    struct world w;
    struct stat st;
    world_init(&w);
    close(open(w.socket, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(try_start(&w), SLUICE_ERR_IO);
    assert_int_equal(lstat(w.socket, &st), 0);
    unlink(w.socket);
    assert_int_equal(symlink("/etc/hostname", w.socket), 0);
    assert_int_equal(try_start(&w), SLUICE_ERR_IO);
    assert_int_equal(lstat(w.socket, &st), 0);
    world_down(&w);
}

/* A path that does not fit, or whose folder is not there, is an error of its own. */
static void test_listen_refuses_impossible_paths(void **state)
{
    (void)state;
    struct world w;
    char path[200];
    world_init(&w);
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    w.config.socket = path;
    assert_int_equal(try_start(&w), SLUICE_ERR_CONFIG);
    path[108] = '\0';
    assert_int_equal(try_start(&w), SLUICE_ERR_CONFIG);
    path[0] = '\0';
    assert_int_equal(try_start(&w), SLUICE_ERR_CONFIG);
    snprintf(path, sizeof path, "%s/no/folder", w.dir);
    assert_int_equal(try_start(&w), SLUICE_ERR_IO);
    world_down(&w);
}

/* The socket of a successor that took the path meanwhile is not removed by the close of its predecessor. */
static void test_listen_close_leaves_a_successors_socket(void **state)
{
    (void)state;
    struct world w;
    struct stat st;
    world_up(&w, NULL);
    unlink(w.socket);
    int successor = bind_stale(w.socket);
    world_close(&w);
    assert_int_equal(lstat(w.socket, &st), 0);
    close(successor);
    world_down(&w);
}

/* TCP without a token takes an explicit word; a port in use is an error of its own. */
static void test_listen_tcp_needs_token_or_insecure(void **state)
{
    (void)state;
    struct world w;
    world_up_tcp(&w, NULL, NULL);
    w.config.listen.port = admin_port(w.admin);
    assert_int_equal(try_start(&w), SLUICE_ERR_BUSY);
    w.config.listen.port = 0;
    w.config.insecure = false;
    assert_int_equal(try_start(&w), SLUICE_ERR_CONFIG);
    w.config.token = mem_strdup("");
    assert_int_equal(try_start(&w), SLUICE_ERR_CONFIG);
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200); /* the first one needs none */
    mem_free(w.config.token);
    w.config.token = NULL;
    mem_free(w.config.listen.host);
    w.config.listen.host = NULL;
    assert_int_equal(try_start(&w), SLUICE_ERR_CONFIG);
    w.config.listen.host = mem_strdup("256.0.0.1.invalid");
    w.config.insecure = true;
    assert_int_equal(try_start(&w), SLUICE_ERR_IO);
    world_down(&w);
}

static long ask_with(struct world *w, const char *authorization, const char *path, const char *body)
{
    struct request r;
    request_begin(w, &r, body == NULL ? "GET" : "POST", path, body);
    if (authorization != NULL) request_header(&r, authorization);
    request_send(&r);
    request_wait(&r);
    long status = r.status;
    if (status == 401) {
        json_decref(request_json(&r));
        assert_non_null(strstr(text_str(&r.head), "WWW-Authenticate: Bearer"));
    }
    request_end(&r);
    return status;
}

/* With a token every path needs it, and no near miss passes. */
static void test_listen_tcp_asks_for_the_token(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        NULL,
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Bearer s3cre",
        "Authorization: Bearer s3cret7",
        "Authorization: Bearer s3cres",
        "Authorization: Bearer s3crets3cret",
        "Authorization: Basic s3cret",
        "Authorization: s3cret",
        "Authorization: Bearer S3CRET",
        "X-Authorization: Bearer s3cret",
    };
    struct world w;
    world_up_tcp(&w, "s3cret", NULL);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(ask_with(&w, wrong[i], "/v1/sources", NULL), 401);
        assert_int_equal(ask_with(&w, wrong[i], "/v1/sources/s/abort", "{}"), 401);
        assert_int_equal(ask_with(&w, wrong[i], "/metrics", NULL), 401);
        assert_int_equal(ask_with(&w, wrong[i], "/healthz", NULL), 401);
        assert_int_equal(ask_with(&w, wrong[i], "/no/such/path", NULL), 401); /* tells nothing to strangers */
    }
    assert_int_equal(w.calls, 0);
    assert_int_equal(ask_with(&w, "Authorization: Bearer s3cret", "/v1/sources", NULL), 200);
    assert_int_equal(ask_with(&w, "authorization: bearer s3cret", "/v1/sources/s/abort", "{}"), 200);
    assert_int_equal(w.calls, 2);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_socket_is_the_owners),
        cmocka_unit_test(test_listen_replaces_a_stale_socket),
        cmocka_unit_test(test_listen_leaves_a_live_socket),
        cmocka_unit_test(test_listen_leaves_other_files),
        cmocka_unit_test(test_listen_refuses_impossible_paths),
        cmocka_unit_test(test_listen_close_leaves_a_successors_socket),
        cmocka_unit_test(test_listen_tcp_needs_token_or_insecure),
        cmocka_unit_test(test_listen_tcp_asks_for_the_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
