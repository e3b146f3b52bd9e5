/* Reading that fails now and then, or gives less than asked for: loaded by LD_PRELOAD before the C library.
 *
 * FAULTY_PATH: of files whose path has this in it. FAULTY_ERRNO: what fails, by FAULTY_EVERY call (1: all).
 * FAULTY_SHORT: at most so many bytes a call. FAULTY_LOG: a file that gets a byte for each failure. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name) {
    const char *value = getenv(name);
    return value ? atol(value) : 0;
}

static int is_meant(int fd) {
    char link[64], path[4096];
    const char *part = getenv("FAULTY_PATH");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (!part || size < 0)
        return 0;
    path[size] = 0;
    return strstr(path, part) != NULL;
}

/* Whether this call fails; else how many bytes it may give. */
static int fails(int fd, size_t *size) {
    if (!is_meant(fd))
        return 0;
    long every = number("FAULTY_EVERY"), most = number("FAULTY_SHORT");
    if (every && atomic_fetch_add(&calls, 1) % every == every - 1) {
        int log = open(getenv("FAULTY_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (log < 0 || write(log, "x", 1) != 1)
            abort();
        close(log);
        errno = (int)number("FAULTY_ERRNO");
        return 1;
    }
    if (most && *size > (size_t)most)
        *size = (size_t)most;
    return 0;
}

ssize_t pread(int fd, void *into, size_t size, off_t offset) {
    ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");
    return fails(fd, &size) ? -1 : real(fd, into, size, offset);
}

ssize_t pread64(int fd, void *into, size_t size, off_t offset) { return pread(fd, into, size, offset); }

ssize_t read(int fd, void *into, size_t size) {
    ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    return fails(fd, &size) ? -1 : real(fd, into, size);
}
