/* One view of a picture: its box is decoded strip by strip, and each strip resized while it is in the cache. */

#include "decode.h"

#include "../arithmetic.h"
#include "../clock.h"
#include "passes.h"
#include "picture.h"
#include "resize.h"

static enum status read_picture(struct worker *worker, void *what) {
    struct plan *plan = what;
    struct jpeg_decompress_struct *jpeg = &worker->jpeg;
    enum status status = start_picture(jpeg, &plan->part, plan->scale);
    if (status != DONE)
        return status;
    int64_t offset = crop_columns(jpeg, plan->x.first, plan->x.last);
    size_t stride = 3 * (size_t)jpeg->output_width, spare = 3 * (size_t)plan->x.count + SLACK;
    uint8_t *strip = reserve(&worker->scratch.strip, STRIP_ROWS * stride + 3 * (size_t)plan->x.taps + SLACK + spare);
    if (!strip)
        return NO_MEMORY;
    uint8_t *past_strip = strip + STRIP_ROWS * stride + 3 * (size_t)plan->x.taps + SLACK;
    const uint8_t *pixels = strip + 3 * (size_t)(plan->x.first - offset);
    JSAMPROW rows[STRIP_ROWS];
    for (int i = 0; i < STRIP_ROWS; i++)
        rows[i] = strip + stride * (size_t)i;
    if (plan->y.first)
        jpeg_skip_scanlines(jpeg, (JDIMENSION)plan->y.first);
    for (int64_t at = plan->y.first; at < plan->y.last;) {
        int wanted = (int)least(STRIP_ROWS, plan->y.last - at), count = 0;
        while (count < wanted)
            count += (int)jpeg_read_scanlines(jpeg, rows + count, (JDIMENSION)(wanted - count));
        int64_t start = nanoseconds();
        take_rows(plan, at - plan->y.first, count, pixels, stride, past_strip);
        worker->resize_ns += nanoseconds() - start;
        at += count;
    }
    if (!plan->checked)
        read_to_end(jpeg, rows[0]);
    return DONE;
}

enum status decode_view(struct worker *worker, struct bytes data, const struct header *header, const struct job *job,
                        uint8_t *row) {
    struct plan plan;
    struct shown shown = show(job, row);
    struct box box = stored_box(job->orientation, header->width, header->height, job->box);
    struct part part = part_around(data, header, box, scale_of(job), job->checked, &worker->scratch);
    if (!make_plan(&plan, &part, job, &shown, &worker->scratch))
        return NO_MEMORY;
    enum status status = attempt(worker, read_picture, &plan);
    if (status != DONE)
        return status;
    int64_t start = nanoseconds();
    status = finish_view(&plan, &shown, &worker->scratch);
    worker->resize_ns += nanoseconds() - start;
    return status;
}
