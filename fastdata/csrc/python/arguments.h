/* Buffers that a function is given. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../bytes.h"

/* The items of a sequence, each with its buffer; what a function holds while it is without the lock. */
struct buffers {
    Py_ssize_t count;
    Py_buffer *views;
};

/* -1, with an exception, where one has no such buffer. */
int get_all(PyObject *sequence, int flags, struct buffers *buffers);

void release_all(struct buffers *buffers);

/* A writable (or readable) C-contiguous buffer of just so many bytes; -1, with an exception, for any other. */
int get_array(PyObject *object, const char *name, Py_ssize_t size, int flags, Py_buffer *view);

static inline struct bytes bytes_of(const Py_buffer *view) { return (struct bytes){view->buf, (size_t)view->len}; }
