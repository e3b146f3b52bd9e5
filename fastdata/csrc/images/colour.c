/* Changes of colours, one after another. The rules, and every rounding, are those of levels.py: float32, and whole
 * numbers from 0 to 255 between two changes.
 *
 * The compiler makes SIMD code of these loops, once for every processor and once for AVX2, with the same results.
 */

#include "colour.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

INLINE uint8_t level(float value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

INLINE float luminance(uint8_t red, uint8_t green, uint8_t blue) {
    return (float)(int32_t)((float)red * 0.2989f + (float)green * 0.587f + (float)blue * 0.114f);
}

INLINE void blend(uint8_t *values, size_t count, float factor, float other) {
    for (size_t i = 0; i < count; i++)
        values[i] = level((float)values[i] * factor + other);
}

INLINE void change_contrast(uint8_t *planes, size_t count, const float *values) {
    const uint8_t *red = planes, *green = planes + count, *blue = planes + 2 * count;
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (int32_t)luminance(red[i], green[i], blue[i]);
    blend(planes, 3 * count, values[0], (float)((double)sum / (double)count) * values[1]);
}

INLINE void change_saturation(uint8_t *planes, size_t count, float factor, float rest) {
    uint8_t *red = planes, *green = planes + count, *blue = planes + 2 * count;
    for (size_t i = 0; i < count; i++) {
        float other = luminance(red[i], green[i], blue[i]) * rest;
        red[i] = level((float)red[i] * factor + other);
        green[i] = level((float)green[i] * factor + other);
        blue[i] = level((float)blue[i] * factor + other);
    }
}

INLINE float turned(float hue, float spread, float low, float place) {
    float value = fabsf(fabsf(spread * place + hue) - spread * 3.0f) - spread;
    value = value < 0 ? 0 : value;
    value = (value < spread ? value : spread) + low;
    return value * (float)(255.999 / 255.0);
}

INLINE void change_hue(uint8_t *planes, size_t count, const float *places) {
    for (size_t i = 0; i < count; i++) {
        float red = planes[i], green = planes[count + i], blue = planes[2 * count + i];
        float greater = green > blue ? green : blue, lesser = green > blue ? blue : green;
        float high = red > greater ? red : greater, low = red < lesser ? red : lesser, spread = high - low;
        float hue = lesser - red;
        hue = (hue < 0 ? 0 : hue) + greater - red + spread;
        hue = green < blue ? -hue : hue;
        planes[i] = (uint8_t)turned(hue, spread, low, places[0]);
        planes[count + i] = (uint8_t)turned(hue, spread, low, places[1]);
        planes[2 * count + i] = (uint8_t)turned(hue, spread, low, places[2]);
    }
}

INLINE void change_grayscale(uint8_t *planes, size_t count) {
    for (size_t i = 0; i < count; i++)
        planes[i] = planes[count + i] = planes[2 * count + i] =
            (uint8_t)luminance(planes[i], planes[count + i], planes[2 * count + i]);
}

INLINE void change_levels(uint8_t *values, size_t count, int operation, float value) {
    for (size_t i = 0; i < count && operation == SOLARIZE; i++)
        values[i] = (float)values[i] >= value ? (uint8_t)(255 - values[i]) : values[i];
    for (size_t i = 0; i < count && operation == POSTERIZE; i++)
        values[i] = (uint8_t)((float)(int32_t)((float)values[i] / value) * value);
    for (size_t i = 0; i < count && operation == INVERT; i++)
        values[i] = (uint8_t)(255 - values[i]);
}

INLINE void recolour_body(uint8_t *pixels, uint8_t *planes, size_t count, const struct change *changes, size_t number) {
    for (size_t i = 0; i < count; i++)
        for (size_t channel = 0; channel < 3; channel++)
            planes[channel * count + i] = pixels[3 * i + channel];
    for (size_t k = 0; k < number; k++) {
        const float *values = changes[k].values;
        switch (changes[k].operation) {
        case BRIGHTNESS:
            blend(planes, 3 * count, values[0], 0);
            break;
        case CONTRAST:
            change_contrast(planes, count, values);
            break;
        case SATURATION:
            change_saturation(planes, count, values[0], values[1]);
            break;
        case HUE:
            change_hue(planes, count, values);
            break;
        case GRAYSCALE:
            change_grayscale(planes, count);
            break;
        default:
            change_levels(planes, 3 * count, changes[k].operation, values[0]);
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t channel = 0; channel < 3; channel++)
            pixels[3 * i + channel] = planes[channel * count + i];
}

void recolour_portable(uint8_t *pixels, uint8_t *planes, size_t count, const struct change *changes, size_t number) {
    recolour_body(pixels, planes, count, changes, number);
}

#ifdef HAVE_X86
__attribute__((target("avx2"))) void recolour_avx2(uint8_t *pixels, uint8_t *planes, size_t count,
                                                   const struct change *changes, size_t number) {
    recolour_body(pixels, planes, count, changes, number);
}
#endif
