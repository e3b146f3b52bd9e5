/* Sums of pixels, along rows and down columns: portable, SSE4.1 and AVX2, all with the same results. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "axis.h"
#include "x86.h"

#define SLACK 64 /* bytes that may be touched after a row's end */

/* Four rows at once, each to its own output; up to SLACK bytes are read after a source pixel's taps, and one is
   written after an output row. */
typedef void along_rows(const struct axis *axis, const uint8_t *const source[4], uint8_t *const out[4]);

/* One row of `size` bytes from `taps` rows, of which SLACK bytes more are read. */
typedef void down_columns(const uint8_t *const *rows, const int16_t *weights, int taps, int bits, uint8_t *out,
                          size_t size);

along_rows along_rows_portable;
down_columns down_columns_portable;

#ifdef HAVE_X86
along_rows along_rows_sse4, along_rows_avx2;
down_columns down_columns_sse4, down_columns_avx2;
#endif
