/* From the bytes of some JPEGs to their rows of a batch, without the interpreter's lock.
 *
 * Python's limited API, libjpeg-turbo; `entropy.c` has a walk over a scan. In its order:
 *
 *   markers      a walk over a JPEG's segments; the same rules as jpeg.py
 *   views        a transform's steps, drawn and folded into a view; the same rules as draw.py
 *   cut          the restart segments around a box, joined to a smaller JPEG; the same rules as restart.py and cut.py
 *   axes         which source pixels make an output pixel, with which weights
 *   passes       those sums, along rows and down columns: portable, SSE4.1, AVX2, all with the same results
 *   a sample     decode what a view's box needs, strip by strip, and resize each strip while it is in the cache
 *   views        several of a sample: decode what all of them need once
 *   colours      brightness, contrast, saturation, hue and the like, in place
 *   crop-ready   the same coefficients, written anew with restart markers
 *   members      a tar header that still names a sample's component; the same rules as tar.py and webdataset.py
 *   reading      ranges and files
 *   Python       arguments; each function lets go of the lock once
 *
 * Nothing in an image is trusted: offsets are checked against its length, sizes are bounded before memory is
 * allocated, and at libjpeg's first warning the sample is refused. What is refused is decoded by the reference
 * in Python, whose verdict counts; so a refusal is never wrong, only slow.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jpeglib.h>
#include <jerror.h>

#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 2001000
#error "libjpeg-turbo 2.1 or later is needed"
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86 1
#include <immintrin.h>
#endif

#define MAX_PIXELS 178956970     /* as in decode.py: Pillow's own limit */
#define MAX_SCANS 500            /* each works through the whole picture and takes a few bytes */
#define MAX_SCANNED_PIXELS ((int64_t)1 << 33) /* of all of them together: limits.py says why */
#define MAX_SCRATCH ((size_t)1 << 30) /* bytes of any one of a sample's buffers */
#define MAX_LIBJPEG 2147483647L  /* bytes that libjpeg may allocate for one image */
#define STRIP_ROWS 16            /* decoded at a time: what one row of 4:2:0 blocks gives */
#define SLACK 64                 /* bytes that may be touched after a row's end */

/* What became of a sample; kernel.py has the same list. */
enum status { DONE, BAD_HEADER, OTHER_KIND, MANY_SCANS, BAD_VIEW, TOO_LARGE, NO_MEMORY, WARNING, FAILED, INCOMPLETE,
              WAITING, MEMBER }; /* the last two not for Python: to be decoded, being decoded */

/* What `headers` says of a file; `look`, moreover, that it has no view of it. */
enum kind { DECODABLE, NOT_FOR_KERNEL, SCAN_BOMB, REFUSED, NOT_JPEG, UNDRAWN };

/* How a job is resized: between two pixels, or by an antialiasing filter. */
enum filter { PLAIN, TRIANGLE, CUBIC };

/* What `read_files` says of a file that it does not read, if not minus errno. */
enum { NOT_REGULAR = -100001, LARGER_THAN_LIMIT = -100002, NO_ROOM = -100003 };

/* One sample's view, as kernel.py's JOB lays it out: 64 bytes. */
struct job {
    int32_t box[4];    /* left, top, right, bottom, of the upright image */
    int32_t size[2];   /* width and height that the box is resized to */
    int32_t window[4]; /* of that; it may reach beyond */
    int32_t flip; /* 1: left to right, 2: top to bottom, 3: both */
    int32_t orientation, filter, checked;
    double reducing_gap; /* 0 or less: never decode at a fraction of the size */
};

_Static_assert(sizeof(struct job) == 64, "kernel.py's JOB says 64 bytes");

struct box { /* of pixels; right and bottom are the first ones outside */
    int64_t left, top, right, bottom;
};

/* Memory that grows and is used again for the next sample. */
struct block {
    void *mem;
    size_t size;
};

static void *reserve(struct block *block, size_t size) {
    if (size > MAX_SCRATCH)
        return NULL;
    if (size > block->size) {
        free(block->mem);
        block->mem = malloc(size);
        block->size = block->mem ? size : 0;
    }
    return block->mem;
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- markers ------------------------------------------------------------------------------------------------- */

enum { SOS = 0xDA, DRI = 0xDD, APP0 = 0xE0, APP1 = 0xE1, APP9 = 0xE9, APP14 = 0xEE, APP15 = 0xEF, COM = 0xFE };

struct bytes {
    const uint8_t *at;
    size_t size;
};

struct segment { /* data[start:stop], marker and all */
    int marker;
    size_t start, stop;
};

struct header {
    int width, height, orientation, components, precision, frame, restart_interval;
    int sampling[4][2];
    struct segment sos;
};

static inline unsigned big16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

/* Whether data[at:] starts with these bytes. */
static int stands_at(struct bytes data, size_t at, const char *what, size_t size) {
    return at <= data.size && size <= data.size - at && !memcmp(data.at + at, what, size);
}

static int is_jpeg(struct bytes data) { return stands_at(data, 0, "\xff\xd8\xff", 3); }

static int is_frame(int marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

/* The segment at `at`, as jpeg.py walks; false for what is none. */
static int read_segment(struct bytes data, size_t at, struct segment *segment) {
    if (at >= data.size || data.at[at] != 0xFF)
        return 0;
    while (at + 1 < data.size && data.at[at + 1] == 0xFF) /* fill bytes */
        at++;
    if (data.size - at < 4)
        return 0;
    int marker = data.at[at + 1];
    if (marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD9)) /* no length, and no place before the scan */
        return 0;
    size_t length = big16(data.at + at + 2);
    if (length < 2 || length > data.size - at - 2)
        return 0;
    *segment = (struct segment){marker, at, at + 2 + length};
    return 1;
}

static int read_frame(struct bytes data, struct segment segment, struct header *header) {
    size_t size = segment.stop - segment.start;
    const uint8_t *p = data.at + segment.start;
    if (size < 10)
        return 0;
    header->frame = segment.marker;
    header->precision = p[4];
    header->height = (int)big16(p + 5);
    header->width = (int)big16(p + 7);
    header->components = p[9];
    if ((p[9] != 1 && p[9] != 3 && p[9] != 4) || size != 10 + 3 * (size_t)p[9])
        return 0;
    for (int i = 0; i < p[9]; i++) {
        int h = p[11 + 3 * i] >> 4, v = p[11 + 3 * i] & 15;
        if (h < 1 || h > 4 || v < 1 || v > 4)
            return 0;
        header->sampling[i][0] = h;
        header->sampling[i][1] = v;
    }
    return header->width && header->height;
}

static uint32_t tiff_number(const uint8_t *p, int bytes, int big) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | p[big ? i : bytes - 1 - i];
    return value;
}

/* Tag 0x0112 of IFD0, where it is one SHORT within 1..8; 1 for everything else. */
static int exif_orientation(struct bytes tiff) {
    int big = stands_at(tiff, 0, "MM\0*", 4);
    if ((!big && !stands_at(tiff, 0, "II*\0", 4)) || tiff.size < 8)
        return 1;
    size_t start = tiff_number(tiff.at + 4, 4, big);
    if (start > tiff.size || tiff.size - start < 2)
        return 1;
    size_t count = tiff_number(tiff.at + start, 2, big);
    size_t whole = (tiff.size - start - 2) / 12;
    const uint8_t *entry = tiff.at + start + 2;
    for (size_t i = 0; i < (count < whole ? count : whole); i++, entry += 12) {
        if (tiff_number(entry, 2, big) != 0x0112)
            continue;
        uint32_t value = tiff_number(entry + 8, 2, big);
        int one_short = tiff_number(entry + 2, 2, big) == 3 && tiff_number(entry + 4, 4, big) == 1;
        return one_short && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

static int read_header(struct bytes data, struct header *header) {
    struct segment segment = {0, 0, 2};
    memset(header, 0, sizeof *header);
    if (!is_jpeg(data))
        return 0;
    while (segment.marker != SOS) {
        if (!read_segment(data, segment.stop, &segment))
            return 0;
        size_t start = segment.start, size = segment.stop - start;
        if (is_frame(segment.marker)) {
            if (header->frame || !read_frame(data, segment, header))
                return 0;
        } else if (segment.marker == DRI) {
            if (size != 6)
                return 0;
            header->restart_interval = (int)big16(data.at + start + 4);
        } else if (segment.marker == APP1 && !header->orientation && stands_at(data, start + 4, "Exif\0\0", 6)) {
            size_t tiff = size > 10 ? size - 10 : 0;
            header->orientation = exif_orientation((struct bytes){data.at + (tiff ? start + 10 : 0), tiff});
        }
    }
    if (!header->orientation)
        header->orientation = 1;
    header->sos = segment;
    return header->frame != 0;
}

/* Whether there are more scans than `limits.scan_limit`. They are counted by their bytes, which entropy-coded data never
   hold. */
static int has_many_scans(struct bytes data, const struct header *header) {
    const uint8_t *at = data.at, *end = data.at + data.size;
    int64_t scans = 0, pixels = (int64_t)header->width * header->height;
    while (at < end && (at = memchr(at, 0xFF, (size_t)(end - at))) && ++at < end)
        scans += *at == SOS;
    return scans > MAX_SCANS || scans * pixels > most(pixels, MAX_SCANNED_PIXELS);
}

/* Grey, or colours with whole chroma, halved or quartered in one direction, or halved in both: what TurboJPEG, by
   which the reference decodes, knows under every version. */
static int is_decodable(const struct header *header) {
    const int(*sampling)[2] = header->sampling;
    if (header->precision != 8 || header->frame > 0xC2)
        return 0;
    if (header->components == 1)
        return 1;
    if (header->components != 3 || sampling[1][0] * sampling[1][1] * sampling[2][0] * sampling[2][1] != 1)
        return 0;
    int h = sampling[0][0], v = sampling[0][1];
    return (h <= 2 && v <= 2) || (h == 4 && v == 1);
}

static enum kind kind_of(struct bytes data, struct header *header) {
    memset(header, 0, sizeof *header);
    if (!is_jpeg(data))
        return NOT_JPEG;
    if (!read_header(data, header))
        return REFUSED;
    if (has_many_scans(data, header))
        return SCAN_BOMB;
    return is_decodable(header) ? DECODABLE : NOT_FOR_KERNEL;
}

/* ---- views --------------------------------------------------------------------------------------------------- */

/* A transform's steps, as kernel.py's STEP lays them out; the rules, their order of arithmetic and so every bit of what
   comes out are those of draw.py. What that refuses is not drawn here either. */
enum step_kind { RANDOM_RESIZED_CROP, RANDOM_HORIZONTAL_FLIP, RANDOM_VERTICAL_FLIP, RESIZE, RESIZE_SHORTER, CENTER_CROP,
                 RANDOM_CROP, PAD };

struct step {
    int32_t kind, first_number; /* of the sample's random numbers, the first that is this step's */
    int32_t width, height, longest, pad_if_needed;
    int32_t padding[4];  /* left, top, right, bottom */
    double values[4];    /* probability; or lowest and highest share of the area, logarithms of the ratio; */
    double ratios[2];    /* the ratio itself */
};

_Static_assert(sizeof(struct step) == 88, "kernel.py's STEP says 88 bytes");

#define ATTEMPTS 10
#define NUMBERS_OF_CROP 4
#define MAX_SIDE (1 << 24) /* of what is shown, so that sums of sides fit */

/* The number at `index` of the splitmix64 generator that starts at `start`: in [0, 1). */
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

static int64_t width_of(struct box box) { return box.right - box.left; }
static int64_t height_of(struct box box) { return box.bottom - box.top; }

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

/* Of an upright picture of this size. False where draw.py has to say what is wrong, or must be asked. */
static int draw_view(const struct step *steps, Py_ssize_t count, int width, int height, uint64_t rng, struct job *job) {
    struct folded view = {{0, 0, width, height}, {0, 0, width, height}, width, height, 0, 0};
    if (width < 1 || height < 1)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!fold(&view, &steps[i], rng) || width_of(view.window) < 1 || width_of(view.window) > MAX_SIDE ||
            height_of(view.window) < 1 || height_of(view.window) > MAX_SIDE)
            return 0;
    struct box box = view.box, window = view.window;
    int32_t boxes[10] = {(int32_t)box.left,  (int32_t)box.top,     (int32_t)box.right,   (int32_t)box.bottom,
                         (int32_t)view.width, (int32_t)view.height, (int32_t)window.left, (int32_t)window.top,
                         (int32_t)window.right, (int32_t)window.bottom};
    memcpy(job->box, boxes, sizeof job->box);
    memcpy(job->size, boxes + 4, sizeof job->size);
    memcpy(job->window, boxes + 6, sizeof job->window);
    job->flip = view.flip_x | view.flip_y << 1;
    return 1;
}

/* ---- cut ----------------------------------------------------------------------------------------------------- */

#define TABLE_NAME "fastdata\0\1"
#define TABLE_HEAD 14             /* marker, length, name */
#define LEAST_PIXELS_SAVED 16384  /* as in cut.py: both must cut in the same cases, to notice the same damage */
#define LEAST_WIDTH 32

struct grid {
    int64_t segment_width, segment_height, columns, rows;
};

/* As libjpeg-turbo and zlib have it, eight bytes at a time. */
static uint32_t crc_table[8][256];

static void fill_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        crc_table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++)
            crc_table[k][i] = crc_table[k - 1][i] >> 8 ^ crc_table[0][crc_table[k - 1][i] & 255];
}

static inline uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t crc32_of(const uint8_t *p, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = crc ^ little32(p), high = little32(p + 4);
        crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^ crc_table[5][low >> 16 & 255] ^
              crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^ crc_table[2][high >> 8 & 255] ^
              crc_table[1][high >> 16 & 255] ^ crc_table[0][high >> 24];
    }
    while (size--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p++) & 255];
    return ~crc;
}

static int find_grid(struct bytes data, const struct header *header, struct grid *grid) {
    size_t start = header->sos.start, size = header->sos.stop - start;
    int64_t interval = header->restart_interval, mcu_width = 8, mcu_height = 8;
    if (!interval || header->frame > 0xC1 || size != 8 + 2 * (size_t)header->components ||
        data.at[start + 4] != header->components)
        return 0;
    if (header->components > 1) { /* a scan of one is not interleaved: its MCU is one block */
        mcu_width *= header->sampling[0][0];
        mcu_height *= header->sampling[0][1];
    }
    int64_t row = divide_up(header->width, mcu_width), rows = divide_up(header->height, mcu_height);
    if (row % interval == 0) {
        *grid = (struct grid){interval * mcu_width, mcu_height, row / interval, rows};
        return 1;
    }
    if (interval % row == 0) {
        int64_t mcu_rows = interval / row;
        *grid = (struct grid){row * mcu_width, mcu_rows * mcu_height, 1, divide_up(rows, mcu_rows)};
        return 1;
    }
    return 0;
}

static int marker_after(size_t segment, size_t count) { return segment + 1 == count ? 0xD9 : 0xD0 + segment % 8; }

/* The contents of the table's segments joined, as restart.py lays them out; 0 bytes where there is no table. */
static size_t join_table(struct bytes data, size_t entry_count, uint8_t *into, size_t room, int *entry_size) {
    struct segment segment = {0, 0, 2};
    size_t used = 0;
    *entry_size = 0;
    while (segment.marker != SOS && read_segment(data, segment.stop, &segment)) {
        size_t start = segment.start + TABLE_HEAD;
        if (segment.marker != APP9 || segment.stop <= start ||
            !stands_at(data, segment.start + 4, TABLE_NAME, sizeof TABLE_NAME - 1))
            continue;
        if (!*entry_size)
            *entry_size = data.at[start];
        size_t size = segment.stop - start - 1;
        if (!*entry_size || size > room - used)
            return 0;
        memcpy(into + used, data.at + start + 1, size);
        used += size;
    }
    if (*entry_size != 2 && *entry_size != 4)
        return 0;
    return used == 4 + (size_t)*entry_size * entry_count ? used : 0;
}

/* Edges by the table: 1, 0 where none fits, -1 where the data are not what it was made for. */
static int edges_by_table(struct bytes data, const struct header *header, size_t count, struct block *scratch,
                          int checked, size_t *edges) {
    int entry_size;
    size_t room = 4 + 4 * count;
    uint8_t *table = reserve(scratch, room);
    if (!table || !join_table(data, count, table, room, &entry_size))
        return 0;
    edges[0] = header->sos.stop;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = table + 4 + (size_t)entry_size * i;
        size_t length = entry_size == 2 ? (size_t)(entry[0] | entry[1] << 8) : little32(entry);
        if (data.size - edges[i] < 2 || length > data.size - edges[i] - 2)
            return 0;
        size_t end = edges[i] + length;
        if (data.at[end] != 0xFF || data.at[end + 1] != marker_after(i, count))
            return 0;
        edges[i + 1] = end + 2;
    }
    if (!checked && crc32_of(data.at + edges[0], edges[count] - edges[0]) != little32(table))
        return -1;
    return 1;
}

/* Edges by looking for the markers: 0 unless they are the expected ones and no others. */
static int edges_by_search(struct bytes data, const struct header *header, size_t count, size_t *edges) {
    const uint8_t *at = data.at + header->sos.stop, *end = data.at + data.size;
    edges[0] = header->sos.stop;
    for (size_t i = 0; i < count; i++) {
        do {
            if (at >= end || !(at = memchr(at, 0xFF, (size_t)(end - at))) || ++at >= end)
                return 0;
        } while (*at == 0x00 || *at == 0xFF); /* a stuffed byte, fill before a marker */
        if (*at++ != marker_after(i, count))
            return 0;
        edges[i + 1] = (size_t)(at - data.at);
    }
    return 1;
}

/* The columns and rows of segments that the box's pixels depend on: smooth upsampling mixes in the chroma sample
   on either side, and does so only in rows of more than two. Left, top, right and bottom count segments. */
static struct box segments_around(const struct header *header, const struct grid *grid, struct box box, int64_t scale) {
    int64_t left = most(0, least(box.left / scale * scale - scale, header->width - LEAST_WIDTH));
    int64_t right = most(divide_up(box.right, scale) * scale + scale, left + LEAST_WIDTH);
    int64_t top = most(0, box.top / scale * scale - scale);
    int64_t bottom = divide_up(box.bottom, scale) * scale + scale;
    return (struct box){
        left / grid->segment_width,
        top / grid->segment_height,
        least(divide_up(right, grid->segment_width), grid->columns),
        least(divide_up(bottom, grid->segment_height), grid->rows),
    };
}

/* SOI to SOS with the new size, and of the metadata only what says which colours these are. */
static size_t write_head(struct bytes data, int64_t width, int64_t height, uint8_t *into) {
    struct segment segment = {0, 0, 2};
    size_t used = 2;
    memcpy(into, "\xff\xd8", 2);
    while (segment.marker != SOS && read_segment(data, segment.stop, &segment)) {
        int marker = segment.marker;
        if ((marker >= APP0 && marker <= APP15) || marker == COM) {
            int jfif = marker == APP0 && stands_at(data, segment.start + 4, "JFIF", 5);
            int adobe = marker == APP14 && stands_at(data, segment.start + 4, "Adobe", 5);
            if (!jfif && !adobe)
                continue;
        }
        size_t size = segment.stop - segment.start;
        uint8_t *copy = memcpy(into + used, data.at + segment.start, size);
        if (is_frame(marker)) {
            copy[5] = (uint8_t)(height >> 8), copy[6] = (uint8_t)height;
            copy[7] = (uint8_t)(width >> 8), copy[8] = (uint8_t)width;
        }
        used += size;
    }
    return used;
}

struct scratch {
    struct block cut, edges, table, strip, picture, middle, tile, starts[2], weights[2];
};

/* A picture to decode, which may be a part of the file's, and the box in it. */
struct part {
    struct bytes data;
    int64_t width, height;
    struct box box;
};

/* `part` made the smaller JPEG that has the box's pixels; left as it is where a cut does not pay or can't be. */
static void cut(struct part *part, const struct header *header, int scale, int checked, struct scratch *scratch) {
    struct bytes data = part->data;
    struct grid grid;
    if (!find_grid(data, header, &grid))
        return;
    struct box wanted = segments_around(header, &grid, part->box, scale);
    int64_t x = wanted.left * grid.segment_width, y = wanted.top * grid.segment_height;
    int64_t width = least(wanted.right * grid.segment_width, header->width) - x;
    int64_t height = least(wanted.bottom * grid.segment_height, header->height) - y;
    int64_t pixels = (int64_t)header->width * header->height, saved = pixels - width * height;
    size_t count = (size_t)(grid.columns * grid.rows);
    if (saved < LEAST_PIXELS_SAVED || (double)saved < 0.1 * (double)pixels || 2 * count > data.size)
        return;
    size_t *edges = reserve(&scratch->edges, (count + 1) * sizeof *edges);
    uint8_t *smaller = reserve(&scratch->cut, data.size);
    if (!edges || !smaller)
        return;
    int found = edges_by_table(data, header, count, &scratch->table, checked, edges);
    if (found < 0 || (!found && !edges_by_search(data, header, count, edges)))
        return;
    size_t used = write_head(data, width, height, smaller), written = 0;
    size_t kept = (size_t)((wanted.right - wanted.left) * (wanted.bottom - wanted.top));
    for (int64_t row = wanted.top; row < wanted.bottom; row++) {
        size_t first = (size_t)(row * grid.columns + wanted.left), last = (size_t)(row * grid.columns + wanted.right);
        size_t shift = edges[first] - used; /* from where a byte is kept to where it was */
        memcpy(smaller + used, data.at + edges[first], edges[last] - edges[first]);
        for (size_t i = first; i < last; i++, written++)
            smaller[edges[i + 1] - shift - 1] = (uint8_t)marker_after(written, kept);
        used = edges[last] - shift;
    }
    struct box box = part->box;
    *part = (struct part){{smaller, used}, width, height, {box.left - x, box.top - y, box.right - x, box.bottom - y}};
}

/* ---- axes ---------------------------------------------------------------------------------------------------- */

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

static int make_axis(struct axis *axis, struct side side, struct wanted wanted, enum filter filter, int which,
                     struct scratch *scratch) {
    struct block *starts = &scratch->starts[which], *weights = &scratch->weights[which];
    axis->count = wanted.count;
    if (side.from == (double)side.low && side.to == (double)side.high && side.out == side.high - side.low)
        return copying_axis(axis, side, wanted, starts);
    if (filter == PLAIN)
        return plain_axis(axis, side, wanted, starts, weights);
    return antialiased_axis(axis, side, wanted, filter, starts, weights, &scratch->table);
}

/* ---- passes -------------------------------------------------------------------------------------------------- */

/* Four rows at once, each to its own output; up to SLACK bytes are read after a source pixel's taps, and one is
   written after an output row. */
typedef void along_rows(const struct axis *axis, const uint8_t *const source[4], uint8_t *const out[4]);

/* One row of `size` bytes from `taps` rows, of which SLACK bytes more are read. */
typedef void down_columns(const uint8_t *const *rows, const int16_t *weights, int taps, int bits, uint8_t *out,
                          size_t size);

static inline uint8_t clamped(int32_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

static void along_rows_portable(const struct axis *axis, const uint8_t *const source[4], uint8_t *const out[4]) {
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

static void down_columns_portable(const uint8_t *const *rows, const int16_t *weights, int taps, int bits, uint8_t *out,
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

#ifdef HAVE_X86

static inline int two_weights(const int16_t *weights) {
    int pair;
    memcpy(&pair, weights, sizeof pair);
    return pair;
}

/* From pixels r g b r g b ... the first two, or the second two, as 16 bit pairs r r g g b b 0 0: what pmaddwd
   multiplies with a pair of weights and adds up. */
#define FIRST_TWO 0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1
#define SECOND_TWO 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1

__attribute__((target("sse4.1"))) static void along_rows_sse4(const struct axis *axis, const uint8_t *const source[4],
                                                              uint8_t *const out[4]) {
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

__attribute__((target("sse4.1"))) static void down_columns_sse4(const uint8_t *const *rows, const int16_t *weights,
                                                                int taps, int bits, uint8_t *out, size_t size) {
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

__attribute__((target("avx2"))) static inline __m256i two_rows(const uint8_t *upper, const uint8_t *lower) {
    __m256i pixels = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)upper));
    return _mm256_inserti128_si256(pixels, _mm_loadu_si128((const __m128i *)lower), 1);
}

__attribute__((target("avx2"))) static void along_rows_avx2(const struct axis *axis, const uint8_t *const source[4],
                                                            uint8_t *const out[4]) {
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

__attribute__((target("avx2"))) static void down_columns_avx2(const uint8_t *const *rows, const int16_t *weights,
                                                              int taps, int bits, uint8_t *out, size_t size) {
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

struct simd {
    const char *name;
    along_rows *along;
    down_columns *down;
};

static struct simd simd = {"portable", along_rows_portable, down_columns_portable};

/* The best that the processor has; FASTDATA_SIMD asks for a lower one. */
static void choose_simd(void) {
#ifdef HAVE_X86
    const char *asked = getenv("FASTDATA_SIMD");
    int below_avx2 = asked && (!strcmp(asked, "sse4") || !strcmp(asked, "portable"));
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && !below_avx2)
        simd = (struct simd){"avx2", along_rows_avx2, down_columns_avx2};
    else if (__builtin_cpu_supports("sse4.1") && !(asked && !strcmp(asked, "portable")))
        simd = (struct simd){"sse4", along_rows_sse4, down_columns_sse4};
#endif
}

/* ---- a sample ------------------------------------------------------------------------------------------------ */

/* libjpeg's errors and its first warning come back here by longjmp. */
struct escape {
    struct jpeg_error_mgr manager; /* first, since libjpeg hands out a pointer to it */
    jmp_buf to;
    enum status status;
};

static void on_error(j_common_ptr jpeg) {
    struct escape *escape = (struct escape *)jpeg->err;
    escape->status = jpeg->err->msg_code == JERR_OUT_OF_MEMORY ? NO_MEMORY : FAILED;
    longjmp(escape->to, 1);
}

static void on_message(j_common_ptr jpeg, int level) {
    struct escape *escape = (struct escape *)jpeg->err;
    if (level >= 0)
        return; /* a trace */
    escape->status = WARNING;
    longjmp(escape->to, 1);
}

static void on_output(j_common_ptr jpeg) { (void)jpeg; }

static struct jpeg_error_mgr *refuse_damage(struct escape *escape) {
    jpeg_std_error(&escape->manager);
    escape->manager.error_exit = on_error;
    escape->manager.emit_message = on_message;
    escape->manager.output_message = on_output;
    return &escape->manager;
}

/* What one call of `decode` works with, sample after sample. */
struct worker {
    struct jpeg_decompress_struct jpeg;
    struct escape escape;
    struct scratch scratch;
    int64_t decode_ns, resize_ns;
};

/* What becomes of a picture as it is decoded. */
struct plan {
    struct part part;
    int scale, checked, transposed;
    struct axis x, y;
    uint8_t *out; /* x.count times y.count pixels, in stored orientation */
    size_t out_stride;
    uint8_t *middle; /* rows resized along x only, y.first to y.last; NULL where `out` takes them as they are */
    size_t middle_stride;
};

/* How to turn stored pixels upright: transpose, then mirror in x, in y. */
static void turns(int orientation, int *transpose, int *flip_x, int *flip_y) {
    *transpose = orientation >= 5;
    *flip_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    *flip_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
}

/* Where a box of the upright picture lies in the picture as stored. */
static struct box stored_box(int orientation, int64_t width, int64_t height, const int32_t box[4]) {
    struct box b = {box[0], box[1], box[2], box[3]};
    if (orientation >= 5)
        b = (struct box){b.top, b.left, b.bottom, b.right};
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        b.left = width - b.left, b.right = width - b.right;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        b.top = height - b.top, b.bottom = height - b.bottom;
    return (struct box){least(b.left, b.right), least(b.top, b.bottom), most(b.left, b.right), most(b.top, b.bottom)};
}

/* By how much JPEG may scale down; 3/8 and the like are left out, having no SIMD code in libjpeg-turbo. */
static int scale_of(const struct job *job) {
    if (!(job->reducing_gap > 0))
        return 1;
    double x = (job->box[2] - job->box[0]) / (double)job->size[0];
    double y = (job->box[3] - job->box[1]) / (double)job->size[1];
    double gap = (x < y ? x : y) / job->reducing_gap;
    return gap >= 8 ? 8 : gap >= 4 ? 4 : gap >= 2 ? 2 : 1;
}

static enum status check_view(const struct job *job, const struct header *header) {
    const int32_t *box = job->box, *size = job->size;
    if (job->orientation < 1 || job->orientation > 8 || job->filter < PLAIN || job->filter > CUBIC)
        return BAD_VIEW;
    int turned = job->orientation >= 5;
    int width = turned ? header->height : header->width, height = turned ? header->width : header->height;
    if (!(0 <= box[0] && box[0] < box[2] && box[2] <= width && 0 <= box[1] && box[1] < box[3] && box[3] <= height))
        return BAD_VIEW;
    if (size[0] < 1 || size[1] < 1)
        return BAD_VIEW;
    /* Of so small pictures the reference, which asks TurboJPEG for a size, gets 3/8 where 1/2 is meant. */
    if (width <= 8 && height <= 8 && scale_of(job) > 1)
        return BAD_VIEW;
    int64_t pixels = (int64_t)size[0] * size[1];
    if ((size[0] != box[2] - box[0] || size[1] != box[3] - box[1]) && pixels > MAX_PIXELS)
        return BAD_VIEW;
    return (int64_t)header->width * header->height > MAX_PIXELS ? TOO_LARGE : DONE;
}

/* The picture's rows, from y.first + `row` on, go along x to where they belong. */
static void take_rows(const struct plan *plan, int64_t row, int count, const uint8_t *pixels, size_t stride,
                      void *spare) {
    const struct axis *x = &plan->x;
    size_t size = 3 * (size_t)x->count;
    for (int r = 0; r < count; r += 4) {
        const uint8_t *source[4];
        uint8_t *out[4];
        for (int i = 0; i < 4; i++) {
            int there = r + i < count;
            source[i] = pixels + stride * (size_t)(there ? r + i : count - 1);
            if (!there)
                out[i] = spare;
            else if (plan->middle)
                out[i] = plan->middle + plan->middle_stride * (size_t)(row + r + i);
            else { /* y takes each row as it is, forwards or backwards */
                int64_t at = row + r + i - plan->y.starts[0];
                out[i] = plan->out + plan->out_stride * (size_t)(at < 0 ? -at : at);
            }
        }
        if (x->taps) {
            simd.along(x, source, out);
            continue;
        }
        for (int i = 0; i < 4 && r + i < count; i++) {
            if (x->count == 1 || x->starts[1] > x->starts[0])
                memcpy(out[i], source[i] + 3 * (size_t)x->starts[0], size);
            else
                for (size_t k = 0; k < (size_t)x->count; k++)
                    memcpy(out[i] + 3 * k, source[i] + 3 * (size_t)x->starts[k], 3);
        }
    }
}

static int resize_down(const struct plan *plan, struct block *pointers) {
    const struct axis *y = &plan->y;
    int64_t rows = y->last - y->first;
    size_t size = 3 * (size_t)plan->x.count;
    const uint8_t **taps = reserve(pointers, ((size_t)y->taps + 1) * sizeof *taps);
    if (!taps)
        return 0;
    for (int64_t i = 0; i < y->count; i++) {
        uint8_t *out = plan->out + plan->out_stride * (size_t)i;
        for (int k = 0; k < (y->taps ? y->taps : 1); k++)
            taps[k] = plan->middle + plan->middle_stride * (size_t)least(y->starts[i] + k, rows - 1);
        if (y->taps)
            simd.down(taps, y->weights + i * y->taps, y->taps, y->bits, out, size);
        else
            memcpy(out, taps[0], size);
    }
    return 1;
}

/* Whether libjpeg would smooth the blocks of a progressive picture whose scans are not complete. How is a matter of its
   version, and not the same beside a cropped edge. */
static int is_incomplete(const struct jpeg_decompress_struct *jpeg) {
    if (!jpeg->progressive_mode || !jpeg->coef_bits)
        return 0;
    for (int component = 0; component < jpeg->num_components; component++)
        for (int k = 0; k < 10; k++)
            if (jpeg->coef_bits[component][k] != 0)
                return 1;
    return 0;
}

/* The columns to decode: those needed and some beyond, since smooth upsampling looks at the next chroma sample,
   and not too few, since it is another in narrow pictures. Returns where they begin. */
static int64_t crop_columns(struct jpeg_decompress_struct *jpeg, int64_t first, int64_t last) {
    const int64_t margin = 8, least_width = 64;
    int64_t width = jpeg->output_width;
    int64_t left = most(0, least(first - margin, width - least_width));
    int64_t right = least(width, most(last + margin, left + least_width));
    JDIMENSION offset = (JDIMENSION)left, columns = (JDIMENSION)(right - left);
    if (columns < jpeg->output_width)
        jpeg_crop_scanline(jpeg, &offset, &columns);
    else
        offset = 0;
    return offset;
}

/* To the end of the image, so that damage there is noticed, at the price of entropy decoding only. */
static void read_to_end(struct jpeg_decompress_struct *jpeg, JSAMPROW row) {
    if (jpeg_has_multiple_scans(jpeg)) /* all of it has been read before the first row came out */
        return;
    JDIMENSION left = jpeg->output_height - jpeg->output_scanline;
    if (left > 1) /* libjpeg-turbo does not decode what it skips up to the very end: the last row is read */
        jpeg_skip_scanlines(jpeg, left - 1);
    while (jpeg->output_scanline < jpeg->output_height)
        jpeg_read_scanlines(jpeg, &row, 1);
    jpeg_finish_decompress(jpeg);
}

/* A JPEG without tables of its own would be decoded by those of the last one, which libjpeg keeps. Their memory stays in
   libjpeg's permanent pool, some kilobytes a picture, until the worker ends. */
static void forget_tables(struct jpeg_decompress_struct *jpeg) {
    memset(jpeg->quant_tbl_ptrs, 0, sizeof jpeg->quant_tbl_ptrs);
    memset(jpeg->dc_huff_tbl_ptrs, 0, sizeof jpeg->dc_huff_tbl_ptrs);
    memset(jpeg->ac_huff_tbl_ptrs, 0, sizeof jpeg->ac_huff_tbl_ptrs);
}

/* Up to the first row: DONE where pixels can be read. */
static enum status start_picture(struct jpeg_decompress_struct *jpeg, const struct part *part, int scale) {
    forget_tables(jpeg);
    jpeg_mem_src(jpeg, part->data.at, (unsigned long)part->data.size);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->image_width != part->width || jpeg->image_height != part->height)
        return FAILED;
    jpeg->out_color_space = JCS_RGB;
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)scale;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(jpeg);
    if (jpeg->output_width != divide_up(part->width, scale) ||
        jpeg->output_height != divide_up(part->height, scale) || jpeg->output_components != 3)
        return FAILED;
    return is_incomplete(jpeg) ? INCOMPLETE : DONE;
}

static enum status read_picture(struct worker *worker, struct plan *plan) {
    struct jpeg_decompress_struct *jpeg = &worker->jpeg;
    enum status status = start_picture(jpeg, &plan->part, plan->scale);
    if (status != DONE)
        return status;
    int64_t offset = crop_columns(jpeg, plan->x.first, plan->x.last);
    size_t stride = 3 * (size_t)jpeg->output_width, spare = 3 * (size_t)plan->x.count + SLACK;
    uint8_t *strip = reserve(&worker->scratch.strip, STRIP_ROWS * stride + 3 * (size_t)plan->x.taps + SLACK + spare);
    if (!strip)
        return NO_MEMORY;
    uint8_t *past_strip = strip + STRIP_ROWS * stride + 3 * (size_t)plan->x.taps + SLACK;
    const uint8_t *pixels = strip + 3 * (size_t)(plan->x.first - offset);
    JSAMPROW rows[STRIP_ROWS];
    for (int i = 0; i < STRIP_ROWS; i++)
        rows[i] = strip + stride * (size_t)i;
    if (plan->y.first)
        jpeg_skip_scanlines(jpeg, (JDIMENSION)plan->y.first);
    for (int64_t at = plan->y.first; at < plan->y.last;) {
        int wanted = (int)least(STRIP_ROWS, plan->y.last - at), count = 0;
        while (count < wanted)
            count += (int)jpeg_read_scanlines(jpeg, rows + count, (JDIMENSION)(wanted - count));
        int64_t start = nanoseconds();
        take_rows(plan, at - plan->y.first, count, pixels, stride, past_strip);
        worker->resize_ns += nanoseconds() - start;
        at += count;
    }
    if (!plan->checked)
        read_to_end(jpeg, rows[0]);
    return DONE;
}

/* In a function of its own, since longjmp leaves it with local variables as they may be. */
static enum status read_picture_or_refuse(struct worker *worker, struct plan *plan) {
    if (setjmp(worker->escape.to)) {
        jpeg_abort_decompress(&worker->jpeg);
        return worker->escape.status;
    }
    enum status status = read_picture(worker, plan);
    jpeg_abort_decompress(&worker->jpeg);
    return status;
}

/* Upright pixels from a tile in stored orientation: its rows are the columns. */
static void transpose(const uint8_t *tile, size_t rows, size_t columns, uint8_t *out, size_t out_stride) {
    enum { BLOCK = 16 }; /* rows of the tile at a time: some cache lines of each */
    for (size_t first = 0; first < rows; first += BLOCK) {
        size_t last = first + BLOCK < rows ? first + BLOCK : rows;
        for (size_t x = 0; x < columns; x++) {
            uint8_t *pixel = out + out_stride * x + 3 * first;
            for (size_t y = first; y < last; y++, pixel += 3)
                memcpy(pixel, tile + 3 * (columns * y + x), 3);
        }
    }
}

/* Which pixels of the resized and stored picture a window shows, in the order of the output. */
static struct wanted wanted_pixels(int64_t low, int64_t high, int64_t size, int backwards, int mirrored) {
    /* `backwards`: the window is read from its end; `mirrored`: the whole side is the other way round. */
    int64_t at = backwards ? high - 1 : low, step = backwards ? -1 : 1;
    return (struct wanted){mirrored ? size - 1 - at : at, mirrored ? -step : step, high - low};
}

static struct side side_of(int64_t from, int64_t to, int scale, int64_t out) {
    return (struct side){(double)from / scale, (double)to / scale, from / scale, divide_up(to, scale), out};
}

/* Where the window lies in the resized picture, and where what it shows of that lies in the row. */
struct shown {
    struct box box; /* of the upright picture, resized */
    uint8_t *out;   /* where the first pixel of it comes */
    size_t stride;
};

/* Black where the window reaches beyond the picture, of which something has to be shown. */
static struct shown show(const struct job *job, uint8_t *row) {
    const int32_t *size = job->size, *window = job->window;
    int64_t width = (int64_t)window[2] - window[0], height = (int64_t)window[3] - window[1];
    struct box box = {most(0, window[0]), most(0, window[1]), least(size[0], window[2]), least(size[1], window[3])};
    size_t stride = 3 * (size_t)width;
    int64_t x = job->flip & 1 ? window[2] - box.right : box.left - window[0];
    int64_t y = job->flip & 2 ? window[3] - box.bottom : box.top - window[1];
    if (box.right - box.left < width || box.bottom - box.top < height)
        memset(row, 0, stride * (size_t)height);
    return (struct shown){box, row + stride * (size_t)y + 3 * (size_t)x, stride};
}

/* Memory for what lies between decoding and the row of the batch. */
static int plan_memory(struct plan *plan, struct scratch *scratch, const struct shown *shown) {
    size_t columns = (size_t)plan->x.count, rows = (size_t)plan->y.count;
    size_t needed = (size_t)(plan->y.last - plan->y.first);
    plan->out = shown->out;
    plan->out_stride = shown->stride;
    if (plan->transposed) {
        plan->out_stride = 3 * columns;
        plan->out = columns > MAX_SCRATCH / 3 / rows ? NULL : reserve(&scratch->tile, 3 * columns * rows);
    }
    plan->middle = NULL;
    plan->middle_stride = (3 * columns + 2 * SLACK - 1) / SLACK * SLACK;
    if (!plan->out || (!plan->x.taps && !plan->y.taps))
        return plan->out != NULL;
    if (plan->middle_stride <= MAX_SCRATCH / (needed + 1))
        plan->middle = reserve(&scratch->middle, plan->middle_stride * (needed + 1));
    return plan->middle != NULL;
}

/* The picture to decode for boxes that `box` holds, all at one scale, cut to size where that pays. */
static struct part part_around(struct bytes data, const struct header *header, struct box box, int scale, int checked,
                               struct scratch *scratch) {
    struct part part = {data, header->width, header->height, box};
    if (header->restart_interval)
        cut(&part, header, scale, checked, scratch);
    return part;
}

/* All that can be known before decoding, of a view whose stored box lies in the part. */
static int make_plan(struct plan *plan, const struct part *part, const struct job *job, const struct shown *shown,
                     struct scratch *scratch) {
    int flip_x, flip_y;
    turns(job->orientation, &plan->transposed, &flip_x, &flip_y);
    plan->scale = scale_of(job);
    plan->checked = job->checked;
    plan->part = *part;
    struct box box = part->box;
    struct wanted across = wanted_pixels(shown->box.left, shown->box.right, job->size[0], job->flip & 1, flip_x);
    struct wanted down = wanted_pixels(shown->box.top, shown->box.bottom, job->size[1], job->flip & 2, flip_y);
    int t = plan->transposed;
    struct side x = side_of(box.left, box.right, plan->scale, job->size[t]);
    struct side y = side_of(box.top, box.bottom, plan->scale, job->size[!t]);
    return make_axis(&plan->x, x, t ? down : across, (enum filter)job->filter, 0, scratch) &&
           make_axis(&plan->y, y, t ? across : down, (enum filter)job->filter, 1, scratch) &&
           plan_memory(plan, scratch, shown);
}

/* From rows resized along x to the row of the batch. */
static enum status finish_view(const struct plan *plan, const struct shown *shown, struct scratch *scratch) {
    if (plan->middle && !resize_down(plan, &scratch->edges))
        return NO_MEMORY;
    if (plan->transposed)
        transpose(plan->out, (size_t)plan->y.count, (size_t)plan->x.count, shown->out, shown->stride);
    return DONE;
}

static enum status decode_view(struct worker *worker, struct bytes data, const struct header *header,
                               const struct job *job, uint8_t *row) {
    struct plan plan;
    struct shown shown = show(job, row);
    struct box box = stored_box(job->orientation, header->width, header->height, job->box);
    struct part part = part_around(data, header, box, scale_of(job), job->checked, &worker->scratch);
    if (!make_plan(&plan, &part, job, &shown, &worker->scratch))
        return NO_MEMORY;
    enum status status = read_picture_or_refuse(worker, &plan);
    if (status != DONE)
        return status;
    int64_t start = nanoseconds();
    status = finish_view(&plan, &shown, &worker->scratch);
    worker->resize_ns += nanoseconds() - start;
    return status;
}

/* Whether a view can be made here. Those for which it is DONE have a stored box and something to show. */
static enum status check_job(enum kind kind, const struct header *header, const struct job *job) {
    if (kind != DECODABLE)
        return kind == SCAN_BOMB ? MANY_SCANS : kind == NOT_FOR_KERNEL ? OTHER_KIND : BAD_HEADER;
    enum status status = check_view(job, header);
    if (status != DONE)
        return status;
    const int32_t *size = job->size, *window = job->window;
    /* Of nothing but black the reference knows whether that is meant. */
    return most(0, window[0]) < least(size[0], window[2]) && most(0, window[1]) < least(size[1], window[3]) ? DONE
                                                                                                         : BAD_VIEW;
}

/* ---- several views of a sample --------------------------------------------------------------------------------- */

/* Views of one picture, at one scale: what all of them need is decoded once, and each is resized from that. */
struct group {
    struct part part;
    int scale;
    int64_t left, top, right, bottom; /* the pixels that are needed, of the part as decoded */
    uint8_t *pixels;                  /* those, and maybe more columns */
    int64_t offset;                   /* the column at which a row of them begins */
    size_t stride;
};

#define TAIL (4 * SLACK) /* bytes that may be touched after the last row of a group's pixels */

static enum status read_group(struct worker *worker, struct group *group) {
    struct jpeg_decompress_struct *jpeg = &worker->jpeg;
    enum status status = start_picture(jpeg, &group->part, group->scale);
    if (status != DONE)
        return status;
    group->offset = crop_columns(jpeg, group->left, group->right);
    group->stride = 3 * (size_t)jpeg->output_width;
    size_t rows = (size_t)(group->bottom - group->top);
    if (group->stride > MAX_SCRATCH / (rows + STRIP_ROWS))
        return NO_MEMORY;
    group->pixels = reserve(&worker->scratch.picture, group->stride * (rows + 1) + TAIL);
    if (!group->pixels)
        return NO_MEMORY;
    if (group->top)
        jpeg_skip_scanlines(jpeg, (JDIMENSION)group->top);
    for (size_t at = 0; at < rows;) {
        JSAMPROW pointers[STRIP_ROWS];
        int count = (int)least(STRIP_ROWS, (int64_t)(rows - at));
        for (int i = 0; i < count; i++)
            pointers[i] = group->pixels + group->stride * (at + (size_t)i);
        at += jpeg_read_scanlines(jpeg, pointers, (JDIMENSION)count);
    }
    JSAMPROW spare = group->pixels + group->stride * rows;
    read_to_end(jpeg, spare);
    return DONE;
}

static enum status read_group_or_refuse(struct worker *worker, struct group *group) {
    if (setjmp(worker->escape.to)) {
        jpeg_abort_decompress(&worker->jpeg);
        return worker->escape.status;
    }
    enum status status = read_group(worker, group);
    jpeg_abort_decompress(&worker->jpeg);
    return status;
}

/* The part for one of the group's views: the same picture, and that view's box in it. */
static struct part own_part(const struct group *group, struct box around, struct box box) {
    int64_t x = group->part.box.left - around.left, y = group->part.box.top - around.top;
    struct part part = group->part;
    part.box = (struct box){box.left + x, box.top + y, box.right + x, box.bottom + y};
    return part;
}

static enum status resize_view(struct worker *worker, const struct group *group, const struct part *part,
                               const struct job *job, uint8_t *row) {
    struct plan plan;
    struct shown shown = show(job, row);
    if (!make_plan(&plan, part, job, &shown, &worker->scratch))
        return NO_MEMORY;
    /* Taps reach beyond the last column of the last row by less than a row, which is there. */
    void *spare = reserve(&worker->scratch.strip, 3 * (size_t)plan.x.count + SLACK);
    if (!spare)
        return NO_MEMORY;
    const uint8_t *pixels = group->pixels + group->stride * (size_t)(plan.y.first - group->top) +
                            3 * (size_t)(plan.x.first - group->offset);
    take_rows(&plan, 0, (int)(plan.y.last - plan.y.first), pixels, group->stride, spare);
    return finish_view(&plan, &shown, &worker->scratch);
}

/* Which pixels of the part all of these views need. */
static int measure(struct group *group, const struct part *part, const struct job *job, uint8_t *row,
                   struct scratch *scratch) {
    struct plan plan;
    struct shown shown = show(job, row);
    if (!make_plan(&plan, part, job, &shown, scratch))
        return 0;
    group->left = least(group->left, plan.x.first);
    group->top = least(group->top, plan.y.first);
    group->right = most(group->right, plan.x.last);
    group->bottom = most(group->bottom, plan.y.last);
    return 1;
}

/* Those of `count` views of a file whose status is still WAITING, and whose scale is the first such one's. */
static void decode_group(struct worker *worker, struct bytes data, const struct header *header, const struct job *jobs,
                         uint8_t *const *rows, int32_t *statuses, int first, int count) {
    struct group group = {.scale = scale_of(&jobs[first]), .left = INT64_MAX, .top = INT64_MAX};
    struct box around = {INT64_MAX, INT64_MAX, 0, 0};
    int checked = 1, members = 0;
    for (int i = first; i < count; i++) {
        if (statuses[i] != WAITING || scale_of(&jobs[i]) != group.scale)
            continue;
        struct box box = stored_box(jobs[i].orientation, header->width, header->height, jobs[i].box);
        around = (struct box){least(around.left, box.left), least(around.top, box.top), most(around.right, box.right),
                              most(around.bottom, box.bottom)};
        checked = checked && jobs[i].checked;
        statuses[i] = MEMBER;
        members++;
    }
    if (members == 1) {
        statuses[first] = (int32_t)decode_view(worker, data, header, &jobs[first], rows[first]);
        return;
    }
    group.part = part_around(data, header, around, group.scale, checked, &worker->scratch);
    enum status status = DONE;
    for (int i = first; i < count && status == DONE; i++)
        if (statuses[i] == MEMBER) {
            struct box box = stored_box(jobs[i].orientation, header->width, header->height, jobs[i].box);
            struct part part = own_part(&group, around, box);
            if (!measure(&group, &part, &jobs[i], rows[i], &worker->scratch))
                status = NO_MEMORY;
        }
    if (status == DONE)
        status = read_group_or_refuse(worker, &group);
    int64_t start = nanoseconds();
    for (int i = first; i < count; i++)
        if (statuses[i] == MEMBER) {
            struct box box = stored_box(jobs[i].orientation, header->width, header->height, jobs[i].box);
            struct part part = own_part(&group, around, box);
            statuses[i] = (int32_t)(status != DONE ? status : resize_view(worker, &group, &part, &jobs[i], rows[i]));
        }
    worker->resize_ns += nanoseconds() - start;
}

/* All views of a file. */
static void decode_views(struct worker *worker, struct bytes data, const struct job *jobs, uint8_t *const *rows,
                         int32_t *statuses, int count) {
    struct header header;
    enum kind kind = kind_of(data, &header);
    for (int i = 0; i < count; i++) {
        enum status status = check_job(kind, &header, &jobs[i]);
        statuses[i] = status == DONE ? WAITING : (int32_t)status;
    }
    for (int i = 0; i < count; i++)
        if (statuses[i] == WAITING)
            decode_group(worker, data, &header, jobs, rows, statuses, i, count);
}

static int start_worker(struct worker *worker) {
    memset(worker, 0, sizeof *worker);
    worker->jpeg.err = refuse_damage(&worker->escape);
    if (setjmp(worker->escape.to)) {
        jpeg_destroy_decompress(&worker->jpeg);
        return 0;
    }
    jpeg_create_decompress(&worker->jpeg);
    worker->jpeg.mem->max_memory_to_use = MAX_LIBJPEG;
    return 1;
}

static void end_worker(struct worker *worker) {
    struct scratch *s = &worker->scratch;
    struct block *blocks[] = {&s->cut,  &s->edges,     &s->table,     &s->strip,      &s->picture,   &s->middle,
                              &s->tile, &s->starts[0], &s->starts[1], &s->weights[0], &s->weights[1]};
    jpeg_destroy_decompress(&worker->jpeg);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]->mem);
}

/* ---- colours --------------------------------------------------------------------------------------------------- */

/* What may be done to a pixel's three values; the rules, and every rounding, are those of levels.py: float32, and whole
   numbers from 0 to 255 between two changes. */
enum operation { BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAYSCALE, SOLARIZE, POSTERIZE, INVERT };

struct change { /* as kernel.py's CHANGE */
    int32_t operation;
    float values[3]; /* a factor and what it lacks of 1; the places of red, green, blue; a threshold; a step */
};

_Static_assert(sizeof(struct change) == 16, "kernel.py's CHANGE says 16 bytes");

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

typedef void recolour(uint8_t *pixels, uint8_t *planes, size_t count, const struct change *changes, size_t number);

static void recolour_portable(uint8_t *pixels, uint8_t *planes, size_t count, const struct change *changes,
                              size_t number) {
    recolour_body(pixels, planes, count, changes, number);
}

#ifdef HAVE_X86
__attribute__((target("avx2"))) static void recolour_avx2(uint8_t *pixels, uint8_t *planes, size_t count,
                                                          const struct change *changes, size_t number) {
    recolour_body(pixels, planes, count, changes, number);
}
#endif

static recolour *recolour_best(void) {
#ifdef HAVE_X86
    if (!strcmp(simd.name, "avx2"))
        return recolour_avx2;
#endif
    return recolour_portable;
}

static PyObject *py_recolour(PyObject *module, PyObject *args) {
    Py_buffer pixels, changes;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "w*y*:recolour", &pixels, &changes))
        return NULL;
    uint8_t *planes = pixels.len ? malloc((size_t)pixels.len) : NULL;
    if (pixels.len % 3 || changes.len % (Py_ssize_t)sizeof(struct change) || (uintptr_t)changes.buf % 4)
        PyErr_SetString(PyExc_ValueError, "pixels are three bytes each, changes aligned CHANGEs");
    else if (pixels.len && !planes)
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        recolour_best()(pixels.buf, planes, (size_t)pixels.len / 3, changes.buf,
                        (size_t)changes.len / sizeof(struct change));
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    free(planes);
    PyBuffer_Release(&pixels);
    PyBuffer_Release(&changes);
    return result;
}

/* ---- crop-ready ---------------------------------------------------------------------------------------------- */

struct transcoder {
    struct jpeg_decompress_struct from;
    struct jpeg_compress_struct to;
    struct escape escape;
    char message[JMSG_LENGTH_MAX];
    struct jpeg_destination_mgr destination;
    uint8_t *made;
    size_t size, room;
};

/* A destination of our own: jpeg_mem_dest loses its memory where writing ends with an error. */
static void grow_output(j_compress_ptr jpeg) {
    struct transcoder *t = jpeg->client_data;
    size_t room = t->room ? 2 * t->room : (size_t)1 << 16;
    uint8_t *larger = realloc(t->made, room);
    if (!larger)
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    t->made = larger;
    t->destination.next_output_byte = larger + t->room;
    t->destination.free_in_buffer = room - t->room;
    t->room = room;
}

static boolean on_full_output(j_compress_ptr jpeg) {
    grow_output(jpeg); /* all of the old memory is full, whatever free_in_buffer says now */
    return TRUE;
}

static void end_output(j_compress_ptr jpeg) {
    struct transcoder *t = jpeg->client_data;
    t->size = t->room - t->destination.free_in_buffer;
}

static void keep_message(j_common_ptr jpeg) {
    struct transcoder *t = jpeg->client_data;
    (*jpeg->err->format_message)(jpeg, t->message);
}

static void on_transcoding_error(j_common_ptr jpeg) {
    keep_message(jpeg);
    on_error(jpeg);
}

static void on_transcoding_message(j_common_ptr jpeg, int level) {
    if (level < 0)
        keep_message(jpeg);
    on_message(jpeg, level);
}

/* All APPn and COM segments, but for those that libjpeg writes itself; as jpegtran does. */
static void copy_markers(struct transcoder *t) {
    for (jpeg_saved_marker_ptr marker = t->from.marker_list; marker; marker = marker->next) {
        struct bytes content = {marker->data, marker->data_length};
        if (t->to.write_JFIF_header && marker->marker == APP0 && stands_at(content, 0, "JFIF", 5))
            continue;
        if (t->to.write_Adobe_marker && marker->marker == APP14 && stands_at(content, 0, "Adobe", 5))
            continue;
        jpeg_write_marker(&t->to, marker->marker, marker->data, marker->data_length);
    }
}

static void transcode(struct transcoder *t, struct bytes data, int interval) {
    t->from.client_data = t->to.client_data = t; /* which jpeg_create keeps */
    jpeg_create_decompress(&t->from);
    jpeg_create_compress(&t->to);
    t->from.mem->max_memory_to_use = t->to.mem->max_memory_to_use = MAX_LIBJPEG;
    jpeg_save_markers(&t->from, COM, 0xFFFF);
    for (int i = 0; i < 16; i++)
        jpeg_save_markers(&t->from, APP0 + i, 0xFFFF);
    jpeg_mem_src(&t->from, data.at, (unsigned long)data.size);
    jpeg_read_header(&t->from, TRUE);
    jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&t->from);
    jpeg_copy_critical_parameters(&t->from, &t->to);
    jpeg_saved_marker_ptr first = t->from.marker_list;
    if (first && first->marker == APP1 && first->data_length >= 6 && !memcmp(first->data, "Exif\0\0", 6))
        t->to.write_JFIF_header = FALSE; /* as jpegtran: EXIF wants to be the first segment */
    t->to.optimize_coding = TRUE;
    t->to.restart_interval = (unsigned)interval;
    t->to.restart_in_rows = 0;
    t->destination = (struct jpeg_destination_mgr){NULL, 0, grow_output, on_full_output, end_output};
    t->to.dest = &t->destination;
    jpeg_write_coefficients(&t->to, coefficients);
    copy_markers(t);
    jpeg_finish_compress(&t->to);
    jpeg_finish_decompress(&t->from);
}

static int transcode_or_refuse(struct transcoder *t, struct bytes data, int interval) {
    t->from.err = t->to.err = refuse_damage(&t->escape);
    t->escape.manager.error_exit = on_transcoding_error;
    t->escape.manager.emit_message = on_transcoding_message;
    t->escape.status = DONE;
    if (!setjmp(t->escape.to))
        transcode(t, data, interval);
    jpeg_destroy_compress(&t->to);
    jpeg_destroy_decompress(&t->from);
    return t->escape.status == DONE;
}

int is_scan_intact(j_decompress_ptr jpeg); /* entropy.c */

/* Whether all of it can be read without a warning, and there is all of it: entropy decoding, up to the very end. */
static int is_undamaged(struct transcoder *t, struct bytes data) {
    volatile int complete = 0;
    t->from.err = refuse_damage(&t->escape);
    t->escape.status = DONE;
    if (!setjmp(t->escape.to)) {
        jpeg_create_decompress(&t->from);
        t->from.mem->max_memory_to_use = MAX_LIBJPEG;
        jpeg_mem_src(&t->from, data.at, (unsigned long)data.size);
        jpeg_read_header(&t->from, TRUE);
        complete = is_scan_intact(&t->from);
        if (!complete) { /* it is not known yet */
            jpeg_read_coefficients(&t->from);
            complete = !is_incomplete(&t->from);
            jpeg_finish_decompress(&t->from);
        }
    }
    jpeg_destroy_decompress(&t->from);
    return complete && t->escape.status == DONE;
}

/* ---- members ------------------------------------------------------------------------------------------------- */

#define BLOCK 512

struct member { /* as kernel.py's MEMBER: what a shard's index says of a component; then what the shard itself says */
    uint64_t key_hash;
    int64_t size;     /* of its data */
    int64_t label;    /* the class of its sample */
    int32_t label_at; /* where what holds that begins behind the header, and its size; 0: not read with this */
    int32_t label_size;
    char extension[16]; /* with zeros behind; a longer one is for Python */
    int32_t key_size;   /* out: of the key, which begins the header; 0: Python has to look */
    int32_t has_label;  /* out: whether the class is still that one */
};

static uint64_t rotated(uint64_t x, int bits) { return x >> bits | x << (64 - bits); }

static uint64_t word_at(const uint8_t *bytes) {
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--)
        word = word << 8 | bytes[i];
    return word;
}

static void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x, v[d] = rotated(v[d] ^ v[a], 32), v[c] += v[d], v[b] = rotated(v[b] ^ v[c], 24);
    v[a] += v[b] + y, v[d] = rotated(v[d] ^ v[a], 16), v[c] += v[d], v[b] = rotated(v[b] ^ v[c], 63);
}

/* sample.py's: the first 8 bytes of BLAKE2b (RFC 7693, 64 bytes, without a key), of up to 128 bytes. */
static uint64_t hash_of_key(const uint8_t *key, size_t size) {
    static const uint64_t start[8] = {
        0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
        0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    static const uint8_t order[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
    uint8_t block[128] = {0};
    uint64_t m[16], v[16], first = start[0] ^ 0x01010000 ^ 64;
    memcpy(block, key, size);
    for (int i = 0; i < 16; i++)
        m[i] = word_at(block + 8 * i), v[i] = i < 8 ? start[i] : start[i - 8];
    v[0] = first, v[12] ^= size, v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const uint8_t *o = order[round % 10];
        for (int i = 0; i < 4; i++)
            mix(v, i, 4 + i, 8 + i, 12 + i, m[o[2 * i]], m[o[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[o[8 + 2 * i]], m[o[9 + 2 * i]]);
    }
    return first ^ v[0] ^ v[8];
}

/* A header's number in plain octal digits, behind which a blank may stand; -1 for any other. */
static int64_t octal(const uint8_t *field, int size) {
    int64_t value = 0;
    int i = 0;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (field[i] - '0');
    int digits = i;
    i += i < size && field[i] == ' ';
    return digits && (i == size || !field[i]) ? value : -1;
}

static int carries_checksum(const uint8_t *header) {
    int64_t sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : header[i];
    return octal(header + 148, 8) == sum;
}

/* Bytes of the key where the header is of this component, in the plainest way to say so; else 0. */
static int key_in_header(const uint8_t *header, const struct member *member) {
    const char *name = (const char *)header;
    size_t length = strnlen(name, 100), extension = strnlen(member->extension, sizeof member->extension);
    if (!carries_checksum(header) || (header[156] != '0' && header[156]) || header[345] ||
        octal(header + 124, 12) != member->size || length < 3 || !memcmp(name, "./", 2) || !memcmp(name, "__", 2))
        return 0;
    size_t base = length;
    while (base && name[base - 1] != '/')
        base--;
    const char *dot = memchr(name + base, '.', length - base);
    size_t key = dot ? (size_t)(dot - name) : 0;
    if (key <= base || !extension || extension >= sizeof member->extension || length - key - 1 != extension ||
        memcmp(dot + 1, member->extension, extension) || hash_of_key(header, key) != member->key_hash)
        return 0;
    return (int)key;
}

/* Whether these are the plain decimal digits of the class. */
static int is_label(const uint8_t *digits, int32_t size, int64_t label) {
    int64_t value = 0;
    for (int32_t i = 0; i < size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        value = value * 10 + (digits[i] - '0');
    }
    return value == label;
}

/* What is there of a component: its header, its data, and what was read behind them. */
static void check_member(struct member *member, struct bytes part) {
    member->key_size = member->has_label = 0;
    if (member->size < 0 || part.size < BLOCK || (uint64_t)member->size > part.size - BLOCK)
        return;
    member->key_size = key_in_header(part.at, member);
    if (member->label_size > 0 && member->label_size <= 18 && member->label_at > 0 &&
        (uint64_t)member->label_at + (uint64_t)member->label_size <= part.size)
        member->has_label = is_label(part.at + member->label_at, member->label_size, member->label);
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* Bytes read, fewer than `size` at the end of the file only; negative: errno. */
static int64_t read_range(int fd, uint8_t *into, int64_t size, int64_t offset) {
    int64_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, into + done, (size_t)(size - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -(int64_t)errno;
        if (!got)
            break;
        done += got;
    }
    return done;
}

/* An open file from its start to its end, which is not where fstat says if somebody writes to it. */
static int64_t read_open_file(int fd, uint8_t *into, int64_t room, int64_t limit) {
    struct stat about;
    if (fstat(fd, &about))
        return -(int64_t)errno;
    if (!S_ISREG(about.st_mode))
        return NOT_REGULAR;
    if (about.st_size > limit)
        return LARGER_THAN_LIMIT;
    if (about.st_size >= room)
        return NO_ROOM;
    int64_t size = read_range(fd, into, room, 0);
    if (size > limit)
        return LARGER_THAN_LIMIT;
    return size == room ? NO_ROOM : size; /* without room left its end was not seen */
}

static int64_t read_file(const char *path, uint8_t *into, int64_t room, int64_t limit) {
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would wait */
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -(int64_t)errno;
    int64_t size = read_open_file(fd, into, room, limit);
    close(fd);
    return size;
}

/* ---- Python -------------------------------------------------------------------------------------------------- */

/* The items of a sequence, each with its buffer; what a function holds while it is without the lock. */
struct buffers {
    Py_ssize_t count;
    Py_buffer *views;
};

static void release_all(struct buffers *buffers) {
    for (Py_ssize_t i = 0; i < buffers->count; i++)
        PyBuffer_Release(&buffers->views[i]);
    PyMem_Free(buffers->views);
    *buffers = (struct buffers){0, NULL};
}

static int get_all(PyObject *sequence, int flags, struct buffers *buffers) {
    Py_ssize_t count = PySequence_Size(sequence);
    *buffers = (struct buffers){0, NULL};
    if (count < 0)
        return -1;
    buffers->views = PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer));
    if (!buffers->views) {
        PyErr_NoMemory();
        return -1;
    }
    for (; buffers->count < count; buffers->count++) {
        PyObject *item = PySequence_GetItem(sequence, buffers->count);
        int failed = !item || PyObject_GetBuffer(item, &buffers->views[buffers->count], flags);
        Py_XDECREF(item);
        if (failed) {
            release_all(buffers);
            return -1;
        }
    }
    return 0;
}

/* A writable (or readable) C-contiguous buffer of just so many bytes. */
static int get_array(PyObject *object, const char *name, Py_ssize_t size, int flags, Py_buffer *view) {
    if (PyObject_GetBuffer(object, view, flags))
        return -1;
    if (view->len == size)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s must have %zd bytes, got %zd", name, size, view->len);
    PyBuffer_Release(view);
    return -1;
}

static struct bytes bytes_of(const Py_buffer *view) { return (struct bytes){view->buf, (size_t)view->len}; }

/* What to find out about files while their bytes are at hand: headers, and a view of each. */
struct look {
    const struct step *steps;
    Py_ssize_t step_count, count;
    int filter;
    double reducing_gap, max_pixels;
    Py_buffer program, rngs, headers, jobs;
};

static enum kind write_header(struct bytes data, char *out) {
    struct header header;
    enum kind kind = kind_of(data, &header);
    int32_t row[4] = {header.width, header.height, header.orientation, (int32_t)kind};
    if (kind == REFUSED || kind == NOT_JPEG)
        row[0] = row[1] = row[2] = 0;
    memcpy(out, row, sizeof row);
    return kind;
}

/* File number i of those that are looked at. */
static void look_at(struct look *look, Py_ssize_t i, struct bytes data) {
    char *out = (char *)look->headers.buf + 16 * i;
    struct job job = {.filter = look->filter, .reducing_gap = look->reducing_gap};
    uint64_t rng;
    int32_t row[4];
    enum kind kind = write_header(data, out);
    memcpy(row, out, sizeof row);
    memcpy(&rng, (const char *)look->rngs.buf + 8 * i, sizeof rng);
    int turned = row[2] >= 5;
    job.orientation = row[2];
    if (kind == DECODABLE && ((double)row[0] * row[1] > look->max_pixels ||
                              !draw_view(look->steps, look->step_count, row[turned], row[!turned], rng, &job))) {
        row[3] = UNDRAWN;
        memcpy(out, row, sizeof row);
    }
    memcpy((char *)look->jobs.buf + sizeof job * (size_t)i, &job, sizeof job);
}

static void end_look(struct look *look) {
    Py_buffer *views[] = {&look->program, &look->rngs, &look->headers, &look->jobs};
    for (int i = 0; i < 4; i++)
        PyBuffer_Release(views[i]); /* those that were never got have no object, and nothing happens */
}

/* From kernel.py's Look of `count` files; None where nobody looks. */
static int get_look(PyObject *object, Py_ssize_t count, struct look *look) {
    memset(look, 0, sizeof *look);
    if (object == Py_None)
        return 0;
    if (!PyArg_ParseTuple(object, "y*iddy*w*w*:look", &look->program, &look->filter, &look->reducing_gap,
                          &look->max_pixels, &look->rngs, &look->headers, &look->jobs))
        return -1;
    look->count = count;
    look->steps = look->program.buf;
    look->step_count = look->program.len / (Py_ssize_t)sizeof(struct step);
    if (look->program.len % (Py_ssize_t)sizeof(struct step) || (uintptr_t)look->program.buf % 8)
        PyErr_SetString(PyExc_ValueError, "the program must be aligned STEPs");
    else if (look->rngs.len != 8 * count || look->headers.len != 16 * count ||
             look->jobs.len != (Py_ssize_t)sizeof(struct job) * count)
        PyErr_Format(PyExc_ValueError, "a look's arrays must be of %zd files", count);
    else
        return 0;
    end_look(look);
    return -1;
}

static PyObject *py_look(PyObject *module, PyObject *args) {
    PyObject *sources_object, *look_object, *result = NULL;
    struct buffers sources;
    struct look look;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!:look", &sources_object, &PyTuple_Type, &look_object) ||
        get_all(sources_object, PyBUF_SIMPLE, &sources))
        return NULL;
    if (!get_look(look_object, sources.count, &look)) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < sources.count; i++)
            look_at(&look, i, bytes_of(&sources.views[i]));
        Py_END_ALLOW_THREADS
        end_look(&look);
        result = Py_NewRef(Py_None);
    }
    release_all(&sources);
    return result;
}

static PyObject *py_headers(PyObject *module, PyObject *args) {
    PyObject *sources_object, *out_object, *result = NULL;
    struct buffers sources;
    Py_buffer out;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:headers", &sources_object, &out_object) ||
        get_all(sources_object, PyBUF_SIMPLE, &sources))
        return NULL;
    if (!get_array(out_object, "out", 16 * sources.count, PyBUF_WRITABLE, &out)) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < sources.count; i++)
            write_header(bytes_of(&sources.views[i]), (char *)out.buf + 16 * i);
        Py_END_ALLOW_THREADS
        PyBuffer_Release(&out);
        result = Py_NewRef(Py_None);
    }
    release_all(&sources);
    return result;
}

#define MAX_VIEWS 64 /* of one file that are decoded at once */

/* All arguments of `decode`. */
struct task {
    struct buffers sources, rows;
    Py_buffer jobs, status, spent; /* spent.obj is NULL where no one asks for it */
};

static struct job job_of(const struct task *task, Py_ssize_t i) {
    struct job job;
    memcpy(&job, (const char *)task->jobs.buf + (size_t)i * sizeof job, sizeof job);
    return job;
}

static int check_rows(const struct task *task) {
    for (Py_ssize_t i = 0; i < task->rows.count; i++) {
        struct job job = job_of(task, i);
        int64_t width = (int64_t)job.window[2] - job.window[0], height = (int64_t)job.window[3] - job.window[1];
        uint64_t size = 3 * (uint64_t)width * (uint64_t)height;
        if (width > 0 && height > 0 && width <= INT32_MAX && height <= INT32_MAX &&
            size == (uint64_t)task->rows.views[i].len)
            continue;
        PyErr_Format(PyExc_ValueError, "row %zd has %zd bytes, its window is %lld x %lld pixels", i,
                     task->rows.views[i].len, (long long)width, (long long)height);
        return -1;
    }
    return 0;
}

/* False where there is no memory to begin with. */
static int run(struct task *task) {
    struct worker *worker = malloc(sizeof *worker);
    if (!worker || !start_worker(worker)) {
        free(worker);
        return 0;
    }
    for (Py_ssize_t i = 0, count; i < task->sources.count; i += count) {
        struct bytes data = bytes_of(&task->sources.views[i]);
        struct job jobs[MAX_VIEWS];
        uint8_t *rows[MAX_VIEWS];
        int32_t statuses[MAX_VIEWS];
        for (count = 0; count < MAX_VIEWS && i + count < task->sources.count; count++) {
            struct bytes next = bytes_of(&task->sources.views[i + count]);
            if (next.at != data.at || next.size != data.size)
                break;
            jobs[count] = job_of(task, i + count);
            rows[count] = task->rows.views[i + count].buf;
        }
        int64_t start = nanoseconds(), resized = worker->resize_ns;
        decode_views(worker, data, jobs, rows, statuses, (int)count);
        worker->decode_ns += nanoseconds() - start - (worker->resize_ns - resized);
        memcpy((char *)task->status.buf + 4 * i, statuses, 4 * (size_t)count);
    }
    if (task->spent.obj) {
        int64_t spent[2];
        memcpy(spent, task->spent.buf, sizeof spent);
        spent[0] += worker->decode_ns;
        spent[1] += worker->resize_ns;
        memcpy(task->spent.buf, spent, sizeof spent);
    }
    end_worker(worker);
    free(worker);
    return 1;
}

static int get_task(struct task *task, PyObject *const objects[5]) {
    memset(task, 0, sizeof *task);
    if (get_all(objects[0], PyBUF_SIMPLE, &task->sources))
        return -1;
    Py_ssize_t count = task->sources.count;
    if (get_array(objects[1], "jobs", count * (Py_ssize_t)sizeof(struct job), PyBUF_SIMPLE, &task->jobs) ||
        get_all(objects[2], PyBUF_WRITABLE, &task->rows) ||
        get_array(objects[3], "status", 4 * count, PyBUF_WRITABLE, &task->status) ||
        (objects[4] != Py_None && get_array(objects[4], "nanoseconds", 16, PyBUF_WRITABLE, &task->spent)))
        return -1;
    if (task->rows.count != count) {
        PyErr_Format(PyExc_ValueError, "%zd sources, %zd rows", count, task->rows.count);
        return -1;
    }
    return check_rows(task);
}

static PyObject *py_decode(PyObject *module, PyObject *args) {
    PyObject *objects[5] = {NULL, NULL, NULL, NULL, Py_None};
    struct task task;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO|O:decode", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4]))
        return NULL;
    if (!get_task(&task, objects)) {
        Py_BEGIN_ALLOW_THREADS
        done = run(&task);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    }
    Py_buffer *views[] = {&task.jobs, &task.status, &task.spent};
    for (int i = 0; i < 3; i++)
        PyBuffer_Release(views[i]); /* those that were never got have no object, and nothing happens */
    release_all(&task.sources);
    release_all(&task.rows);
    return done ? Py_NewRef(Py_None) : NULL;
}

/* Why a file can't be made crop-ready before libjpeg is asked; NULL where it is. */
static const char *refuse_transcoding(struct bytes data, int interval) {
    struct header header;
    if (!read_header(data, &header))
        return "no JPEG header that can be read";
    if (header.precision != 8 || header.frame > 0xC2 || header.components == 4)
        return "only 8-bit Huffman-coded grey and colour can be made crop-ready";
    if (has_many_scans(data, &header))
        return "too many scans: a decompression bomb";
    if ((int64_t)header.width * header.height > MAX_PIXELS)
        return "too many pixels";
    return interval < 0 || interval > 65535 ? "a restart interval has 16 bits" : NULL;
}

static PyObject *py_make_crop_ready(PyObject *module, PyObject *args) {
    Py_buffer data;
    int interval;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*i:make_crop_ready", &data, &interval))
        return NULL;
    struct transcoder *t = PyMem_Calloc(1, sizeof *t);
    if (!t) {
        PyBuffer_Release(&data);
        return PyErr_NoMemory();
    }
    const char *refusal = refuse_transcoding(bytes_of(&data), interval);
    if (!refusal) {
        int done;
        Py_BEGIN_ALLOW_THREADS
        done = transcode_or_refuse(t, bytes_of(&data), interval);
        Py_END_ALLOW_THREADS
        refusal = done ? NULL : t->message;
    }
    if (refusal)
        PyErr_Format(t->escape.status == NO_MEMORY ? PyExc_MemoryError : PyExc_ValueError, "%s", refusal);
    else
        result = PyBytes_FromStringAndSize((const char *)t->made, (Py_ssize_t)t->size);
    free(t->made);
    PyMem_Free(t);
    PyBuffer_Release(&data);
    return result;
}

static PyObject *py_is_undamaged(PyObject *module, PyObject *args) {
    Py_buffer data;
    struct header header;
    int undamaged;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*:is_undamaged", &data))
        return NULL;
    struct transcoder *t = PyMem_Calloc(1, sizeof *t);
    if (!t) {
        PyBuffer_Release(&data);
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    undamaged = kind_of(bytes_of(&data), &header) == DECODABLE &&
                (int64_t)header.width * header.height <= MAX_PIXELS && is_undamaged(t, bytes_of(&data));
    Py_END_ALLOW_THREADS
    PyMem_Free(t);
    PyBuffer_Release(&data);
    return PyBool_FromLong(undamaged);
}

enum { FD, OFFSET, SIZE, READ, RANGE }; /* the columns of a range, and their number */

/* Looks at what lies behind the first `skip` bytes of each, without the last ones: as many as READ says beforehand.
   `members` may be NULL. */
static void read_all(int64_t *ranges, Py_ssize_t count, uint8_t *out, int64_t skip, struct look *look,
                     struct member *members) {
    for (Py_ssize_t i = 0; i < count; i++, out += ranges[SIZE], ranges += RANGE) {
        int64_t end = ranges[SIZE] - most(0, ranges[READ]);
        ranges[READ] = read_range((int)ranges[FD], out, ranges[SIZE], ranges[OFFSET]);
        if (members)
            check_member(members + i, (struct bytes){out, (size_t)most(0, ranges[READ])});
        if (look->count)
            look_at(look, i, (struct bytes){out + skip, (size_t)most(0, least(ranges[READ], end) - skip)});
    }
}

static int check_ranges(const int64_t *ranges, Py_ssize_t count, Py_ssize_t room) {
    int64_t left = room;
    for (const int64_t *range = ranges; range < ranges + RANGE * count; left -= range[SIZE], range += RANGE)
        if (range[SIZE] < 0 || range[SIZE] > left) {
            PyErr_Format(PyExc_ValueError, "a range of %lld bytes, out has %lld bytes left", (long long)range[SIZE],
                         (long long)left);
            return -1;
        }
    return 0;
}

/* Leaves `view` as it is for None. */
static int get_members(PyObject *object, Py_ssize_t count, Py_buffer *view) {
    if (object == Py_None)
        return 0;
    if (get_array(object, "members", (Py_ssize_t)sizeof(struct member) * count, PyBUF_WRITABLE, view))
        return -1;
    if (!((uintptr_t)view->buf % 8))
        return 0;
    PyErr_SetString(PyExc_ValueError, "members must be aligned");
    PyBuffer_Release(view);
    return -1;
}

static PyObject *py_read(PyObject *module, PyObject *args) {
    Py_buffer ranges, out, members = {0};
    PyObject *look_object = Py_None, *members_object = Py_None;
    struct look look;
    long long skip = 0;
    int ready = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "w*w*|LOO:read", &ranges, &out, &skip, &look_object, &members_object))
        return NULL;
    Py_ssize_t count = ranges.len / (8 * RANGE);
    if (ranges.len % (8 * RANGE) || (uintptr_t)ranges.buf % 8)
        PyErr_SetString(PyExc_ValueError, "ranges must be int64 of shape (n, 4)");
    else if (skip < 0)
        PyErr_SetString(PyExc_ValueError, "skip must be at least 0");
    else if (!check_ranges(ranges.buf, count, out.len) && !get_members(members_object, count, &members)) {
        if (!get_look(look_object, count, &look)) {
            ready = 1;
            Py_BEGIN_ALLOW_THREADS
            read_all(ranges.buf, count, out.buf, skip, &look, members.buf);
            Py_END_ALLOW_THREADS
            end_look(&look);
        }
        if (members.buf)
            PyBuffer_Release(&members);
    }
    PyBuffer_Release(&ranges);
    PyBuffer_Release(&out);
    return ready ? Py_NewRef(Py_None) : NULL;
}

static void read_files(const struct buffers *paths, Py_buffer *out, int64_t limit, char *sizes, struct look *look) {
    uint8_t *into = out->buf;
    int64_t room = out->len;
    for (Py_ssize_t i = 0; i < paths->count; i++, sizes += 8) {
        int64_t size = read_file(paths->views[i].buf, into, room, limit);
        memcpy(sizes, &size, sizeof size);
        if (look->count)
            look_at(look, i, (struct bytes){into, (size_t)most(0, size)});
        if (size > 0)
            into += size, room -= size;
    }
}

/* Bytes objects end with a zero byte behind their last; one before that would end the path. */
static int check_paths(const struct buffers *paths) {
    for (Py_ssize_t i = 0; i < paths->count; i++) {
        if (!PyBytes_Check(paths->views[i].obj)) {
            PyErr_SetString(PyExc_TypeError, "a path must be bytes");
            return -1;
        }
        if (memchr(paths->views[i].buf, 0, (size_t)paths->views[i].len)) {
            PyErr_SetString(PyExc_ValueError, "a path has a null byte");
            return -1;
        }
    }
    return 0;
}

static PyObject *py_read_files(PyObject *module, PyObject *args) {
    PyObject *sequence, *sizes_object, *look_object = Py_None, *result = NULL;
    struct buffers paths;
    struct look look;
    Py_buffer out, sizes;
    long long limit;
    (void)module;
    if (!PyArg_ParseTuple(args, "Ow*OL|O:read_files", &sequence, &out, &sizes_object, &limit, &look_object))
        return NULL;
    if (!get_all(sequence, PyBUF_SIMPLE, &paths)) {
        if (!check_paths(&paths) &&
            !get_array(sizes_object, "sizes", 8 * paths.count, PyBUF_WRITABLE, &sizes)) {
            if (!get_look(look_object, paths.count, &look)) {
                Py_BEGIN_ALLOW_THREADS
                read_files(&paths, &out, limit, sizes.buf, &look);
                Py_END_ALLOW_THREADS
                end_look(&look);
                result = Py_NewRef(Py_None);
            }
            PyBuffer_Release(&sizes);
        }
        release_all(&paths);
    }
    PyBuffer_Release(&out);
    return result;
}

#define TEXT(number) #number
#define VERSION_TEXT(number) TEXT(number)

static int start_module(PyObject *module) {
    fill_crc_table();
    choose_simd();
    return PyModule_AddStringConstant(module, "simd", simd.name) ||
                   PyModule_AddStringConstant(module, "libjpeg", VERSION_TEXT(LIBJPEG_TURBO_VERSION)) ||
                   PyModule_AddIntConstant(module, "NOT_REGULAR", NOT_REGULAR) ||
                   PyModule_AddIntConstant(module, "LARGER_THAN_LIMIT", LARGER_THAN_LIMIT) ||
                   PyModule_AddIntConstant(module, "NO_ROOM", NO_ROOM)
               ? -1
               : 0;
}

static PyMethodDef methods[] = {
    {"headers", py_headers, METH_VARARGS, "headers(sources, out)"},
    {"look", py_look, METH_VARARGS, "look(sources, look)"},
    {"decode", py_decode, METH_VARARGS, "decode(sources, jobs, rows, status, nanoseconds=None)"},
    {"make_crop_ready", py_make_crop_ready, METH_VARARGS, "make_crop_ready(data, interval)"},
    {"recolour", py_recolour, METH_VARARGS, "recolour(pixels, changes)"},
    {"is_undamaged", py_is_undamaged, METH_VARARGS, "is_undamaged(data)"},
    {"read", py_read, METH_VARARGS, "read(ranges, out, skip=0, look=None, members=None)"},
    {"read_files", py_read_files, METH_VARARGS, "read_files(paths, out, sizes, limit, look=None)"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, start_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastdata.images._kernel",
    .m_doc = "The compiled kernel; fastdata.images.kernel says what its functions do.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module_definition); }
