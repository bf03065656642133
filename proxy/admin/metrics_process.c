/* SPDX-License-Identifier: Apache-2.0 */
/* The process' own metrics, by the names that every Prometheus client library gives them. */
#include <dirent.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "admin/metrics.h"
#include "core/text.h"

static void put(struct text *out, const char *name, const char *type, const char *help, double value)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name, value);
}

/* The text behind the command's name in /proc/self/stat, which may hold anything, also blanks and brackets. */
static const char *read_stat(char *bytes, size_t room)
{
    FILE *f = fopen("/proc/self/stat", "re");
    if (f == NULL) return NULL;
    size_t len = fread(bytes, 1, room - 1, f);
    fclose(f);
    bytes[len] = '\0';
    const char *end = strrchr(bytes, ')');
    return end == NULL ? NULL : end + 1;
}

static double boot_unix_s(void)
{
    char line[256];
    double boot = 0;
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL) return 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "btime %lf", &boot) == 1) break;
    }
    fclose(f);
    return boot;
}

/* Fields 22 to 24 of proc(5)'s stat: start in ticks since boot, virtual bytes, resident pages. */
static void put_stat(struct text *out)
{
    char bytes[1024];
    uint64_t start_ticks;
    uint64_t virtual_bytes;
    int64_t resident_pages;
    const char *stat = read_stat(bytes, sizeof bytes);
    if (stat == NULL || sscanf(stat,
                               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64
                               " %" SCNu64 " %" SCNd64,
                               &start_ticks, &virtual_bytes, &resident_pages) != 3) {
        return;
    }
    put(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", (double)virtual_bytes);
    put(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
        (double)resident_pages * (double)sysconf(_SC_PAGESIZE));
    double boot = boot_unix_s();
    if (boot > 0) {
        put(out, "process_start_time_seconds", "gauge", "Start time of the process since the epoch in seconds.",
            boot + (double)start_ticks / (double)sysconf(_SC_CLK_TCK));
    }
}

static void put_descriptors(struct text *out)
{
    struct rlimit limit;
    DIR *dir = opendir("/proc/self/fd");
    if (dir != NULL) {
        double count = -3; /* ".", ".." and the folder's own */
        while (readdir(dir) != NULL)
            count++;
        closedir(dir);
        put(out, "process_open_fds", "gauge", "Number of open file descriptors.", count);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        put(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", (double)limit.rlim_cur);
    }
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void admin_metrics_process(struct text *out)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        put(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
            seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
    put_stat(out);
    put_descriptors(out);
}
