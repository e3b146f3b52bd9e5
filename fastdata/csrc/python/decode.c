/* `decode`: some samples, each with its job and its row. Samples next to each other that have the same bytes are views
 * of one picture.
 */

#include "functions.h"

#include <stdlib.h>
#include <string.h>

#include "../clock.h"
#include "../images/views.h"
#include "arguments.h"

#define MAX_VIEWS 64 /* of one file that are decoded at once */

/* All arguments of `decode`. */
struct task {
    struct buffers sources, rows;
    Py_buffer jobs, status, spent; /* spent.obj is NULL where no one asks for it */
};

static struct job job_of(const struct task *task, Py_ssize_t i) {
    struct job job;
    memcpy(&job, (const char *)task->jobs.buf + (size_t)i * sizeof job, sizeof job);
    return job;
}

static int check_rows(const struct task *task) {
    for (Py_ssize_t i = 0; i < task->rows.count; i++) {
        struct job job = job_of(task, i);
        int64_t width = (int64_t)job.window[2] - job.window[0], height = (int64_t)job.window[3] - job.window[1];
        uint64_t size = 3 * (uint64_t)width * (uint64_t)height;
        if (width > 0 && height > 0 && width <= INT32_MAX && height <= INT32_MAX &&
            size == (uint64_t)task->rows.views[i].len)
            continue;
        PyErr_Format(PyExc_ValueError, "row %zd has %zd bytes, its window is %lld x %lld pixels", i,
                     task->rows.views[i].len, (long long)width, (long long)height);
        return -1;
    }
    return 0;
}

/* False where there is no memory to begin with. */
static int run(struct task *task) {
    struct worker *worker = malloc(sizeof *worker);
    if (!worker || !start_worker(worker)) {
        free(worker);
        return 0;
    }
    for (Py_ssize_t i = 0, count; i < task->sources.count; i += count) {
        struct bytes data = bytes_of(&task->sources.views[i]);
        struct job jobs[MAX_VIEWS];
        uint8_t *rows[MAX_VIEWS];
        int32_t statuses[MAX_VIEWS];
        for (count = 0; count < MAX_VIEWS && i + count < task->sources.count; count++) {
            struct bytes next = bytes_of(&task->sources.views[i + count]);
            if (next.at != data.at || next.size != data.size)
                break;
            jobs[count] = job_of(task, i + count);
            rows[count] = task->rows.views[i + count].buf;
        }
        int64_t start = nanoseconds(), resized = worker->resize_ns;
        decode_views(worker, data, jobs, rows, statuses, (int)count);
        worker->decode_ns += nanoseconds() - start - (worker->resize_ns - resized);
        memcpy((char *)task->status.buf + 4 * i, statuses, 4 * (size_t)count);
    }
    if (task->spent.obj) {
        int64_t spent[2];
        memcpy(spent, task->spent.buf, sizeof spent);
        spent[0] += worker->decode_ns;
        spent[1] += worker->resize_ns;
        memcpy(task->spent.buf, spent, sizeof spent);
    }
    end_worker(worker);
    free(worker);
    return 1;
}

static int get_task(struct task *task, PyObject *const objects[5]) {
    memset(task, 0, sizeof *task);
    if (get_all(objects[0], PyBUF_SIMPLE, &task->sources))
        return -1;
    Py_ssize_t count = task->sources.count;
    if (get_array(objects[1], "jobs", count * (Py_ssize_t)sizeof(struct job), PyBUF_SIMPLE, &task->jobs) ||
        get_all(objects[2], PyBUF_WRITABLE, &task->rows) ||
        get_array(objects[3], "status", 4 * count, PyBUF_WRITABLE, &task->status) ||
        (objects[4] != Py_None && get_array(objects[4], "nanoseconds", 16, PyBUF_WRITABLE, &task->spent)))
        return -1;
    if (task->rows.count != count) {
        PyErr_Format(PyExc_ValueError, "%zd sources, %zd rows", count, task->rows.count);
        return -1;
    }
    return check_rows(task);
}

PyObject *py_decode(PyObject *module, PyObject *args) {
    PyObject *objects[5] = {NULL, NULL, NULL, NULL, Py_None};
    struct task task;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO|O:decode", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4]))
        return NULL;
    if (!get_task(&task, objects)) {
        Py_BEGIN_ALLOW_THREADS
        done = run(&task);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    }
    Py_buffer *views[] = {&task.jobs, &task.status, &task.spent};
    for (int i = 0; i < 3; i++)
        PyBuffer_Release(views[i]); /* those that were never got have no object, and nothing happens */
    release_all(&task.sources);
    release_all(&task.rows);
    return done ? Py_NewRef(Py_None) : NULL;
}
