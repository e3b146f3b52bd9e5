/* What module.c lists; kernel.py says what each does. All let go of the interpreter's lock once. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *py_headers(PyObject *module, PyObject *args);
PyObject *py_look(PyObject *module, PyObject *args);
PyObject *py_decode(PyObject *module, PyObject *args);
PyObject *py_make_crop_ready(PyObject *module, PyObject *args);
PyObject *py_recolour(PyObject *module, PyObject *args);
PyObject *py_is_undamaged(PyObject *module, PyObject *args);
PyObject *py_read(PyObject *module, PyObject *args);
PyObject *py_read_files(PyObject *module, PyObject *args);
