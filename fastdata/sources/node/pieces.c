/* What a cache asks the system about each of its pieces, for some of them in one call, without the interpreter's lock.

   Between two calls to the system Python does little, but each costs it the lock that all threads share, and its own
   code, which decoding has left out of the CPU's caches. `piece_calls.py` beside this file says what the functions do,
   and has the same in Python.

   Locks are Linux's open file description locks, as `byte_locks.py` has them. */

#define PY_SSIZE_T_CLEAN
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* F_OFD_SETLK, SEEK_DATA */
#endif
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

enum { SHARED, EXCLUSIVE, MISSING, CONTESTED };

enum { MOST = 1 << 24, REGION = 1 << 20, HEADER = 4096, ENTRY = 16 };

struct piece {
    int fd, lock_fd;
    long long offset, size, lock_start, block;
};

struct span {
    int fd;
    long long start, end;
};

struct share { /* of a ledger's region */
    long long number, bytes;
    uint64_t before;
};

/* A Python tuple as one of the above; -1 with an error set where it is none. */
typedef int (*parser)(PyObject *tuple, void *into);

static int parse_piece(PyObject *tuple, void *into) {
    struct piece *p = into;
    if (!PyArg_ParseTuple(tuple, "iLLiLL", &p->fd, &p->offset, &p->size, &p->lock_fd, &p->lock_start, &p->block))
        return -1;
    if (p->offset < 0 || p->size < 0 || p->lock_start < 0 || p->block < 1 || p->offset > INT64_MAX - p->size ||
        p->lock_start > INT64_MAX - p->size || p->block > REGION || p->offset > INT64_MAX - 2 * REGION) {
        PyErr_SetString(PyExc_ValueError, "a piece's offset, size, lock or block is none");
        return -1;
    }
    return 0;
}

static int parse_span(PyObject *tuple, void *into) {
    struct span *s = into;
    if (!PyArg_ParseTuple(tuple, "iLL", &s->fd, &s->start, &s->end))
        return -1;
    if (s->start < 0 || s->end <= s->start) { /* a length of 0 would mean everything */
        PyErr_SetString(PyExc_ValueError, "a span's end has to lie behind its start, and that not before 0");
        return -1;
    }
    return 0;
}

static int parse_share(PyObject *tuple, void *into) {
    struct share *s = into;
    if (!PyArg_ParseTuple(tuple, "LL", &s->number, &s->bytes))
        return -1;
    if (s->number < 0 || s->number > (INT64_MAX - HEADER) / ENTRY - 1 || s->bytes < 0 || s->bytes > INT64_MAX / MOST) {
        PyErr_SetString(PyExc_ValueError, "a region's number or bytes are none");
        return -1;
    }
    return 0;
}

/* All tuples of a sequence, each `size` bytes, to be freed; NULL with an error set. */
static void *parse_all(PyObject *sequence, parser parse, size_t size, Py_ssize_t *count) {
    *count = PySequence_Size(sequence);
    if (*count < 0)
        return NULL;
    if (*count > MOST) {
        PyErr_Format(PyExc_ValueError, "no more than %d at once", MOST);
        return NULL;
    }
    char *found = PyMem_Malloc(size * (size_t)*count + 1);
    if (!found)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < *count; i++) {
        PyObject *tuple = PySequence_GetItem(sequence, i);
        int failed = !tuple;
        if (tuple && !PyTuple_Check(tuple)) {
            PyErr_SetString(PyExc_TypeError, "tuples are expected");
            failed = 1;
        }
        failed = failed || parse(tuple, found + size * (size_t)i);
        Py_XDECREF(tuple);
        if (failed) {
            PyMem_Free(found);
            return NULL;
        }
    }
    return found;
}

/* 1 where the lock is had (or let go, with F_UNLCK), 0 where somebody else's is in the way, -1 with errno. */
static int lock(int fd, short kind, int64_t start, int64_t size) {
    struct flock wanted = {.l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    for (;;) {
        if (!fcntl(fd, F_OFD_SETLK, &wanted))
            return 1;
        if (errno == EAGAIN || errno == EACCES)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

/* Whether a piece begins with a hole for sure: 1, 0, or -1 with errno. */
static int is_hole(const struct piece *p) {
    int64_t begin = (p->offset + p->block - 1) / p->block * p->block;
    if (begin + p->block > p->offset + p->size)
        return 0;
    off_t data = lseek(p->fd, begin, SEEK_DATA);
    if (data >= 0)
        return data != begin;
    return errno == EINVAL ? 0 : errno == ENXIO ? 1 : -1;
}

static int look_for(const struct piece *p) {
    int hole = is_hole(p);
    if (hole < 0)
        return -1;
    int had = lock(p->lock_fd, hole ? F_WRLCK : F_RDLCK, p->lock_start, p->size);
    if (had <= 0)
        return had < 0 ? -1 : CONTESTED;
    if (!hole)
        return SHARED;
    hole = is_hole(p);
    return hole < 0 ? -1 : hole ? MISSING : EXCLUSIVE;
}

static PyObject *py_look(PyObject *Py_UNUSED(module), PyObject *sequence) {
    Py_ssize_t count;
    struct piece *pieces = parse_all(sequence, parse_piece, sizeof *pieces, &count);
    if (!pieces)
        return NULL;
    PyObject *result = NULL;
    char *found = PyMem_Malloc((size_t)count + 1);
    if (!found) {
        PyErr_NoMemory();
    } else {
        int each = 0;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count && each >= 0; i++) {
            each = look_for(&pieces[i]);
            found[i] = (char)each;
        }
        Py_END_ALLOW_THREADS
        result = each < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyBytes_FromStringAndSize(found, count);
        PyMem_Free(found);
    }
    PyMem_Free(pieces);
    return result;
}

/* Writes all of it, then makes the lock a shared one: 0, or errno. */
static int put(const struct piece *p, const char *data) {
    int64_t done = 0;
    while (done < p->size) {
        ssize_t written = pwrite(p->fd, data + done, (size_t)(p->size - done), p->offset + done);
        if (written > 0)
            done += written;
        else if (written == 0 || errno != EINTR)
            return written == 0 ? ENOSPC : errno;
    }
    return lock(p->lock_fd, F_RDLCK, p->lock_start, p->size) < 0 ? errno : 0;
}

static void release_all(Py_buffer *views, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++)
        PyBuffer_Release(&views[i]);
    PyMem_Free(views);
}

/* The buffers of as many objects as there are pieces, each as long as its piece; NULL with an error set. */
static Py_buffer *get_all(PyObject *sequence, const struct piece *pieces, Py_ssize_t count) {
    Py_ssize_t given = PySequence_Size(sequence);
    if (given != count) {
        if (given >= 0)
            PyErr_SetString(PyExc_ValueError, "as many buffers as pieces are expected");
        return NULL;
    }
    Py_buffer *views = PyMem_Malloc(sizeof *views * (size_t)count + 1);
    if (!views) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *object = PySequence_GetItem(sequence, i);
        int failed = !object || PyObject_GetBuffer(object, &views[i], PyBUF_SIMPLE);
        Py_XDECREF(object);
        if (failed) {
            release_all(views, i);
            return NULL;
        }
        if (views[i].len != pieces[i].size) {
            PyErr_Format(PyExc_ValueError, "%zd bytes for a piece of %lld", views[i].len, pieces[i].size);
            release_all(views, i + 1);
            return NULL;
        }
    }
    return views;
}

static PyObject *py_write(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *sequence, *data;
    Py_ssize_t count, done = 0;
    if (!PyArg_ParseTuple(args, "OO:write", &sequence, &data))
        return NULL;
    struct piece *pieces = parse_all(sequence, parse_piece, sizeof *pieces, &count);
    if (!pieces)
        return NULL;
    int failed = 0;
    Py_buffer *views = get_all(data, pieces, count);
    if (views) {
        Py_BEGIN_ALLOW_THREADS
        while (done < count && !(failed = put(&pieces[done], views[done].buf)))
            done++;
        Py_END_ALLOW_THREADS
        release_all(views, count);
    }
    PyMem_Free(pieces);
    return views ? Py_BuildValue("ni", done, failed) : NULL;
}

static PyObject *py_let_go(PyObject *Py_UNUSED(module), PyObject *sequence) {
    Py_ssize_t count;
    struct span *spans = parse_all(sequence, parse_span, sizeof *spans, &count);
    if (!spans)
        return NULL;
    int failed = 0;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        if (lock(spans[i].fd, F_UNLCK, spans[i].start, spans[i].end - spans[i].start) < 0)
            failed = errno;
    Py_END_ALLOW_THREADS
    PyMem_Free(spans);
    if (!failed)
        return Py_NewRef(Py_None);
    errno = failed;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static int64_t at(int64_t number) { return HEADER + number * ENTRY; }

static uint64_t clipped(uint64_t bytes) { return bytes > REGION ? REGION : bytes; }

static uint64_t grown(const struct share *s) { return clipped(clipped(s->before) + (uint64_t)s->bytes); }

/* 8 bytes at an offset, 0 where the file ends before: 0, or -1 with errno. */
static int get_number(int fd, int64_t offset, uint64_t *number) {
    ssize_t came = pread(fd, number, sizeof *number, offset);
    if (came != sizeof *number)
        *number = 0;
    return came < 0 ? -1 : 0;
}

static int set_numbers(int fd, int64_t offset, const uint64_t *numbers, size_t size) {
    ssize_t written = pwrite(fd, numbers, size, offset);
    if (written >= 0 && (size_t)written != size)
        errno = ENOSPC;
    return written == (ssize_t)size ? 0 : -1;
}

/* The sum first, which so is never too low. What says more than a region has, or a sum beyond all bounds, is damage. */
static int add(int fd, struct share *shares, Py_ssize_t count, uint64_t now) {
    uint64_t more = 0, total;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (get_number(fd, at(shares[i].number) + 8, &shares[i].before))
            return -1;
        more += grown(&shares[i]) - clipped(shares[i].before);
    }
    if (get_number(fd, 0, &total))
        return -1;
    total = total > UINT64_MAX - more ? UINT64_MAX : total + more;
    if (set_numbers(fd, 0, &total, sizeof total))
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t entry[] = {now, grown(&shares[i])};
        if (set_numbers(fd, at(shares[i].number), entry, sizeof entry))
            return -1;
    }
    return 0;
}

static PyObject *py_add(PyObject *Py_UNUSED(module), PyObject *args) {
    int fd, failed;
    PyObject *sequence;
    unsigned long long now;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "iOK:add", &fd, &sequence, &now))
        return NULL;
    struct share *shares = parse_all(sequence, parse_share, sizeof *shares, &count);
    if (!shares)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = add(fd, shares, count, now);
    Py_END_ALLOW_THREADS
    PyObject *result = failed ? PyErr_SetFromErrno(PyExc_OSError) : Py_NewRef(Py_None);
    PyMem_Free(shares);
    return result;
}

static PyMethodDef methods[] = {
    {"look", py_look, METH_O, "look(pieces)"},
    {"write", py_write, METH_VARARGS, "write(pieces, data)"},
    {"let_go", py_let_go, METH_O, "let_go(spans)"},
    {"add", py_add, METH_VARARGS, "add(fd, shares, now)"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastdata.sources.node._pieces",
    .m_doc = "Calls about some pieces of a cache; fastdata.sources.node.piece_calls says what its functions do.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__pieces(void) { return PyModuleDef_Init(&module_definition); }
