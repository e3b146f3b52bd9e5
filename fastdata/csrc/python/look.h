/* kernel.py's Look: what to find out of files while their bytes are at hand, headers and a view of each. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../bytes.h"
#include "../transforms/draw.h"

struct look {
    const struct step *steps;
    size_t step_count;
    Py_ssize_t count;
    int filter;
    double reducing_gap, max_pixels;
    Py_buffer program, rngs, headers, jobs;
};

/* From a Look's arguments, for `count` files; None where nobody looks. -1, with an exception, for any other. */
int get_look(PyObject *object, Py_ssize_t count, struct look *look);

/* File number i of those that are looked at. Needs no lock. */
void look_at(struct look *look, Py_ssize_t i, struct bytes data);

void end_look(struct look *look);
