/* A view's resizing: along x, each strip of rows as soon as it is decoded; then down y, and upright. */

#include "resize.h"

#include <string.h>

#include "../arithmetic.h"
#include "../bounds.h"
#include "simd.h"

/* Which pixels of the resized and stored picture a window shows, in the order of the output. */
static struct wanted wanted_pixels(int64_t low, int64_t high, int64_t size, int backwards, int mirrored) {
    /* `backwards`: the window is read from its end; `mirrored`: the whole side is the other way round. */
    int64_t at = backwards ? high - 1 : low, step = backwards ? -1 : 1;
    return (struct wanted){mirrored ? size - 1 - at : at, mirrored ? -step : step, high - low};
}

static struct side side_of(int64_t from, int64_t to, int scale, int64_t out) {
    return (struct side){(double)from / scale, (double)to / scale, from / scale, divide_up(to, scale), out};
}

/* Memory for what lies between decoding and the row of the batch. */
static int plan_memory(struct plan *plan, struct scratch *scratch, const struct shown *shown) {
    size_t columns = (size_t)plan->x.count, rows = (size_t)plan->y.count;
    size_t needed = (size_t)(plan->y.last - plan->y.first);
    plan->out = shown->out;
    plan->out_stride = shown->stride;
    if (plan->transposed) {
        plan->out_stride = 3 * columns;
        plan->out = columns > MAX_SCRATCH / 3 / rows ? NULL : reserve(&scratch->tile, 3 * columns * rows);
    }
    plan->middle = NULL;
    plan->middle_stride = (3 * columns + 2 * SLACK - 1) / SLACK * SLACK;
    if (!plan->out || (!plan->x.taps && !plan->y.taps))
        return plan->out != NULL;
    if (plan->middle_stride <= MAX_SCRATCH / (needed + 1))
        plan->middle = reserve(&scratch->middle, plan->middle_stride * (needed + 1));
    return plan->middle != NULL;
}

int make_plan(struct plan *plan, const struct part *part, const struct job *job, const struct shown *shown,
              struct scratch *scratch) {
    int flip_x, flip_y;
    turns(job->orientation, &plan->transposed, &flip_x, &flip_y);
    plan->scale = scale_of(job);
    plan->checked = job->checked;
    plan->part = *part;
    struct box box = part->box;
    struct wanted across = wanted_pixels(shown->box.left, shown->box.right, job->size[0], job->flip & 1, flip_x);
    struct wanted down = wanted_pixels(shown->box.top, shown->box.bottom, job->size[1], job->flip & 2, flip_y);
    int t = plan->transposed;
    struct side x = side_of(box.left, box.right, plan->scale, job->size[t]);
    struct side y = side_of(box.top, box.bottom, plan->scale, job->size[!t]);
    return make_axis(&plan->x, x, t ? down : across, (enum filter)job->filter, 0, scratch) &&
           make_axis(&plan->y, y, t ? across : down, (enum filter)job->filter, 1, scratch) &&
           plan_memory(plan, scratch, shown);
}

void take_rows(const struct plan *plan, int64_t row, int count, const uint8_t *pixels, size_t stride, void *spare) {
    const struct axis *x = &plan->x;
    size_t size = 3 * (size_t)x->count;
    for (int r = 0; r < count; r += 4) {
        const uint8_t *source[4];
        uint8_t *out[4];
        for (int i = 0; i < 4; i++) {
            int there = r + i < count;
            source[i] = pixels + stride * (size_t)(there ? r + i : count - 1);
            if (!there)
                out[i] = spare;
            else if (plan->middle)
                out[i] = plan->middle + plan->middle_stride * (size_t)(row + r + i);
            else { /* y takes each row as it is, forwards or backwards */
                int64_t at = row + r + i - plan->y.starts[0];
                out[i] = plan->out + plan->out_stride * (size_t)(at < 0 ? -at : at);
            }
        }
        if (x->taps) {
            simd.along(x, source, out);
            continue;
        }
        for (int i = 0; i < 4 && r + i < count; i++) {
            if (x->count == 1 || x->starts[1] > x->starts[0])
                memcpy(out[i], source[i] + 3 * (size_t)x->starts[0], size);
            else
                for (size_t k = 0; k < (size_t)x->count; k++)
                    memcpy(out[i] + 3 * k, source[i] + 3 * (size_t)x->starts[k], 3);
        }
    }
}

static int resize_down(const struct plan *plan, struct block *pointers) {
    const struct axis *y = &plan->y;
    int64_t rows = y->last - y->first;
    size_t size = 3 * (size_t)plan->x.count;
    const uint8_t **taps = reserve(pointers, ((size_t)y->taps + 1) * sizeof *taps);
    if (!taps)
        return 0;
    for (int64_t i = 0; i < y->count; i++) {
        uint8_t *out = plan->out + plan->out_stride * (size_t)i;
        for (int k = 0; k < (y->taps ? y->taps : 1); k++)
            taps[k] = plan->middle + plan->middle_stride * (size_t)least(y->starts[i] + k, rows - 1);
        if (y->taps)
            simd.down(taps, y->weights + i * y->taps, y->taps, y->bits, out, size);
        else
            memcpy(out, taps[0], size);
    }
    return 1;
}

/* Upright pixels from a tile in stored orientation: its rows are the columns. */
static void transpose(const uint8_t *tile, size_t rows, size_t columns, uint8_t *out, size_t out_stride) {
    enum { BLOCK = 16 }; /* rows of the tile at a time: some cache lines of each */
    for (size_t first = 0; first < rows; first += BLOCK) {
        size_t last = first + BLOCK < rows ? first + BLOCK : rows;
        for (size_t x = 0; x < columns; x++) {
            uint8_t *pixel = out + out_stride * x + 3 * first;
            for (size_t y = first; y < last; y++, pixel += 3)
                memcpy(pixel, tile + 3 * (columns * y + x), 3);
        }
    }
}

enum status finish_view(const struct plan *plan, const struct shown *shown, struct scratch *scratch) {
    if (plan->middle && !resize_down(plan, &scratch->edges))
        return NO_MEMORY;
    if (plan->transposed)
        transpose(plan->out, (size_t)plan->y.count, (size_t)plan->x.count, shown->out, shown->stride);
    return DONE;
}
