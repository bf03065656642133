/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - plays the files of the folders of its command line to a fuzzer, once each. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "fuzz.h"

static int replay_file(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (f == NULL || fstat(fileno(f), &st) != 0) {
        perror(path);
        if (f != NULL) fclose(f);
        return -1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size); /* of its exact size, so that the sanitizer sees a byte too many */
    int rv = data != NULL && fread(data, 1, size, f) == size ? LLVMFuzzerTestOneInput(data, size) : -1;
    free(data);
    fclose(f);
    return rv;
}

static int replay_folder(const char *path, int *played)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return -1;
    }
    int rv = 0;
    for (struct dirent *entry; rv == 0 && (entry = readdir(dir)) != NULL;) {
        char file[PATH_MAX];
        if (entry->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        rv = replay_file(file);
        ++*played;
    }
    closedir(dir);
    return rv;
}

int main(int argc, char **argv)
{
    int played = 0;
    for (int i = 1; i < argc; i++)
        if (replay_folder(argv[i], &played) != 0) return 1;
    printf("%d files\n", played);
    return played > 0 ? 0 : 1;
}
