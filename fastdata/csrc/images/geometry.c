/* EXIF's orientations, boxes, windows and scales: the same rules as jpeg.py and reference.py. */

#include "geometry.h"

#include <string.h>

#include "../arithmetic.h"
#include "../bounds.h"

void turns(int orientation, int *transpose, int *flip_x, int *flip_y) {
    *transpose = orientation >= 5;
    *flip_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    *flip_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
}

struct box stored_box(int orientation, int64_t width, int64_t height, const int32_t box[4]) {
    struct box b = {box[0], box[1], box[2], box[3]};
    if (orientation >= 5)
        b = (struct box){b.top, b.left, b.bottom, b.right};
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        b.left = width - b.left, b.right = width - b.right;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        b.top = height - b.top, b.bottom = height - b.bottom;
    return (struct box){least(b.left, b.right), least(b.top, b.bottom), most(b.left, b.right), most(b.top, b.bottom)};
}

int scale_of(const struct job *job) {
    if (!(job->reducing_gap > 0))
        return 1;
    double x = (job->box[2] - job->box[0]) / (double)job->size[0];
    double y = (job->box[3] - job->box[1]) / (double)job->size[1];
    double gap = (x < y ? x : y) / job->reducing_gap;
    return gap >= 8 ? 8 : gap >= 4 ? 4 : gap >= 2 ? 2 : 1;
}

static enum status check_view(const struct job *job, const struct header *header) {
    const int32_t *box = job->box, *size = job->size;
    if (job->orientation < 1 || job->orientation > 8 || job->filter < PLAIN || job->filter > CUBIC)
        return BAD_VIEW;
    int turned = job->orientation >= 5;
    int width = turned ? header->height : header->width, height = turned ? header->width : header->height;
    if (!(0 <= box[0] && box[0] < box[2] && box[2] <= width && 0 <= box[1] && box[1] < box[3] && box[3] <= height))
        return BAD_VIEW;
    if (size[0] < 1 || size[1] < 1)
        return BAD_VIEW;
    /* Of so small pictures the reference, which asks TurboJPEG for a size, gets 3/8 where 1/2 is meant. */
    if (width <= 8 && height <= 8 && scale_of(job) > 1)
        return BAD_VIEW;
    int64_t pixels = (int64_t)size[0] * size[1];
    if ((size[0] != box[2] - box[0] || size[1] != box[3] - box[1]) && pixels > MAX_PIXELS)
        return BAD_VIEW;
    return pixels_of(header) > MAX_PIXELS ? TOO_LARGE : DONE;
}

/* What a window shows of the resized picture; nothing, where it is of no width or height. */
static struct box shown_box(const struct job *job) {
    const int32_t *size = job->size, *window = job->window;
    return (struct box){most(0, window[0]), most(0, window[1]), least(size[0], window[2]), least(size[1], window[3])};
}

enum status check_job(enum kind kind, const struct header *header, const struct job *job) {
    if (kind != DECODABLE)
        return kind == SCAN_BOMB ? MANY_SCANS : kind == NOT_FOR_KERNEL ? OTHER_KIND : BAD_HEADER;
    enum status status = check_view(job, header);
    if (status != DONE)
        return status;
    struct box box = shown_box(job); /* of nothing but black the reference knows whether that is meant */
    return width_of(box) > 0 && height_of(box) > 0 ? DONE : BAD_VIEW;
}

struct shown show(const struct job *job, uint8_t *row) {
    const int32_t *window = job->window;
    int64_t width = (int64_t)window[2] - window[0], height = (int64_t)window[3] - window[1];
    struct box box = shown_box(job);
    size_t stride = 3 * (size_t)width;
    int64_t x = job->flip & 1 ? window[2] - box.right : box.left - window[0];
    int64_t y = job->flip & 2 ? window[3] - box.bottom : box.top - window[1];
    if (width_of(box) < width || height_of(box) < height)
        memset(row, 0, stride * (size_t)height);
    return (struct shown){box, row + stride * (size_t)y + 3 * (size_t)x, stride};
}
