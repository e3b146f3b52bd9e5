/* Ranges of open files, and whole files. By pread, since threads share files and would share a position, too. */

#include "reading.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int64_t read_range(int fd, uint8_t *into, int64_t size, int64_t offset) {
    int64_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, into + done, (size_t)(size - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -(int64_t)errno;
        if (!got)
            break;
        done += got;
    }
    return done;
}

/* An open file from its start to its end, which is not where fstat says if somebody writes to it. */
static int64_t read_open_file(int fd, uint8_t *into, int64_t room, int64_t limit) {
    struct stat about;
    if (fstat(fd, &about))
        return -(int64_t)errno;
    if (!S_ISREG(about.st_mode))
        return NOT_REGULAR;
    if (about.st_size > limit)
        return LARGER_THAN_LIMIT;
    if (about.st_size >= room)
        return NO_ROOM;
    int64_t size = read_range(fd, into, room, 0);
    if (size > limit)
        return LARGER_THAN_LIMIT;
    return size == room ? NO_ROOM : size; /* without room left its end was not seen */
}

int64_t read_file(const char *path, uint8_t *into, int64_t room, int64_t limit) {
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would wait */
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -(int64_t)errno;
    int64_t size = read_open_file(fd, into, room, limit);
    close(fd);
    return size;
}
