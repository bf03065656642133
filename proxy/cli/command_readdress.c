/* SPDX-License-Identifier: Apache-2.0 */
/* readdress: read the user's files, write the new source file beside the old one, order it, show its steps. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/args.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/render.h"
#include "config/config.h"
#include "config/dm_file.h"
#include "core/error.h"
#include "core/mem.h"

/* A file of the user's, whole. It holds passwords. */
struct file {
    char *text;
    size_t len;
    mode_t mode;
};

static void file_free(struct file *f)
{
    if (f->text != NULL) explicit_bzero(f->text, f->len);
    mem_free(f->text);
    *f = (struct file){ 0 };
}

static int fill_file(int fd, struct file *f)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return errno;
    if (!S_ISREG(st.st_mode)) return EINVAL;
    if (st.st_size > DM_FILE_BYTES_MAX) return EFBIG;
    f->mode = st.st_mode & 0777;
    f->text = mem_calloc(1, (size_t)st.st_size + 1);
    if (f->text == NULL) return ENOMEM;
    while (f->len < (size_t)st.st_size) {
        ssize_t n = read(fd, f->text + f->len, (size_t)st.st_size - f->len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) break; /* it has become shorter meanwhile */
        f->len += (size_t)n;
    }
    return strlen(f->text) == f->len ? 0 : EILSEQ;
}

static int read_file(const struct args *args, const char *path, struct file *f)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : fill_file(fd, f);
    if (fd >= 0) close(fd);
    if (error == 0) return CLI_EXIT_DONE;
    file_free(f);
    return output_fail(args, CLI_EXIT_USAGE, "%s: %s", path,
                       error == EFBIG    ? "larger than 256 KiB: no file of DM's"
                       : error == EILSEQ ? "it holds a byte of zero: save it as UTF-8"
                                         : strerror(error));
}

/* ---- the new file ---- */

struct new_file {
    char *path;
    bool is_ours; /* made by this run: taken away again when nothing came of it */
};

/* "dir/source.yaml" and 10.0.0.9:3400: "dir/source.10.0.0.9-3400.yaml"; what has no ending gets one. */
static char *new_path(const char *path, const struct config_address *to)
{
    struct text t = TEXT_INIT;
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash == NULL ? path : slash, '.');
    bool has_ending = dot != NULL && dot != path && dot[-1] != '/';
    text_append(&t, path, has_ending ? (size_t)(dot - path) : strlen(path));
    text_printf(&t, ".%s-%u%s", to->host, to->port, has_ending ? dot : ".yaml");
    return text_take(&t);
}

static bool is_written_already(const char *path, const char *text, size_t len)
{
    struct file f = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_same =
        fd >= 0 && fill_file(fd, &f) == 0 && f.text != NULL && f.len == len && memcmp(f.text, text, len) == 0;
    if (fd >= 0) close(fd);
    file_free(&f);
    return is_same;
}

static int write_all(int fd, const char *text, size_t len, mode_t mode)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        text += n;
        len -= (size_t)n;
    }
    return fchmod(fd, mode) != 0 || fsync(fd) != 0 ? errno : 0;
}

static int write_new(const struct args *args, const char *text, size_t len, mode_t mode, struct new_file *out)
{
    int fd = open(out->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST && is_written_already(out->path, text, len)) return CLI_EXIT_DONE;
    if (fd < 0 && errno == EEXIST)
        return output_fail(args, CLI_EXIT_USAGE,
                           "%s is there, and is another file than the one to be written: move it away", out->path);
    int error = fd < 0 ? errno : write_all(fd, text, len, mode);
    out->is_ours = fd >= 0;
    if (fd >= 0 && close(fd) != 0 && error == 0) error = errno;
    return error == 0 ? CLI_EXIT_DONE
                      : output_fail(args, CLI_EXIT_FAILED, "%s cannot be written: %s", out->path, strerror(error));
}

static int make_new(const struct args *args, const struct file *source, struct new_file *out)
{
    struct config_address to;
    struct text error = TEXT_INIT;
    char *text = NULL;
    size_t len = 0;
    if (config_parse_address(args->to, &to) != 0) return output_fail(args, CLI_EXIT_USAGE, "--to is no address");
    int rv = dm_file_readdress(source->text, source->len, to.host, to.port, &text, &len, &error);
    int code = CLI_EXIT_DONE;
    if (rv != 0) {
        code = output_fail(args, rv == SLUICE_ERR_SYNTAX ? CLI_EXIT_USAGE : CLI_EXIT_FAILED, "%s: %s",
                           args->source_file, error.len > 0 ? text_str(&error) : error_text(rv));
    } else if (!args->dry_run) {
        out->path = new_path(args->source_file, &to);
        code = out->path == NULL ? output_fail(args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM))
                                 : write_new(args, text, len, source->mode, out);
    }
    if (text != NULL) explicit_bzero(text, len);
    mem_free(text);
    mem_free(to.host);
    text_free(&error);
    return code;
}

/* Nothing came of it: DM never had it. Where that is not known it stays, for whoever looks. */
static void end_new(const struct args *args, const struct new_file *f, int code)
{
    if (f->path == NULL) return;
    if (f->is_ours && code != CLI_EXIT_DONE && code != CLI_EXIT_UNKNOWN) {
        unlink(f->path);
    } else if (code == CLI_EXIT_DONE && !args->json && !args->json_lines) {
        output_text("the source's file from now on: %s\n", f->path);
    }
}

/* ---- the order ---- */

/* The daemon numbers task files; here they have names. */
static int check_task(const struct args *args, const char *path, const struct file *f)
{
    struct dm_task_file task;
    struct text error = TEXT_INIT;
    int rv = dm_file_read_task(f->text, f->len, &task, &error);
    int code = CLI_EXIT_DONE;
    if (rv == 0) {
        dm_task_file_free(&task);
    } else {
        code = output_fail(args, rv == SLUICE_ERR_SYNTAX ? CLI_EXIT_USAGE : CLI_EXIT_FAILED, "%s: %s", path,
                           error.len > 0 ? text_str(&error) : error_text(rv));
    }
    text_free(&error);
    return code;
}

static int add_tasks(const struct args *args, json_t *list)
{
    int code = CLI_EXIT_DONE;
    for (size_t i = 0; code == CLI_EXIT_DONE && i < args->task_file_count; i++) {
        struct file f = { 0 };
        code = read_file(args, args->task_files[i], &f);
        if (code == CLI_EXIT_DONE) code = check_task(args, args->task_files[i], &f);
        if (code == CLI_EXIT_DONE && json_array_append_new(list, json_string(f.text)) != 0)
            code = output_fail(args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM));
        file_free(&f);
    }
    return code;
}

static int make_body(const struct args *args, const struct file *source, json_t **out)
{
    json_t *tasks = json_array();
    int code = add_tasks(args, tasks);
    if (code != CLI_EXIT_DONE) {
        json_decref(tasks);
        return code;
    }
    json_t *body = json_pack("{s:s,s:o}", "source-file", source->text, "task-files", tasks);
    int rv = body == NULL ? -1 : call_accepting(args, body);
    if (rv == 0 && args->to != NULL && !args->resume) rv = json_object_set_new(body, "to", json_string(args->to));
    if (rv == 0 && args->dry_run) rv = json_object_set_new(body, "dry-run", json_true());
    if (rv == 0 && args->resume) rv = json_object_set_new(body, "resume", json_true());
    if (rv == 0 && args->undo) rv = json_object_set_new(body, "undo", json_true());
    *out = body;
    return rv == 0 ? CLI_EXIT_DONE : output_fail(args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM));
}

static void render_calls(const json_t *calls)
{
    const json_t *call;
    size_t i;
    json_array_foreach(calls, i, call)
    {
        const json_t *body = json_object_get(call, "body"),
                     *config = json_array_get(json_object_get(body, "config"), 0);
        const char *file = json_string_value(config);
        if (file == NULL) file = json_string_value(json_object_get(body, "task"));
        char *text = json_dumps(body, JSON_COMPACT);
        output_text("%zu. %s %s\n   %s\n", i + 1, field_str(call, "method", "?"), field_str(call, "path", "?"),
                    text == NULL ? "" : text);
        free(text);
        if (file != NULL) output_text("   which is:\n%s", file);
    }
}

static int show_dry(const struct args *args, const json_t *doc, int code)
{
    if (args->json || args->json_lines) {
        output_json(args, doc, code);
        return code;
    }
    render_checks(json_object_get(doc, "checks"), true);
    if (json_array_size(json_object_get(doc, "calls")) > 0)
        output_text("\nin this order DM's master would be called:\n");
    render_calls(json_object_get(doc, "calls"));
    if (code != CLI_EXIT_DONE) return output_fail(args, code, "%s", field_str(doc, "msg", "the daemon gave no reason"));
    output_text("it would begin; nothing was done\n");
    return code;
}

static int order(const struct args *args, const json_t *body)
{
    const char *const path[] = { "sources", args->operands[0], "readdress", NULL };
    struct client *client = NULL;
    json_t *doc = NULL;
    int code = call_open(args, &client);
    if (code == CLI_EXIT_DONE) code = call_once(args, client, path, "", body, &doc);
    if (doc != NULL && json_is_array(json_object_get(doc, "calls"))) {
        code = show_dry(args, doc, code);
    } else if (doc != NULL) {
        code = call_follow(args, client, doc, code, "readdress", args->to == NULL ? "where it was to lead" : args->to);
    }
    json_decref(doc);
    client_close(client);
    return code;
}

/* At a terminal it is asked once more: while it lasts DM reads nothing. Scripts and --yes are not asked. */
static bool is_confirmed(const struct args *args)
{
    char reply[16] = "";
    if (args->yes || args->dry_run || !isatty(STDIN_FILENO)) return true;
    fprintf(stderr,
            "readdress %s%s%s%s: its tasks are stopped and started again\nType yes to go on: ", args->operands[0],
            args->resume ? " (going on)" : " to ", args->resume ? "" : args->to, args->undo ? ", back" : "");
    fflush(stderr);
    if (fgets(reply, sizeof reply, stdin) == NULL) reply[0] = '\0';
    reply[strcspn(reply, "\r\n")] = '\0';
    return strcmp(reply, "yes") == 0;
}

static int check_args(const struct args *args)
{
    if (args->source_file == NULL)
        return output_fail(args, CLI_EXIT_USAGE,
                           "--source-file is missing: DM masks passwords, so your own file is needed");
    if (args->to == NULL && !args->resume) return output_fail(args, CLI_EXIT_USAGE, "--to is missing: HOST:PORT");
    if (args->undo && !args->resume)
        return output_fail(args, CLI_EXIT_USAGE,
                           "--undo goes with --resume; one in progress is undone by: sluice abort %s",
                           args->operands[0]);
    if (args->resume && args->dry_run)
        return output_fail(args, CLI_EXIT_USAGE, "--resume and --dry-run exclude each other");
    return CLI_EXIT_DONE;
}

int command_readdress(const struct args *args, const struct cli_hooks *hooks)
{
    struct file source = { 0 };
    struct new_file made = { 0 };
    json_t *body = NULL;
    (void)hooks;
    int code = check_args(args);
    if (code == CLI_EXIT_DONE) code = read_file(args, args->source_file, &source);
    if (code == CLI_EXIT_DONE) code = make_body(args, &source, &body);
    if (code == CLI_EXIT_DONE && !is_confirmed(args))
        code = output_fail(args, CLI_EXIT_USAGE, "not confirmed; nothing was done");
    if (code == CLI_EXIT_DONE && !args->resume) code = make_new(args, &source, &made);
    if (code == CLI_EXIT_DONE) code = order(args, body);
    end_new(args, &made, code);
    json_decref(body);
    mem_free(made.path);
    file_free(&source);
    return code;
}
