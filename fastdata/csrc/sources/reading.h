/* Ranges of open files, and whole files. */

#pragma once

#include <stdint.h>

/* What `read_files` says of a file that it does not read, if not minus errno. */
enum { NOT_REGULAR = -100001, LARGER_THAN_LIMIT = -100002, NO_ROOM = -100003 };

/* Bytes read, fewer than `size` at the end of the file only; negative: errno. */
int64_t read_range(int fd, uint8_t *into, int64_t size, int64_t offset);

/* A whole file of up to `limit` bytes. Its size, minus errno, or one of the above. */
int64_t read_file(const char *path, uint8_t *into, int64_t room, int64_t limit);
