/* Where the restart segments of a scan lie. */

#pragma once

#include "jpeg.h"
#include "scratch.h"

/* How restart segments divide a picture; sizes in pixels. */
struct grid {
    int64_t segment_width, segment_height, columns, rows;
};

/* False where they do not divide it into columns and rows. */
int find_grid(struct bytes data, const struct header *header, struct grid *grid);

/* The second byte of the marker that ends a segment: EOI behind the last, RST0 to RST7 in turn behind others. */
static inline int marker_after(size_t segment, size_t count) {
    return segment + 1 == count ? 0xD9 : 0xD0 + (int)(segment % 8);
}

/* The `count` + 1 offsets at which segments begin and, last, the scan ends, by the file's table, or else by looking for
   markers. False where they can't be found. A scan that is not `checked` must have the CRC of its table. */
int find_edges(struct bytes data, const struct header *header, size_t count, struct block *scratch, int checked,
               size_t *edges);
