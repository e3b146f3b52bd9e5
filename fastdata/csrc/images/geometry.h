/* Where a view lies: in the picture as stored, in the resized one, in its row of the batch. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../transforms/view.h"
#include "jpeg.h"
#include "kind.h"
#include "status.h"

/* How to turn stored pixels upright: transpose, then mirror in x, in y. */
void turns(int orientation, int *transpose, int *flip_x, int *flip_y);

/* Where a box of the upright picture lies in the picture as stored. */
struct box stored_box(int orientation, int64_t width, int64_t height, const int32_t box[4]);

/* By how much JPEG may scale down; 3/8 and the like are left out, having no SIMD code in libjpeg-turbo. */
int scale_of(const struct job *job);

/* Whether a view can be made here. Those for which it is DONE have a stored box and something to show. */
enum status check_job(enum kind kind, const struct header *header, const struct job *job);

/* Where the window lies in the resized picture, and where what it shows of that lies in the row. */
struct shown {
    struct box box; /* of the upright picture, resized */
    uint8_t *out;   /* where the first pixel of it comes */
    size_t stride;
};

/* Black where the window reaches beyond the picture, of which something has to be shown. */
struct shown show(const struct job *job, uint8_t *row);
