/* The sums of passes.c by SSE4.1 and AVX2: the same whole numbers, some at once.
 *
 * pmaddwd multiplies pairs of 16 bits by two weights, and adds up each pair: two pixels, or two rows. A pass is written
 * out for each, since AVX2 shuffles within halves of a register: along rows it has another row in each half.
 */

#include "passes.h"

#ifdef HAVE_X86
#include <immintrin.h>
#include <string.h>

#define SSE4 __attribute__((target("sse4.1")))
#define AVX2 __attribute__((target("avx2")))

static inline int two_weights(const int16_t *weights) {
    int pair;
    memcpy(&pair, weights, sizeof pair);
    return pair;
}

/* From pixels r g b r g b ... the first two, or the second two, as 16 bit pairs r r g g b b 0 0. */
#define FIRST_TWO 0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1
#define SECOND_TWO 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1

SSE4 void along_rows_sse4(const struct axis *axis, const uint8_t *const source[4], uint8_t *const out[4]) {
    const __m128i first = _mm_setr_epi8(FIRST_TWO), second = _mm_setr_epi8(SECOND_TWO);
    const __m128i half = _mm_set1_epi32(1 << (axis->bits - 1)), bits = _mm_cvtsi32_si128(axis->bits);
    const int16_t *weights = axis->weights;
    for (int64_t i = 0; i < axis->count; i++, weights += axis->taps) {
        size_t at = 3 * (size_t)axis->starts[i];
        __m128i sums[4] = {half, half, half, half};
        for (int k = 0; k < axis->taps; k += 4, at += 12) {
            __m128i one = _mm_set1_epi32(two_weights(weights + k));
            __m128i two = k + 2 < axis->taps ? _mm_set1_epi32(two_weights(weights + k + 2)) : _mm_setzero_si128();
            for (int row = 0; row < 4; row++) {
                __m128i pixels = _mm_loadu_si128((const __m128i *)(source[row] + at));
                sums[row] = _mm_add_epi32(sums[row], _mm_madd_epi16(_mm_shuffle_epi8(pixels, first), one));
                sums[row] = _mm_add_epi32(sums[row], _mm_madd_epi16(_mm_shuffle_epi8(pixels, second), two));
            }
        }
        for (int row = 0; row < 4; row++) {
            __m128i sum = _mm_sra_epi32(sums[row], bits);
            sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
            int pixel = _mm_cvtsi128_si32(sum);
            memcpy(out[row] + 3 * i, &pixel, 4);
        }
    }
}

SSE4 void down_columns_sse4(const uint8_t *const *rows, const int16_t *weights, int taps, int bits, uint8_t *out,
                            size_t size) {
    const __m128i zero = _mm_setzero_si128(), half = _mm_set1_epi32(1 << (bits - 1)), shift = _mm_cvtsi32_si128(bits);
    for (size_t x = 0; x < size; x += 16) {
        __m128i a = half, b = half, c = half, d = half;
        for (int k = 0; k < taps; k += 2) {
            __m128i pair = _mm_set1_epi32(two_weights(weights + k));
            __m128i upper = _mm_loadu_si128((const __m128i *)(rows[k] + x));
            __m128i lower = _mm_loadu_si128((const __m128i *)(rows[k + 1] + x));
            __m128i left = _mm_unpacklo_epi8(upper, lower), right = _mm_unpackhi_epi8(upper, lower);
            a = _mm_add_epi32(a, _mm_madd_epi16(_mm_unpacklo_epi8(left, zero), pair));
            b = _mm_add_epi32(b, _mm_madd_epi16(_mm_unpackhi_epi8(left, zero), pair));
            c = _mm_add_epi32(c, _mm_madd_epi16(_mm_unpacklo_epi8(right, zero), pair));
            d = _mm_add_epi32(d, _mm_madd_epi16(_mm_unpackhi_epi8(right, zero), pair));
        }
        a = _mm_packs_epi32(_mm_sra_epi32(a, shift), _mm_sra_epi32(b, shift));
        c = _mm_packs_epi32(_mm_sra_epi32(c, shift), _mm_sra_epi32(d, shift));
        a = _mm_packus_epi16(a, c);
        if (size - x >= 16)
            _mm_storeu_si128((__m128i *)(out + x), a);
        else
            memcpy(out + x, &a, size - x);
    }
}

AVX2 static inline __m256i two_rows(const uint8_t *upper, const uint8_t *lower) {
    __m256i pixels = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)upper));
    return _mm256_inserti128_si256(pixels, _mm_loadu_si128((const __m128i *)lower), 1);
}

AVX2 void along_rows_avx2(const struct axis *axis, const uint8_t *const source[4], uint8_t *const out[4]) {
    const __m256i first = _mm256_setr_epi8(FIRST_TWO, FIRST_TWO), second = _mm256_setr_epi8(SECOND_TWO, SECOND_TWO);
    const __m256i half = _mm256_set1_epi32(1 << (axis->bits - 1));
    const __m128i bits = _mm_cvtsi32_si128(axis->bits);
    const int16_t *weights = axis->weights;
    const int taps = axis->taps;
    for (int64_t i = 0; i < axis->count; i++, weights += taps) {
        size_t at = 3 * (size_t)axis->starts[i];
        __m256i a = half, b = half; /* rows 0 and 1, rows 2 and 3 */
        int k = 0;
        for (; k + 4 <= taps; k += 4, at += 12) {
            __m256i one = _mm256_set1_epi32(two_weights(weights + k));
            __m256i two = _mm256_set1_epi32(two_weights(weights + k + 2));
            __m256i upper = two_rows(source[0] + at, source[1] + at), lower = two_rows(source[2] + at, source[3] + at);
            a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_shuffle_epi8(upper, first), one));
            b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_shuffle_epi8(lower, first), one));
            a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_shuffle_epi8(upper, second), two));
            b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_shuffle_epi8(lower, second), two));
        }
        if (k < taps) {
            __m256i one = _mm256_set1_epi32(two_weights(weights + k));
            __m256i upper = two_rows(source[0] + at, source[1] + at), lower = two_rows(source[2] + at, source[3] + at);
            a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_shuffle_epi8(upper, first), one));
            b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_shuffle_epi8(lower, first), one));
        }
        a = _mm256_packs_epi32(_mm256_sra_epi32(a, bits), _mm256_sra_epi32(b, bits));
        a = _mm256_packus_epi16(a, a);
        int64_t even = _mm_cvtsi128_si64(_mm256_castsi256_si128(a)); /* row 0, then row 2 */
        int64_t odd = _mm_cvtsi128_si64(_mm256_extracti128_si256(a, 1));
        int64_t third = even >> 32, fourth = odd >> 32;
        memcpy(out[0] + 3 * i, &even, 4);
        memcpy(out[1] + 3 * i, &odd, 4);
        memcpy(out[2] + 3 * i, &third, 4);
        memcpy(out[3] + 3 * i, &fourth, 4);
    }
}

AVX2 void down_columns_avx2(const uint8_t *const *rows, const int16_t *weights, int taps, int bits, uint8_t *out,
                            size_t size) {
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(bits);
    for (size_t x = 0; x < size; x += 32) {
        __m256i a = half, b = half, c = half, d = half;
        for (int k = 0; k < taps; k += 2) {
            __m256i pair = _mm256_set1_epi32(two_weights(weights + k));
            __m256i upper = _mm256_loadu_si256((const __m256i *)(rows[k] + x));
            __m256i lower = _mm256_loadu_si256((const __m256i *)(rows[k + 1] + x));
            __m256i left = _mm256_unpacklo_epi8(upper, lower), right = _mm256_unpackhi_epi8(upper, lower);
            a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_unpacklo_epi8(left, zero), pair));
            b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_unpackhi_epi8(left, zero), pair));
            c = _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_unpacklo_epi8(right, zero), pair));
            d = _mm256_add_epi32(d, _mm256_madd_epi16(_mm256_unpackhi_epi8(right, zero), pair));
        }
        a = _mm256_packs_epi32(_mm256_sra_epi32(a, shift), _mm256_sra_epi32(b, shift));
        c = _mm256_packs_epi32(_mm256_sra_epi32(c, shift), _mm256_sra_epi32(d, shift));
        a = _mm256_packus_epi16(a, c);
        if (size - x >= 32)
            _mm256_storeu_si256((__m256i *)(out + x), a);
        else
            memcpy(out + x, &a, size - x);
    }
}

#endif
