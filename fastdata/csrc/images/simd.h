/* The functions that this processor runs best. */

#pragma once

#include "colour.h"
#include "passes.h"

struct simd {
    const char *name; /* `fastdata.kernel` */
    along_rows *along;
    down_columns *down;
    recolour *recolour;
};

extern struct simd simd;

/* The best that the processor has; the environment's FASTDATA_SIMD asks for a lower one. */
void choose_simd(void);
