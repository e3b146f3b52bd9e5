/* A transform's steps, drawn and folded into a view.
 *
 * The rules, their order of arithmetic and so every bit of what comes out are those of draw.py; the random numbers are
 * splitmix.py's. What draw.py refuses is not drawn here either.
 */

#include "draw.h"

#include <math.h>

#include "../arithmetic.h"
#include "../bounds.h"

#define ATTEMPTS 10
#define NUMBERS_OF_CROP 4
#define MAX_SIDE (1 << 24) /* of what is shown, so that sums of sides fit */

/* splitmix.py's: the number at `index` of the splitmix64 generator that starts at `start`: in [0, 1). */
static double uniform(uint64_t start, int index) {
    uint64_t z = start + ((uint64_t)index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* A view in the making. */
struct folded {
    struct box box, window;
    int64_t width, height; /* that the box is resized to */
    int flip_x, flip_y;
};

static int shows_all(const struct folded *view) {
    return !view->window.left && !view->window.top && view->window.right == view->width &&
           view->window.bottom == view->height;
}

/* Cut a box, in coordinates of what the view shows, out of it. False where it can't be. */
static int fold_crop(struct folded *view, struct box crop) {
    int64_t width = width_of(view->window), height = height_of(view->window);
    int outside = crop.left < 0 || crop.top < 0 || crop.right > width || crop.bottom > height;
    if (outside && !shows_all(view))
        return 0;
    int64_t left = view->window.left + (view->flip_x ? width - crop.right : crop.left);
    int64_t top = view->window.top + (view->flip_y ? height - crop.bottom : crop.top);
    struct box inside = {left, top, left + width_of(crop), top + height_of(crop)};
    int resized = view->width != width_of(view->box) || view->height != height_of(view->box);
    if (resized || left < 0 || top < 0 || inside.right > view->width || inside.bottom > view->height) {
        view->window = inside;
        return 1;
    }
    view->box = (struct box){view->box.left + left, view->box.top + top, view->box.left + inside.right,
                             view->box.top + inside.bottom};
    view->width = width_of(crop);
    view->height = height_of(crop);
    view->window = (struct box){0, 0, view->width, view->height};
    return 1;
}

static int fold_resize(struct folded *view, int64_t width, int64_t height) {
    int same = width == width_of(view->box) && height == height_of(view->box);
    if (!shows_all(view) || (!same && width * height > MAX_PIXELS))
        return 0;
    view->width = width;
    view->height = height;
    view->window = (struct box){0, 0, width, height};
    return 1;
}

/* torchvision's RandomResizedCrop.get_params. */
static struct box random_resized_crop(const struct step *step, const struct folded *view, uint64_t rng) {
    double width = (double)width_of(view->window), height = (double)height_of(view->window);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int at = step->first_number + NUMBERS_OF_CROP * attempt;
        double area = width * height * (step->values[0] + (step->values[1] - step->values[0]) * uniform(rng, at));
        double ratio = exp(step->values[2] + (step->values[3] - step->values[2]) * uniform(rng, at + 1));
        double w = rint(sqrt(area * ratio)), h = rint(sqrt(area / ratio));
        if (!(0 < w && w <= width && 0 < h && h <= height))
            continue;
        int64_t top = (int64_t)(uniform(rng, at + 2) * (height - h + 1));
        int64_t left = (int64_t)(uniform(rng, at + 3) * (width - w + 1));
        return (struct box){left, top, left + (int64_t)w, top + (int64_t)h};
    }
    int64_t w = (int64_t)width, h = (int64_t)height;
    if (width / height < step->ratios[0])
        h = most(1, (int64_t)rint(width / step->ratios[0]));
    else if (width / height > step->ratios[1])
        w = most(1, (int64_t)rint(height * step->ratios[1]));
    int64_t left = ((int64_t)width - w) / 2, top = ((int64_t)height - h) / 2;
    return (struct box){left, top, left + w, top + h};
}

static int fold_shorter(struct folded *view, const struct step *step) {
    int64_t width = width_of(view->window), height = height_of(view->window);
    int upright = width <= height;
    int64_t shorter = step->width, longer = upright ? height : width;
    double exact = (double)shorter * (double)longer / (double)(upright ? width : height);
    if (!(exact < MAX_SIDE))
        return 0;
    longer = (int64_t)exact;
    if (step->longest && longer > step->longest) {
        shorter = (int64_t)((double)step->longest * (double)shorter / (double)longer);
        longer = step->longest;
    }
    return upright ? fold_resize(view, shorter, longer) : fold_resize(view, longer, shorter);
}

/* torchvision's offsets: rounded half to even inside the picture; padding has its odd pixel right and below. */
static int64_t central(int64_t shown, int64_t wanted) {
    return wanted > shown ? -((wanted - shown) / 2) : (int64_t)rint((double)(shown - wanted) / 2.0);
}

static int fold_center(struct folded *view, const struct step *step) {
    int64_t left = central(width_of(view->window), step->width), top = central(height_of(view->window), step->height);
    return fold_crop(view, (struct box){left, top, left + step->width, top + step->height});
}

static int fold_padding(struct folded *view, const int32_t padding[4]) {
    if (!padding[0] && !padding[1] && !padding[2] && !padding[3])
        return 1;
    return fold_crop(view, (struct box){-padding[0], -padding[1], width_of(view->window) + padding[2],
                                        height_of(view->window) + padding[3]});
}

static int fold_random_crop(struct folded *view, const struct step *step, uint64_t rng) {
    if (!fold_padding(view, step->padding))
        return 0;
    int64_t x = most(0, step->width - width_of(view->window)), y = most(0, step->height - height_of(view->window));
    if ((x || y) && !step->pad_if_needed)
        return 0;
    int32_t more[4] = {(int32_t)x, (int32_t)y, (int32_t)x, (int32_t)y};
    if (!fold_padding(view, more))
        return 0;
    int64_t rows = height_of(view->window) - step->height + 1, columns = width_of(view->window) - step->width + 1;
    int64_t top = (int64_t)(uniform(rng, step->first_number) * (double)rows);
    int64_t left = (int64_t)(uniform(rng, step->first_number + 1) * (double)columns);
    return fold_crop(view, (struct box){left, top, left + step->width, top + step->height});
}

static int fold(struct folded *view, const struct step *step, uint64_t rng) {
    switch (step->kind) {
    case RANDOM_RESIZED_CROP:
        return fold_crop(view, random_resized_crop(step, view, rng)) && fold_resize(view, step->width, step->height);
    case RANDOM_HORIZONTAL_FLIP:
        view->flip_x ^= uniform(rng, step->first_number) < step->values[0];
        return 1;
    case RANDOM_VERTICAL_FLIP:
        view->flip_y ^= uniform(rng, step->first_number) < step->values[0];
        return 1;
    case RESIZE:
        return fold_resize(view, step->width, step->height);
    case RESIZE_SHORTER:
        return fold_shorter(view, step);
    case CENTER_CROP:
        return fold_center(view, step);
    case RANDOM_CROP:
        return fold_random_crop(view, step, rng);
    case PAD:
        return fold_padding(view, step->padding);
    }
    return 0;
}

static void put_box(struct box box, int32_t into[4]) {
    into[0] = (int32_t)box.left, into[1] = (int32_t)box.top;
    into[2] = (int32_t)box.right, into[3] = (int32_t)box.bottom;
}

int draw_view(const struct step *steps, size_t count, int width, int height, uint64_t rng, struct job *job) {
    struct folded view = {{0, 0, width, height}, {0, 0, width, height}, width, height, 0, 0};
    if (width < 1 || height < 1)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!fold(&view, &steps[i], rng) || width_of(view.window) < 1 || width_of(view.window) > MAX_SIDE ||
            height_of(view.window) < 1 || height_of(view.window) > MAX_SIDE)
            return 0;
    put_box(view.box, job->box);
    put_box(view.window, job->window);
    job->size[0] = (int32_t)view.width;
    job->size[1] = (int32_t)view.height;
    job->flip = view.flip_x | view.flip_y << 1;
    return 1;
}
