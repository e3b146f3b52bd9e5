/* The sums that make output pixels, for every processor; what those of passes_x86.c have to give. */

#include "passes.h"

static inline uint8_t clamped(int32_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

void along_rows_portable(const struct axis *axis, const uint8_t *const source[4], uint8_t *const out[4]) {
    const int taps = axis->taps, bits = axis->bits; /* copies, since bytes that are written may alias anything */
    const int64_t count = axis->count;
    const int32_t *starts = axis->starts;
    for (int row = 0; row < 4; row++) {
        const int16_t *weight = axis->weights;
        uint8_t *to = out[row];
        for (int64_t i = 0; i < count; i++, to += 3, weight += taps) {
            const uint8_t *pixel = source[row] + 3 * (size_t)starts[i];
            int32_t r = 1 << (bits - 1), g = r, b = r;
            for (int k = 0; k < taps; k++, pixel += 3)
                r += weight[k] * pixel[0], g += weight[k] * pixel[1], b += weight[k] * pixel[2];
            to[0] = clamped(r >> bits);
            to[1] = clamped(g >> bits);
            to[2] = clamped(b >> bits);
        }
    }
}

void down_columns_portable(const uint8_t *const *rows, const int16_t *weights, int taps, int bits, uint8_t *out,
                           size_t size) {
    enum { CHUNK = 64 };
    int32_t sums[CHUNK];
    for (size_t x = 0; x < size; x += CHUNK) {
        size_t n = size - x < CHUNK ? size - x : CHUNK;
        for (size_t i = 0; i < n; i++)
            sums[i] = 1 << (bits - 1);
        for (int k = 0; k < taps; k++)
            for (size_t i = 0; i < n; i++)
                sums[i] += weights[k] * rows[k][x + i];
        for (size_t i = 0; i < n; i++)
            out[x + i] = clamped(sums[i] >> bits);
    }
}
