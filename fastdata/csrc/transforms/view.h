/* A view, as draw.c makes and images/ decodes it: which box of a picture, resized to what, which window of that. */

#pragma once

#include <stdint.h>

struct box { /* of pixels; right and bottom are the first ones outside */
    int64_t left, top, right, bottom;
};

static inline int64_t width_of(struct box box) { return box.right - box.left; }
static inline int64_t height_of(struct box box) { return box.bottom - box.top; }

/* How a job is resized: between two pixels, or by an antialiasing filter. */
enum filter { PLAIN, TRIANGLE, CUBIC };

/* One sample's view, as jobs.py's JOB lays it out: 64 bytes. */
struct job {
    int32_t box[4];    /* left, top, right, bottom, of the upright image */
    int32_t size[2];   /* width and height that the box is resized to */
    int32_t window[4]; /* of that; it may reach beyond */
    int32_t flip;      /* 1: left to right, 2: top to bottom, 3: both */
    int32_t orientation, filter, checked;
    double reducing_gap; /* 0 or less: never decode at a fraction of the size */
};

_Static_assert(sizeof(struct job) == 64, "jobs.py's JOB says 64 bytes");
