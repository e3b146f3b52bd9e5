/* How one side of the output comes from one side of the source: the weights of Pillow's and torch's antialiasing
 * filters (precompute_coeffs in Pillow's Resample.c), or of OpenCV's plain bilinear, as 16-bit whole numbers.
 */

#include "axis.h"

#include <math.h>
#include <string.h>

#include "../arithmetic.h"
#include "../bounds.h"

static int reserve_axis(struct axis *axis, struct block *starts, struct block *weights) {
    size_t count = (size_t)axis->count, taps = (size_t)axis->taps;
    if (taps && count > MAX_SCRATCH / sizeof(int16_t) / taps)
        return 0;
    axis->starts = reserve(starts, count * sizeof(int32_t));
    axis->weights = taps ? reserve(weights, count * taps * sizeof(int16_t)) : NULL;
    return axis->starts && (!taps || axis->weights);
}

/* Pixel for pixel. */
static int copying_axis(struct axis *axis, struct side side, struct wanted wanted, struct block *starts) {
    int64_t end = wanted.at + wanted.step * (wanted.count - 1);
    axis->taps = axis->bits = 0;
    axis->first = side.low + least(wanted.at, end);
    axis->last = side.low + most(wanted.at, end) + 1;
    if (!reserve_axis(axis, starts, NULL))
        return 0;
    for (int64_t i = 0; i < wanted.count; i++)
        axis->starts[i] = (int32_t)(side.low + wanted.at + wanted.step * i - axis->first);
    return 1;
}

/* The source pixels of output pixel `at` under a filter, as Pillow and torch have it: [*low, *high). */
static double filter_span(struct side side, double scale, double support, int64_t at, int64_t *low, int64_t *high) {
    double center = side.from - (double)side.low + ((double)at + 0.5) * scale;
    *low = side.low + most(0, (int64_t)(center - support + 0.5));
    *high = side.low + least(side.high - side.low, (int64_t)(center + support + 0.5));
    return center + (double)side.low;
}

/* Rounded weights whose sum is exactly 1: what rounding leaves over goes to the largest. */
static void round_weights(const double *exact, int count, double sum, int bits, int16_t *weights) {
    int left = 1 << bits, largest = 0;
    for (int k = 0; k < count; k++) {
        int weight = (int)floor(exact[k] / sum * (1 << bits) + 0.5);
        weights[k] = (int16_t)weight;
        left -= weight;
        if (weight > weights[largest])
            largest = k;
    }
    weights[largest] = (int16_t)(weights[largest] + left);
}

/* How much a pixel counts at a distance, in units of the scale: Pillow's bilinear, and its bicubic (a = -0.5). */
static double filter_at(enum filter filter, double x) {
    x = fabs(x);
    if (filter == TRIANGLE)
        return x < 1 ? 1 - x : 0;
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static int antialiased_axis(struct axis *axis, struct side side, struct wanted wanted, enum filter filter,
                            struct block *starts, struct block *weights, struct block *scratch) {
    double scale = (side.to - side.from) / (double)side.out, stretch = scale < 1 ? 1 : scale;
    double support = filter == CUBIC ? 2 * stretch : stretch;
    int64_t low, high, taps = 2;
    axis->first = side.high;
    axis->last = side.low;
    for (int64_t i = 0; i < wanted.count; i++) {
        filter_span(side, scale, support, wanted.at + wanted.step * i, &low, &high);
        axis->first = least(axis->first, low);
        axis->last = most(axis->last, high);
        taps = most(taps, high - low);
    }
    axis->taps = (int)(taps + taps % 2);
    /* 14 bits, or more where all weights are small, so that many small roundings do not add up; a weight has to fit
       into 16 bits, its sum with pixels into 32. A filter stretched by s is at most 1/s high, but for what
       normalizing at the borders adds: at most a factor of 2. */
    axis->bits = 14;
    while (axis->bits < 20 && stretch / 2 > (double)(1 << (axis->bits - 13)))
        axis->bits++;
    double *exact = reserve(scratch, (size_t)axis->taps * sizeof *exact);
    if (!exact || !reserve_axis(axis, starts, weights))
        return 0;
    memset(axis->weights, 0, (size_t)axis->count * (size_t)axis->taps * sizeof(int16_t));
    for (int64_t i = 0; i < wanted.count; i++) {
        double sum = 0, center = filter_span(side, scale, support, wanted.at + wanted.step * i, &low, &high);
        for (int64_t k = low; k < high; k++) {
            exact[k - low] = filter_at(filter, ((double)k - center + 0.5) / stretch);
            sum += exact[k - low];
        }
        /* At the far border the taps begin earlier, so that as few as possible lie beyond what was decoded. */
        int64_t start = low + axis->taps > axis->last ? most(axis->first, axis->last - axis->taps) : low;
        axis->starts[i] = (int32_t)(start - axis->first);
        round_weights(exact, (int)(high - low), sum, axis->bits, axis->weights + i * axis->taps + (low - start));
    }
    return 1;
}

/* Plain bilinear, as OpenCV has it: between the two nearest pixels, the border repeated. */
static int plain_axis(struct axis *axis, struct side side, struct wanted wanted, struct block *starts,
                      struct block *weights) {
    double scale = (side.to - side.from) / (double)side.out;
    axis->taps = 2;
    axis->bits = 14;
    axis->first = side.high;
    axis->last = side.low;
    if (!reserve_axis(axis, starts, weights))
        return 0;
    for (int64_t i = 0; i < wanted.count; i++) {
        double at = side.from + ((double)(wanted.at + wanted.step * i) + 0.5) * scale - 0.5;
        int64_t low = (int64_t)floor(at);
        double part = at - (double)low;
        if (low < side.low)
            low = side.low, part = 0;
        if (low >= side.high - 1) /* the last pixel: as the second of the last two, where there are two */
            low = most(side.low, side.high - 2), part = side.high - side.low > 1;
        int16_t second = (int16_t)floor(part * 16384 + 0.5);
        axis->weights[2 * i] = (int16_t)(16384 - second);
        axis->weights[2 * i + 1] = second;
        axis->starts[i] = (int32_t)low;
        axis->first = least(axis->first, low);
        axis->last = most(axis->last, least(low + 2, side.high));
    }
    for (int64_t i = 0; i < wanted.count; i++)
        axis->starts[i] = (int32_t)(axis->starts[i] - axis->first);
    return 1;
}

int make_axis(struct axis *axis, struct side side, struct wanted wanted, enum filter filter, int which,
              struct scratch *scratch) {
    struct block *starts = &scratch->starts[which], *weights = &scratch->weights[which];
    axis->count = wanted.count;
    if (side.from == (double)side.low && side.to == (double)side.high && side.out == side.high - side.low)
        return copying_axis(axis, side, wanted, starts);
    if (filter == PLAIN)
        return plain_axis(axis, side, wanted, starts, weights);
    return antialiased_axis(axis, side, wanted, filter, starts, weights, &scratch->table);
}
