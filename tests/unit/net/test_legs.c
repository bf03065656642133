/* SPDX-License-Identifier: Apache-2.0 */
/* The file of open legs: known after kill -9, locked against a second process, honest about what it cannot read. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "world.h"

static char dir[64], path[128], damaged[160];

static int dir_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/sluice-legs-XXXXXX");
    if (mkdtemp(dir) == NULL) return -1;
    snprintf(path, sizeof path, "%s/orders.legs", dir);
    snprintf(damaged, sizeof damaged, "%s.damaged", path);
    return 0;
}

static int dir_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(damaged);
    return rmdir(dir);
}

static struct legs *opened(uint32_t capacity, enum legs_found expected)
{
    struct legs *legs = NULL;
    enum legs_found found;
    assert_int_equal(legs_open(path, capacity, &legs, &found, NULL), 0);
    assert_int_equal(found, expected);
    return legs;
}

static uint32_t added(struct legs *legs, const char *uuid, uint64_t epoch)
{
    uint32_t slot;
    struct legs_record record = { .epoch = epoch };
    strcpy(record.server_uuid, uuid);
    assert_int_equal(legs_add(legs, &record, &slot), 0);
    return slot;
}

struct collected {
    unsigned count;
    uint32_t slots[16];
    struct legs_record records[16];
};

static bool collect(void *arg, uint32_t slot, const struct legs_record *record)
{
    struct collected *c = arg;
    assert_true(c->count < 16);
    c->slots[c->count] = slot;
    c->records[c->count++] = *record;
    return true;
}

/* Writes legs as a proxy does, and waits to be killed. */
static void child_opens_legs(int ready)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no process */
    struct legs *legs = opened(8, LEGS_FOUND_NOTHING);
    uint32_t a = added(legs, UUID_A, 4);
    legs_set_address(legs, a, "10.0.0.9", 40001);
    legs_set_thread(legs, a, 77);
    uint32_t b = added(legs, UUID_A, 4);
    legs_set_address(legs, b, "fd00::9", 40002);
    uint32_t closed = added(legs, UUID_A, 4);
    struct legs_record record = { .server_uuid = UUID_A,
                                  .epoch = 5 }; /* killed in connect(2); the server would be told */
    uint32_t c;
    assert_int_equal(network_address_parse("2001:db8::9", 4567, &record.told), 0);
    assert_int_equal(legs_add(legs, &record, &c), 0);
    legs_remove(legs, closed);
    (void)!write(ready, "x", 1);
    pause();
}

static void killed_with_open_legs(void)
{
    int ready[2];
    char byte;
    int status;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        child_opens_legs(ready[1]);
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    /* While it lives the file is its own. */
    struct legs *legs = NULL;
    enum legs_found found;
    struct text error = TEXT_INIT;
    assert_int_equal(legs_open(path, 8, &legs, &found, &error), SLUICE_ERR_BUSY);
    assert_non_null(strstr(text_str(&error), "another sluice"));
    text_free(&error);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(ready[0]);
    close(ready[1]);
}

/* After kill -9 the next process knows each open leg, with as much as was known of it, and no closed one; until forgotten, the
 * one after it knows them too. */
static void test_open_legs_are_known_after_kill_9(void **state)
{
    (void)state;
    killed_with_open_legs();
    for (int life = 0; life < 2; life++) {
        struct collected c = { 0 };
        struct legs *legs = opened(8, LEGS_FOUND_LEFTOVERS);
        legs_each_leftover(legs, collect, &c);
        assert_int_equal(c.count, 3);
        assert_int_equal(legs_leftover_count(legs), 3);
        assert_string_equal(c.records[0].server_uuid, UUID_A);
        assert_int_equal(c.records[0].thread_id, 77);
        assert_string_equal(c.records[0].host, "10.0.0.9");
        assert_int_equal(c.records[0].port, 40001);
        assert_int_equal(c.records[0].epoch, 4);
        assert_int_equal(c.records[1].thread_id, 0);
        assert_string_equal(c.records[1].host, "fd00::9");
        assert_int_equal(c.records[2].port, 0);
        assert_string_equal(c.records[2].host, "");
        assert_int_equal(c.records[2].epoch, 5);
        struct network_address told;
        assert_int_equal(network_address_parse("2001:db8::9", 4567, &told), 0);
        assert_true(network_address_same(&c.records[2].told, &told));
        assert_int_equal(c.records[0].told.family, NETWORK_NONE);
        legs_close(legs);
    }
    struct collected c = { 0 };
    struct legs *legs = opened(8, LEGS_FOUND_LEFTOVERS);
    legs_each_leftover(legs, collect, &c);
    legs_forget_leftover(legs, c.slots[1]);
    legs_forget_leftover(legs, c.slots[1]); /* twice is once */
    assert_int_equal(legs_leftover_count(legs), 2);
    assert_int_equal(legs_forget_leftovers_of(legs, UUID_B), 0);
    assert_int_equal(legs_forget_leftovers_of(legs, UUID_A), 2);
    legs_close(legs);
    legs_close(opened(8, LEGS_FOUND_CLEAN));
}

/* Left-overs take nothing from the capacity, and new legs do not overwrite them, also with a smaller or larger capacity. */
static void test_leftovers_do_not_take_capacity(void **state)
{
    (void)state;
    struct legs *legs = opened(4, LEGS_FOUND_NOTHING);
    for (int i = 0; i < 4; i++)
        added(legs, UUID_A, 1);
    legs_close(legs); /* a close with open legs leaves them, as a kill does */
    static const uint32_t capacities[] = { 2, 6 };
    uint32_t leftovers = 4;
    for (int i = 0; i < 2; i++) {
        uint32_t slot;
        struct legs_record record = { .server_uuid = UUID_B };
        legs = opened(capacities[i], LEGS_FOUND_LEFTOVERS);
        assert_int_equal(legs_leftover_count(legs), leftovers);
        for (uint32_t n = 0; n < capacities[i]; n++)
            added(legs, UUID_B, 2);
        assert_int_equal(legs_add(legs, &record, &slot), SLUICE_ERR_SESSIONS_FULL);
        assert_int_equal(legs_open_count(legs), capacities[i]);
        assert_int_equal(legs_leftover_count(legs), leftovers);
        leftovers += capacities[i];
        legs_close(legs);
    }
    legs = opened(1, LEGS_FOUND_LEFTOVERS);
    assert_int_equal(legs_forget_leftovers_of(legs, UUID_A), 4);
    assert_int_equal(legs_forget_leftovers_of(legs, UUID_B), 8);
    legs_close(legs);
}

static void write_file(const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void damage(off_t at, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

/* The file is kept aside, a new one works, and the caller knows that left-overs may exist which nobody can name. */
static void is_unreadable(void)
{
    struct stat st;
    struct legs *legs = opened(4, LEGS_FOUND_UNREADABLE);
    assert_int_equal(legs_leftover_count(legs), 0);
    legs_remove(legs, added(legs, UUID_A, 1));
    legs_close(legs);
    assert_int_equal(stat(damaged, &st), 0);
    legs_close(opened(4, LEGS_FOUND_CLEAN));
    unlink(path);
}

/* Each way in which a file can be damaged is found. */
static void test_damaged_file_is_reported_and_replaced(void **state)
{
    (void)state;
    static const char garbage[5000] = "this is not a file of legs";
    write_file(garbage, sizeof garbage);
    is_unreadable();
    write_file(garbage, 10);
    is_unreadable();
    static const off_t places[] = { 0, 8, 12, 16, 64 }; /* magic, version, slot size, slot count, a slot's state */
    for (unsigned i = 0; i < 5; i++) {
        legs_close(opened(4, LEGS_FOUND_NOTHING));
        damage(places[i], "\x7f\x7f\x7f\x7f", 4);
        is_unreadable();
    }
    struct legs *legs = opened(4, LEGS_FOUND_NOTHING);
    uint32_t slot = added(legs, UUID_A, 1);
    legs_close(legs);
    assert_int_equal(slot, 0);
    damage(64 + 6, "\0", 1); /* a uuid without its characters */
    is_unreadable();
    static const off_t lengths[] = { 100, 500 }; /* a file cut short, in its slots, and by less than a page */
    for (int i = 0; i < 2; i++) {
        legs_close(opened(4, LEGS_FOUND_NOTHING));
        assert_int_equal(truncate(path, lengths[i]), 0);
        is_unreadable();
    }
}

/* A file without a byte is what a kill right after its creation leaves: nothing had been opened. */
static void test_empty_file_is_a_first_start(void **state)
{
    (void)state;
    write_file("", 0);
    legs_close(opened(4, LEGS_FOUND_NOTHING));
}

/* A folder, a missing folder, a disk without room: an error that names the file, and no signal. */
static void test_unusable_place_is_an_error(void **state)
{
    (void)state;
    struct legs *legs = NULL;
    enum legs_found found;
    struct text error = TEXT_INIT;
    struct rlimit old, low;
    assert_int_equal(legs_open(dir, 4, &legs, &found, &error), SLUICE_ERR_IO);
    assert_non_null(strstr(text_str(&error), dir));
    text_clear(&error);
    assert_int_equal(legs_open("/no/such/dir/legs", 4, &legs, &found, &error), SLUICE_ERR_IO);
    text_clear(&error);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rv = legs_open(path, 10000, &legs, &found, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rv, SLUICE_ERR_IO);
    assert_non_null(strstr(text_str(&error), "free space"));
    text_free(&error);
    for (unsigned long n = 1; n <= 3; n++) {
        mem_fail_at(n);
        assert_int_equal(legs_open(path, 4, &legs, &found, NULL), SLUICE_ERR_NOMEM);
    }
    mem_fail_at(0);
    assert_null(legs);
    legs_close(NULL);
}

/* What the sessions write there: a leg from its connect(2) to its close, with its own port, and the id once the server has greeted. */
static void test_sessions_keep_their_legs_in_the_file(void **state)
{
    (void)state;
    struct collected c = { 0 };
    struct world w;
    char copy[400];
    world_up(&w, &(struct world_options){ .legs_path = path });
    world_route(&w, 0, 3);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    assert_int_equal(legs_open_count(w.legs), 1);
    server_greets(&w, client, server, 4711);
    client_logs_in(&w, client, server);
    /* A copy of the file is what a kill now would leave. */
    snprintf(copy, sizeof copy, "cp %s %s.copy", path, path);
    assert_int_equal(system(copy), 0);
    char copy_path[160];
    snprintf(copy_path, sizeof copy_path, "%s.copy", path);
    struct legs *dead = NULL;
    enum legs_found found;
    assert_int_equal(legs_open(copy_path, 4, &dead, &found, NULL), 0);
    assert_int_equal(found, LEGS_FOUND_LEFTOVERS);
    legs_each_leftover(dead, collect, &c);
    legs_close(dead);
    unlink(copy_path);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.records[0].thread_id, 4711);
    assert_string_equal(c.records[0].server_uuid, UUID_A);
    assert_string_equal(c.records[0].host, "127.0.0.1");
    assert_int_not_equal(c.records[0].port, 0);
    assert_int_equal(c.records[0].epoch, 3);
    close(client);
    get_broken(&w, server);
    close(server);
    assert_int_equal(legs_open_count(w.legs), 0);
    world_down(&w);
    legs_close(opened(4, LEGS_FOUND_CLEAN));
}

int main(void)
{
#define WITH_DIR(f) cmocka_unit_test_setup_teardown(f, dir_up, dir_down)
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_open_legs_are_known_after_kill_9),
        WITH_DIR(test_leftovers_do_not_take_capacity),
        WITH_DIR(test_damaged_file_is_reported_and_replaced),
        WITH_DIR(test_empty_file_is_a_first_start),
        WITH_DIR(test_unusable_place_is_an_error),
        WITH_DIR(test_sessions_keep_their_legs_in_the_file),
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
