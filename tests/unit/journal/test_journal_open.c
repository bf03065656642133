/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator, another process or a disk can do to a state-dir before we open it: each a clear error, nothing recreated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/error.h"
#include "core/text.h"
#include "journal/vfs_fault.h"
#include "world.h"

static int setup(void **state)
{
    static struct world w;
    world_up(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    vfs_fault_arm(NULL);
    vfs_fault_pragma(NULL, NULL);
    world_down(*state);
    return 0;
}

static void must_refuse(struct world *w, int status, const char *word)
{
    int rv = world_open(w);
    if (rv != status || strstr(w->error, word) == NULL)
        fail_msg("expected %s with \"%s\", not %s: %s", error_name(status), word, error_name(rv), w->error);
    assert_null(w->journal);
}

/* A state with one source, closed again. */
static void given_state(struct world *w)
{
    world_must_open(w);
    assert_int_equal(put_source(w, "s", "a", 4), 0);
    world_close(w);
}

static size_t read_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t len = fread(out, 1, size, f);
    fclose(f);
    return len;
}

static void write_file(const char *path, long at, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

/* A missing state-dir is made for its owner alone; so is what is in it. */
static void test_open_makes_state_dir_private(void **state)
{
    struct world *w = *state;
    mode_t old = umask(0);
    world_must_open(w);
    umask(old);
    struct stat st;
    assert_int_equal(stat(w->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(world_path(w, "state.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(world_path(w, "lock"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* A state-dir whose parent is missing, or that is a file, is refused with its path. */
static void test_open_refuses_dir_that_cannot_be_made(void **state)
{
    struct world *w = *state;
    snprintf(w->dir, sizeof w->dir, "%s/no/state", w->root);
    must_refuse(w, SLUICE_ERR_IO, "parent");
    snprintf(w->dir, sizeof w->dir, "%s/file", w->root);
    write_file(w->dir, 0, "x", 1);
    must_refuse(w, SLUICE_ERR_IO, "must be a directory");
}

/* A second journal on the same state-dir ends with the pid of the first, and the first does not notice. */
static void test_second_process_is_refused_with_pid(void **state)
{
    struct world *w = *state;
    int up[2], down[2];
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte = 'u';
        close(up[0]);
        close(down[1]); /* when the parent ends early, so does the child */
        world_must_open(w);
        if (write(up[1], &byte, 1) != 1 || read(down[0], &byte, 1) != 1) _exit(1);
        _exit(put_source(w, "s", "a", 1) == 0 ? 0 : 2);
    }
    char byte;
    assert_int_equal(read(up[0], &byte, 1), 1);
    char word[32];
    snprintf(word, sizeof word, "process %d", (int)pid);
    must_refuse(w, SLUICE_ERR_BUSY, word);
    assert_int_equal(write(down[1], "d", 1), 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (int i = 0; i < 2; i++) {
        close(up[i]);
        close(down[i]);
    }
    world_must_open(w); /* its end, without a close, has freed the lock */
    assert_int_equal(w->state.source_count, 1);
}

/* A state-dir that cannot be written is refused before anything is read from it. */
static void test_read_only_dir_is_refused(void **state)
{
    struct world *w = *state;
    given_state(w);
    assert_int_equal(chmod(w->root, 0755), 0);
    assert_int_equal(chmod(world_path(w, "lock"), 0444), 0);
    assert_int_equal(chmod(world_path(w, "state.db"), 0444), 0);
    assert_int_equal(chmod(w->dir, 0555), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(9); /* root may write anywhere */
        _exit(world_open(w) == SLUICE_ERR_IO && strstr(w->error, "writable") != NULL ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(w->dir, 0700), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Damage in the header, in a page, by a cut, or a file of something else: refused with what to do, and left byte by byte. */
static void test_damaged_file_is_refused_and_left_alone(void **state)
{
    struct world *w = *state;
    static char before[1 << 20], after[1 << 20];
    given_state(w);
    size_t whole = read_file(world_path(w, "state.db"), before, sizeof before);
    assert_true(whole > 4 * 4096);
    for (int how = 0; how < 4; how++) {
        char path[160];
        snprintf(path, sizeof path, "%s", world_path(w, "state.db"));
        write_file(path, 0, before, whole);
        assert_int_equal(truncate(path, (off_t)whole), 0);
        if (how == 0) write_file(path, 0, "no such header..", 16);
        if (how == 1) write_file(path, 4096, "\377\377\377\377\377\377\377\377\377\377\377\377", 12);
        if (how == 2) assert_int_equal(truncate(path, 4096 * 2), 0);
        if (how == 3) write_file(path, (long)whole - 4096, "\001\002\003\004\005\006\007\010", 8);
        static char damaged[1 << 20];
        size_t len = read_file(path, damaged, sizeof damaged);
        must_refuse(w, SLUICE_ERR_JOURNAL, "sluice adopt");
        assert_int_equal(read_file(path, after, sizeof after), len);
        assert_memory_equal(after, damaged, len);
    }
}

/* A file that lost its content while its log is there would be taken for a first start, and the log thrown away: refused. */
static void test_log_without_its_file_is_refused(void **state)
{
    struct world *w = *state;
    given_state(w);
    write_file(world_path(w, "state.db-wal"), 0, "some frames", 11);
    assert_int_equal(unlink(world_path(w, "state.db")), 0);
    must_refuse(w, SLUICE_ERR_JOURNAL, "-wal");
    assert_int_equal(access(world_path(w, "state.db-wal"), F_OK), 0);
}

/* A newer sluice that was killed: its schema stands in the log alone. */
static void child_is_newer(struct world *w)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(world_path(w, "state.db"), &db), SQLITE_OK);
    static const char sql[] =
        "PRAGMA user_version=3; ALTER TABLE source ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'";
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* A schema from the future is refused by its number; the files stay as they were, so that version can go on. */
static void test_newer_schema_is_refused(void **state)
{
    struct world *w = *state;
    given_state(w);
    world_in_child(w, child_is_newer);
    static char before[1 << 20], after[1 << 20];
    size_t len = read_file(world_path(w, "state.db-wal"), before, sizeof before);
    must_refuse(w, SLUICE_ERR_JOURNAL, "schema 3");
    assert_int_equal(read_file(world_path(w, "state.db-wal"), after, sizeof after), len);
    assert_memory_equal(after, before, len);
    world_sql(w, "UPDATE source SET colour = 'green'");
}

/* As the first version wrote it: it is brought up to date, once; whether a source had moved is guessed from its epoch. */
static void test_older_schema_is_brought_up_to_date(void **state)
{
    struct world *w = *state;
    given_state(w);
    world_must_open(w);
    assert_int_equal(put_source(w, "fresh", "a", 1), 0);
    world_close(w);
    world_sql(w, "PRAGMA user_version=1; CREATE TABLE older AS SELECT * FROM source; DROP TABLE source;"
                 "CREATE TABLE source(source_id TEXT PRIMARY KEY CHECK(source_id <> ''), has_record INTEGER NOT NULL,"
                 " active TEXT NOT NULL, epoch INTEGER NOT NULL, is_held INTEGER NOT NULL, accepted_loss TEXT NOT NULL,"
                 " latch TEXT NOT NULL, latch_backend TEXT NOT NULL) STRICT, WITHOUT ROWID;"
                 "INSERT INTO source SELECT source_id, has_record, active, epoch, is_held, accepted_loss, latch,"
                 " latch_backend FROM older; DROP TABLE older;"
                 "INSERT INTO source VALUES ('moved', 1, 'b', 3, 0, '', '', '')");
    for (int i = 0; i < 2; i++) {
        world_must_open(w);
        assert_true(journal_state_source(&w->state, "moved")->has_moved);
        assert_int_equal(journal_state_source(&w->state, "moved")->epoch, 3);
        assert_false(journal_state_source(&w->state, "fresh")->has_moved);
        assert_int_equal(put_source(w, "fresh", "a", 2), 0);
        world_close(w);
    }
}

/* A database of another program is refused, not filled with our tables. */
static void test_foreign_database_is_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(mkdir(w->dir, 0700), 0);
    world_sql(w, "CREATE TABLE customers(id INTEGER)");
    must_refuse(w, SLUICE_ERR_JOURNAL, "another program");
    world_sql(w, "SELECT id FROM customers");
}

/* Where the log cannot be a write-ahead log, or commits would not be synced, a power cut brings an old epoch back: refused. */
static void test_open_refuses_what_reads_back_weaker(void **state)
{
    struct world *w = *state;
    vfs_fault_pragma("journal_mode", "delete");
    must_refuse(w, SLUICE_ERR_JOURNAL, "\"delete\" instead of \"wal\"");
    vfs_fault_pragma("synchronous", "1");
    must_refuse(w, SLUICE_ERR_JOURNAL, "\"1\" instead of \"2\"");
    vfs_fault_pragma(NULL, NULL);
    world_must_open(w);
}

/* A state file in rollback mode, as a person's tool may have left it, is brought back to write-ahead logging. */
static void test_open_brings_delete_mode_back_to_wal(void **state)
{
    struct world *w = *state;
    given_state(w);
    world_sql(w, "PRAGMA journal_mode=DELETE");
    world_must_open(w);
    assert_int_equal(put_source(w, "s", "a", 5), 0);
    assert_int_equal(access(world_path(w, "state.db-wal"), F_OK), 0);
}

/* A full or failing disk at the first start is an error with its cause; and once it works again, so does the start. */
static void test_open_on_failing_disk_says_so_and_can_be_repeated(void **state)
{
    struct world *w = *state;
    static const char *const specs[] = { "sync:1+:eio", "write:1+:enospc", "write:1+:eio", "sync:2+:enospc",
                                         "write:4+:enospc" };
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        struct vfs_fault fault;
        assert_int_equal(vfs_fault_parse(specs[i], &fault), 0);
        vfs_fault_arm(&fault);
        int rv = world_open(w);
        vfs_fault_arm(NULL);
        assert_int_equal(rv, SLUICE_ERR_IO);
        assert_non_null(strstr(w->error, "state.db"));
        if (fault.op == VFS_FAULT_WRITE && fault.action == VFS_FAULT_ENOSPC)
            assert_non_null(strstr(w->error, "make room"));
    }
    world_must_open(w);
    assert_int_equal(put_source(w, "s", "a", 1), 0);
}

/* The words of SLUICE_FAULT_DISK: what is understood, and that a typo is not taken for "no fault". */
static void test_fault_words(void **state)
{
    (void)state;
    struct vfs_fault f;
    assert_int_equal(vfs_fault_parse("sync:3:eio", &f), 0);
    assert_int_equal(f.op, VFS_FAULT_SYNC);
    assert_int_equal(f.nth, 3);
    assert_false(f.is_lasting);
    assert_int_equal(f.action, VFS_FAULT_EIO);
    assert_int_equal(vfs_fault_parse("truncate:1+:crash-after:/tmp/x:y", &f), 0);
    assert_true(f.is_lasting);
    assert_int_equal(f.action, VFS_FAULT_CRASH_AFTER);
    assert_string_equal(f.arm_file, "/tmp/x:y");
    static const char *const bad[] = { "",        "sync",        "sync:",       "sync:0:eio", "sync:x:eio",
                                       "sync:1:", "sync:1:boom", "fsync:1:eio", "sync:1-:eio" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(vfs_fault_parse(bad[i], &f), SLUICE_ERR_INVALID);
    struct text error = TEXT_INIT;
    assert_int_equal(setenv("SLUICE_FAULT_DISK", "sync:1:boom", 1), 0);
    assert_int_equal(vfs_fault_install_from_environment(&error), SLUICE_ERR_INVALID);
    assert_non_null(strstr(text_str(&error), "sync:1:boom"));
    text_free(&error);
    assert_int_equal(unsetenv("SLUICE_FAULT_DISK"), 0);
    assert_int_equal(vfs_fault_install_from_environment(&error), 0);
}

int main(void)
{
    if (vfs_fault_install() != 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open_makes_state_dir_private, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_refuses_dir_that_cannot_be_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_process_is_refused_with_pid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only_dir_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_file_is_refused_and_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_without_its_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_schema_is_brought_up_to_date, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_schema_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_database_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_refuses_what_reads_back_weaker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_brings_delete_mode_back_to_wal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_on_failing_disk_says_so_and_can_be_repeated, setup, teardown),
        cmocka_unit_test(test_fault_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
