/* The restart segments around a box, joined to a smaller JPEG with the same pixels: the same rules as cut.py. */

#include "cut.h"

#include <string.h>

#include "../arithmetic.h"
#include "restart.h"

#define LEAST_PIXELS_SAVED 16384 /* as in cut.py: both must cut in the same cases, to notice the same damage */
#define LEAST_WIDTH 32

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
    int64_t pixels = pixels_of(header), saved = pixels - width * height;
    size_t count = (size_t)(grid.columns * grid.rows);
    if (saved < LEAST_PIXELS_SAVED || (double)saved < 0.1 * (double)pixels || 2 * count > data.size)
        return;
    size_t *edges = reserve(&scratch->edges, (count + 1) * sizeof *edges);
    uint8_t *smaller = reserve(&scratch->cut, data.size);
    if (!edges || !smaller || !find_edges(data, header, count, &scratch->table, checked, edges))
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

struct part part_around(struct bytes data, const struct header *header, struct box box, int scale, int checked,
                        struct scratch *scratch) {
    struct part part = {data, header->width, header->height, box};
    if (header->restart_interval)
        cut(&part, header, scale, checked, scratch);
    return part;
}
