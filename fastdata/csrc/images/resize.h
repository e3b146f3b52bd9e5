/* From a picture's rows, as they are decoded, to a view's row of the batch. */

#pragma once

#include "axis.h"
#include "cut.h"
#include "geometry.h"
#include "scratch.h"

/* What becomes of a picture as it is decoded. */
struct plan {
    struct part part;
    int scale, checked, transposed;
    struct axis x, y;
    uint8_t *out; /* x.count times y.count pixels, in stored orientation */
    size_t out_stride;
    uint8_t *middle; /* rows resized along x only, y.first to y.last; NULL where `out` takes them as they are */
    size_t middle_stride;
};

/* All that can be known before decoding, of a view whose stored box lies in the part. False without memory. */
int make_plan(struct plan *plan, const struct part *part, const struct job *job, const struct shown *shown,
              struct scratch *scratch);

/* `count` of the picture's rows, from y.first + `row` on, go along x to where they belong. `spare` has room for a row
   of output that nobody wants. SLACK bytes may be read behind the pixels. */
void take_rows(const struct plan *plan, int64_t row, int count, const uint8_t *pixels, size_t stride, void *spare);

/* From rows resized along x to the row of the batch. */
enum status finish_view(const struct plan *plan, const struct shown *shown, struct scratch *scratch);
