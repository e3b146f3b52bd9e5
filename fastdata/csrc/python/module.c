/* The extension module fastdata.images._kernel: from the bytes of some images to their rows of a batch, without the
 * interpreter's lock. Python's limited API, libjpeg-turbo.
 *
 * The folders are those of fastdata/, and use each other in the same order:
 *
 *   python/      its functions' arguments; alone knows Python
 *   images/      bytes to pixels; in the order of the line:
 *                jpeg, kind         what a file says of itself, and who can decode it
 *                geometry           where a view's box and window lie
 *                restart, cut       the part of a file that a box needs (crc32: of its table)
 *                picture, worker    how libjpeg is asked, with what memory (libjpeg, scratch)
 *                axis, passes       which pixels make a pixel, and those sums (passes_x86, chosen by simd)
 *                resize             rows to rows, as they are decoded
 *                decode, views      one view of a picture, or several
 *                colour             brightness and the like, in place
 *                crop_ready         a file with restart markers, for packing
 *                damage, entropy    whether a file can be read to its end, for packing
 *   sources/     ranges and files; a tar header that names a member
 *   transforms/  steps, drawn and folded into a view
 *   bounds.h     what an image may claim
 *
 * Nothing in an image is trusted: offsets are checked against its length, sizes are bounded before memory is allocated,
 * and at libjpeg's first warning the sample is refused. What is refused is decoded by the reference in Python, whose
 * verdict counts; so a refusal is never wrong, only slow.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../images/crc32.h"
#include "../images/libjpeg.h"
#include "../images/simd.h"
#include "../sources/reading.h"
#include "functions.h"

#define TEXT(number) #number
#define VERSION_TEXT(number) TEXT(number)

static int start_module(PyObject *module) {
    fill_crc_table();
    choose_simd();
    return PyModule_AddStringConstant(module, "simd", simd.name) ||
                   PyModule_AddStringConstant(module, "libjpeg", VERSION_TEXT(LIBJPEG_TURBO_VERSION)) ||
                   PyModule_AddIntConstant(module, "NOT_REGULAR", NOT_REGULAR) ||
                   PyModule_AddIntConstant(module, "LARGER_THAN_LIMIT", LARGER_THAN_LIMIT) ||
                   PyModule_AddIntConstant(module, "NO_ROOM", NO_ROOM)
               ? -1
               : 0;
}

static PyMethodDef methods[] = {
    {"headers", py_headers, METH_VARARGS, "headers(sources, out)"},
    {"look", py_look, METH_VARARGS, "look(sources, look)"},
    {"decode", py_decode, METH_VARARGS, "decode(sources, jobs, rows, status, nanoseconds=None)"},
    {"make_crop_ready", py_make_crop_ready, METH_VARARGS, "make_crop_ready(data, interval)"},
    {"recolour", py_recolour, METH_VARARGS, "recolour(pixels, changes)"},
    {"is_undamaged", py_is_undamaged, METH_VARARGS, "is_undamaged(data)"},
    {"read", py_read, METH_VARARGS, "read(ranges, out, skip=0, look=None, members=None)"},
    {"read_files", py_read_files, METH_VARARGS, "read_files(paths, out, sizes, limit, look=None)"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, start_module},
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
    .m_name = "fastdata.images._kernel",
    .m_doc = "The compiled kernel; fastdata.images.kernel says what its functions do.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module_definition); }
