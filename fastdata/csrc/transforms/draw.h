/* A transform's steps, drawn for a picture and folded into its view. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "view.h"

/* As jobs.py's `program` has them. */
enum step_kind {
    RANDOM_RESIZED_CROP,
    RANDOM_HORIZONTAL_FLIP,
    RANDOM_VERTICAL_FLIP,
    RESIZE,
    RESIZE_SHORTER,
    CENTER_CROP,
    RANDOM_CROP,
    PAD
};

struct step {
    int32_t kind, first_number; /* of the sample's random numbers, the first that is this step's */
    int32_t width, height, longest, pad_if_needed;
    int32_t padding[4]; /* left, top, right, bottom */
    double values[4];   /* a probability; or the lowest and highest share of the area, and logarithms of ratios */
    double ratios[2];   /* the lowest and highest ratio */
};

_Static_assert(sizeof(struct step) == 88, "jobs.py's STEP says 88 bytes");

/* The view of an upright picture of this size, by the random numbers that begin at `rng`, put into the first members of
   `job`. False where draw.py has to say what is wrong, or must be asked. */
int draw_view(const struct step *steps, size_t count, int width, int height, uint64_t rng, struct job *job);
