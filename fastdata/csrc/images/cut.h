/* The part of a file that some boxes need. */

#pragma once

#include "../transforms/view.h"
#include "jpeg.h"
#include "scratch.h"

/* A picture to decode, which may be a part of the file's, and the box in it. */
struct part {
    struct bytes data;
    int64_t width, height;
    struct box box;
};

/* The picture to decode for boxes that `box` holds, all at one scale, cut to size where that pays. Files that are
   `checked` are known to be what their tables were made for. */
struct part part_around(struct bytes data, const struct header *header, struct box box, int scale, int checked,
                        struct scratch *scratch);
