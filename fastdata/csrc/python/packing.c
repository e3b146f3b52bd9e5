/* What packing asks of a whole file: `make_crop_ready` and `is_undamaged`. */

#include "functions.h"

#include <stdlib.h>

#include "../images/crop_ready.h"
#include "../images/damage.h"
#include "arguments.h"

PyObject *py_make_crop_ready(PyObject *module, PyObject *args) {
    Py_buffer data;
    int interval;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*i:make_crop_ready", &data, &interval))
        return NULL;
    struct transcoder *t = PyMem_Calloc(1, sizeof *t);
    if (!t) {
        PyBuffer_Release(&data);
        return PyErr_NoMemory();
    }
    const char *refusal;
    Py_BEGIN_ALLOW_THREADS
    refusal = make_crop_ready(t, bytes_of(&data), interval);
    Py_END_ALLOW_THREADS
    if (refusal)
        PyErr_Format(t->escape.status == NO_MEMORY ? PyExc_MemoryError : PyExc_ValueError, "%s", refusal);
    else
        result = PyBytes_FromStringAndSize((const char *)t->made, (Py_ssize_t)t->size);
    free(t->made);
    PyMem_Free(t);
    PyBuffer_Release(&data);
    return result;
}

PyObject *py_is_undamaged(PyObject *module, PyObject *args) {
    Py_buffer data;
    int undamaged;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*:is_undamaged", &data))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    undamaged = is_undamaged(bytes_of(&data));
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    return undamaged < 0 ? PyErr_NoMemory() : PyBool_FromLong(undamaged);
}
