/* `recolour`: changes of a picture's colours, in place. */

#include "functions.h"

#include <stdlib.h>

#include "../images/simd.h"

PyObject *py_recolour(PyObject *module, PyObject *args) {
    Py_buffer pixels, changes;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "w*y*:recolour", &pixels, &changes))
        return NULL;
    uint8_t *planes = pixels.len ? malloc((size_t)pixels.len) : NULL;
    if (pixels.len % 3 || changes.len % (Py_ssize_t)sizeof(struct change) || (uintptr_t)changes.buf % 4)
        PyErr_SetString(PyExc_ValueError, "pixels are three bytes each, changes aligned CHANGEs");
    else if (pixels.len && !planes)
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        simd.recolour(pixels.buf, planes, (size_t)pixels.len / 3, changes.buf,
                      (size_t)changes.len / sizeof(struct change));
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    free(planes);
    PyBuffer_Release(&pixels);
    PyBuffer_Release(&changes);
    return result;
}
