/* Brightness, contrast, saturation, hue and the like, in place. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "x86.h"

/* What may be done to a pixel's three values. */
enum operation { BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAYSCALE, SOLARIZE, POSTERIZE, INVERT };

struct change { /* as kernel.py's CHANGE */
    int32_t operation;
    float values[3]; /* a factor and what it lacks of 1; the places of red, green, blue; a threshold; a step */
};

_Static_assert(sizeof(struct change) == 16, "kernel.py's CHANGE says 16 bytes");

/* `count` pixels of three bytes each; `planes` is memory for as many. */
typedef void recolour(uint8_t *pixels, uint8_t *planes, size_t count, const struct change *changes, size_t number);

recolour recolour_portable;

#ifdef HAVE_X86
recolour recolour_avx2;
#endif
