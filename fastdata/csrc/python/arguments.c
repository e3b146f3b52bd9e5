/* Buffers of arguments: got before a function lets go of the lock, given back when it has it again. */

#include "arguments.h"

void release_all(struct buffers *buffers) {
    for (Py_ssize_t i = 0; i < buffers->count; i++)
        PyBuffer_Release(&buffers->views[i]);
    PyMem_Free(buffers->views);
    *buffers = (struct buffers){0, NULL};
}

int get_all(PyObject *sequence, int flags, struct buffers *buffers) {
    Py_ssize_t count = PySequence_Size(sequence);
    *buffers = (struct buffers){0, NULL};
    if (count < 0)
        return -1;
    buffers->views = PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer));
    if (!buffers->views) {
        PyErr_NoMemory();
        return -1;
    }
    for (; buffers->count < count; buffers->count++) {
        PyObject *item = PySequence_GetItem(sequence, buffers->count);
        int failed = !item || PyObject_GetBuffer(item, &buffers->views[buffers->count], flags);
        Py_XDECREF(item);
        if (failed) {
            release_all(buffers);
            return -1;
        }
    }
    return 0;
}

int get_array(PyObject *object, const char *name, Py_ssize_t size, int flags, Py_buffer *view) {
    if (PyObject_GetBuffer(object, view, flags))
        return -1;
    if (view->len == size)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s must have %zd bytes, got %zd", name, size, view->len);
    PyBuffer_Release(view);
    return -1;
}
