/* Headers of files, and a view of each, drawn by its size. */

#include "look.h"

#include <string.h>

#include "../images/kind.h"
#include "arguments.h"
#include "functions.h"

static enum kind write_header(struct bytes data, char *out) {
    struct header header;
    enum kind kind = kind_of(data, &header);
    int32_t row[4] = {header.width, header.height, header.orientation, (int32_t)kind};
    if (kind == REFUSED || kind == NOT_JPEG)
        row[0] = row[1] = row[2] = 0;
    memcpy(out, row, sizeof row);
    return kind;
}

void look_at(struct look *look, Py_ssize_t i, struct bytes data) {
    char *out = (char *)look->headers.buf + 16 * i;
    struct job job = {.filter = look->filter, .reducing_gap = look->reducing_gap};
    uint64_t rng;
    int32_t row[4];
    enum kind kind = write_header(data, out);
    memcpy(row, out, sizeof row);
    memcpy(&rng, (const char *)look->rngs.buf + 8 * i, sizeof rng);
    int turned = row[2] >= 5;
    job.orientation = row[2];
    if (kind == DECODABLE && ((double)row[0] * row[1] > look->max_pixels ||
                              !draw_view(look->steps, look->step_count, row[turned], row[!turned], rng, &job))) {
        row[3] = UNDRAWN;
        memcpy(out, row, sizeof row);
    }
    memcpy((char *)look->jobs.buf + sizeof job * (size_t)i, &job, sizeof job);
}

void end_look(struct look *look) {
    Py_buffer *views[] = {&look->program, &look->rngs, &look->headers, &look->jobs};
    for (int i = 0; i < 4; i++)
        PyBuffer_Release(views[i]); /* those that were never got have no object, and nothing happens */
}

int get_look(PyObject *object, Py_ssize_t count, struct look *look) {
    memset(look, 0, sizeof *look);
    if (object == Py_None)
        return 0;
    if (!PyArg_ParseTuple(object, "y*iddy*w*w*:look", &look->program, &look->filter, &look->reducing_gap,
                          &look->max_pixels, &look->rngs, &look->headers, &look->jobs))
        return -1;
    look->count = count;
    look->steps = look->program.buf;
    look->step_count = (size_t)look->program.len / sizeof(struct step);
    if (look->program.len % (Py_ssize_t)sizeof(struct step) || (uintptr_t)look->program.buf % 8)
        PyErr_SetString(PyExc_ValueError, "the program must be aligned STEPs");
    else if (look->rngs.len != 8 * count || look->headers.len != 16 * count ||
             look->jobs.len != (Py_ssize_t)sizeof(struct job) * count)
        PyErr_Format(PyExc_ValueError, "a look's arrays must be of %zd files", count);
    else
        return 0;
    end_look(look);
    return -1;
}

PyObject *py_look(PyObject *module, PyObject *args) {
    PyObject *sources_object, *look_object, *result = NULL;
    struct buffers sources;
    struct look look;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!:look", &sources_object, &PyTuple_Type, &look_object) ||
        get_all(sources_object, PyBUF_SIMPLE, &sources))
        return NULL;
    if (!get_look(look_object, sources.count, &look)) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < sources.count; i++)
            look_at(&look, i, bytes_of(&sources.views[i]));
        Py_END_ALLOW_THREADS
        end_look(&look);
        result = Py_NewRef(Py_None);
    }
    release_all(&sources);
    return result;
}

PyObject *py_headers(PyObject *module, PyObject *args) {
    PyObject *sources_object, *out_object, *result = NULL;
    struct buffers sources;
    Py_buffer out;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:headers", &sources_object, &out_object) ||
        get_all(sources_object, PyBUF_SIMPLE, &sources))
        return NULL;
    if (!get_array(out_object, "out", 16 * sources.count, PyBUF_WRITABLE, &out)) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < sources.count; i++)
            write_header(bytes_of(&sources.views[i]), (char *)out.buf + 16 * i);
        Py_END_ALLOW_THREADS
        PyBuffer_Release(&out);
        result = Py_NewRef(Py_None);
    }
    release_all(&sources);
    return result;
}
