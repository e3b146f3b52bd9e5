/* `read` and `read_files`: bytes of open files and of whole ones, and what a Look finds in them. */

#include "functions.h"

#include <string.h>

#include "../arithmetic.h"
#include "../sources/member.h"
#include "../sources/reading.h"
#include "arguments.h"
#include "look.h"

enum { FD, OFFSET, SIZE, READ, RANGE }; /* the columns of a range, and their number */

/* Looks at what lies behind the first `skip` bytes of each, without the last ones: as many as READ says beforehand.
   `members` may be NULL. */
static void read_all(int64_t *ranges, Py_ssize_t count, uint8_t *out, int64_t skip, struct look *look,
                     struct member *members) {
    for (Py_ssize_t i = 0; i < count; i++, out += ranges[SIZE], ranges += RANGE) {
        int64_t end = ranges[SIZE] - most(0, ranges[READ]);
        ranges[READ] = read_range((int)ranges[FD], out, ranges[SIZE], ranges[OFFSET]);
        if (members)
            check_member(members + i, (struct bytes){out, (size_t)most(0, ranges[READ])});
        if (look->count)
            look_at(look, i, (struct bytes){out + skip, (size_t)most(0, least(ranges[READ], end) - skip)});
    }
}

static int check_ranges(const int64_t *ranges, Py_ssize_t count, Py_ssize_t room) {
    int64_t left = room;
    for (const int64_t *range = ranges; range < ranges + RANGE * count; left -= range[SIZE], range += RANGE)
        if (range[SIZE] < 0 || range[SIZE] > left) {
            PyErr_Format(PyExc_ValueError, "a range of %lld bytes, out has %lld bytes left", (long long)range[SIZE],
                         (long long)left);
            return -1;
        }
    return 0;
}

/* Leaves `view` as it is for None. */
static int get_members(PyObject *object, Py_ssize_t count, Py_buffer *view) {
    if (object == Py_None)
        return 0;
    if (get_array(object, "members", (Py_ssize_t)sizeof(struct member) * count, PyBUF_WRITABLE, view))
        return -1;
    if (!((uintptr_t)view->buf % 8))
        return 0;
    PyErr_SetString(PyExc_ValueError, "members must be aligned");
    PyBuffer_Release(view);
    return -1;
}

PyObject *py_read(PyObject *module, PyObject *args) {
    Py_buffer ranges, out, members = {0};
    PyObject *look_object = Py_None, *members_object = Py_None;
    struct look look;
    long long skip = 0;
    int ready = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "w*w*|LOO:read", &ranges, &out, &skip, &look_object, &members_object))
        return NULL;
    Py_ssize_t count = ranges.len / (8 * RANGE);
    if (ranges.len % (8 * RANGE) || (uintptr_t)ranges.buf % 8)
        PyErr_SetString(PyExc_ValueError, "ranges must be int64 of shape (n, 4)");
    else if (skip < 0)
        PyErr_SetString(PyExc_ValueError, "skip must be at least 0");
    else if (!check_ranges(ranges.buf, count, out.len) && !get_members(members_object, count, &members)) {
        if (!get_look(look_object, count, &look)) {
            ready = 1;
            Py_BEGIN_ALLOW_THREADS
            read_all(ranges.buf, count, out.buf, skip, &look, members.buf);
            Py_END_ALLOW_THREADS
            end_look(&look);
        }
        if (members.buf)
            PyBuffer_Release(&members);
    }
    PyBuffer_Release(&ranges);
    PyBuffer_Release(&out);
    return ready ? Py_NewRef(Py_None) : NULL;
}

static void read_files(const struct buffers *paths, Py_buffer *out, int64_t limit, char *sizes, struct look *look) {
    uint8_t *into = out->buf;
    int64_t room = out->len;
    for (Py_ssize_t i = 0; i < paths->count; i++, sizes += 8) {
        int64_t size = read_file(paths->views[i].buf, into, room, limit);
        memcpy(sizes, &size, sizeof size);
        if (look->count)
            look_at(look, i, (struct bytes){into, (size_t)most(0, size)});
        if (size > 0)
            into += size, room -= size;
    }
}

/* Bytes objects end with a zero byte behind their last; one before that would end the path. */
static int check_paths(const struct buffers *paths) {
    for (Py_ssize_t i = 0; i < paths->count; i++) {
        if (!PyBytes_Check(paths->views[i].obj)) {
            PyErr_SetString(PyExc_TypeError, "a path must be bytes");
            return -1;
        }
        if (memchr(paths->views[i].buf, 0, (size_t)paths->views[i].len)) {
            PyErr_SetString(PyExc_ValueError, "a path has a null byte");
            return -1;
        }
    }
    return 0;
}

PyObject *py_read_files(PyObject *module, PyObject *args) {
    PyObject *sequence, *sizes_object, *look_object = Py_None, *result = NULL;
    struct buffers paths;
    struct look look;
    Py_buffer out, sizes;
    long long limit;
    (void)module;
    if (!PyArg_ParseTuple(args, "Ow*OL|O:read_files", &sequence, &out, &sizes_object, &limit, &look_object))
        return NULL;
    if (!get_all(sequence, PyBUF_SIMPLE, &paths)) {
        if (!check_paths(&paths) && !get_array(sizes_object, "sizes", 8 * paths.count, PyBUF_WRITABLE, &sizes)) {
            if (!get_look(look_object, paths.count, &look)) {
                Py_BEGIN_ALLOW_THREADS
                read_files(&paths, &out, limit, sizes.buf, &look);
                Py_END_ALLOW_THREADS
                end_look(&look);
                result = Py_NewRef(Py_None);
            }
            PyBuffer_Release(&sizes);
        }
        release_all(&paths);
    }
    PyBuffer_Release(&out);
    return result;
}
