/* Which source pixels make an output pixel, with which weights. */

#pragma once

#include "../transforms/view.h"
#include "scratch.h"

/* How one side of the output comes from one side of the source. Output pixel i is the sum of source pixels
   first + starts[i] + k times weights[i * taps + k], over 2 to the power of bits. */
struct axis {
    int64_t count;       /* of output pixels */
    int64_t first, last; /* the source pixels that are needed */
    int taps;            /* even; 0: output pixel i is source pixel first + starts[i] itself */
    int bits;
    int32_t *starts;
    int16_t *weights;
};

/* Which of the `out` pixels of the whole resized side are wanted: at, at + step, ... (step is 1 or -1). */
struct wanted {
    int64_t at, step, count;
};

/* Where the source's box lies on this side, and how many pixels it becomes. */
struct side {
    double from, to;   /* the box, in pixels as decoded */
    int64_t low, high; /* rounded outwards: pixels outside are not looked at */
    int64_t out;
};

/* For the side `which`: 0 is x, 1 is y. False where there is no memory. */
int make_axis(struct axis *axis, struct side side, struct wanted wanted, enum filter filter, int which,
              struct scratch *scratch);
