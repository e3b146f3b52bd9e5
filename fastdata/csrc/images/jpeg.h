/* What a JPEG says of itself before its first scan: its segments, and what they hold. */

#pragma once

#include "../bytes.h"

enum { SOS = 0xDA, DRI = 0xDD, APP0 = 0xE0, APP1 = 0xE1, APP9 = 0xE9, APP14 = 0xEE, APP15 = 0xEF, COM = 0xFE };

struct segment { /* data[start:stop], marker and all */
    int marker;
    size_t start, stop;
};

struct header {
    int width, height, orientation, components, precision, frame, restart_interval;
    int sampling[4][2];
    struct segment sos;
};

static inline int64_t pixels_of(const struct header *header) { return (int64_t)header->width * header->height; }

/* Whether these bytes begin as a JPEG's do. */
int is_jpeg(struct bytes data);

/* Whether this is a marker of a frame: SOF0 to SOF15, of which three codes are others'. */
int is_frame(int marker);

/* The segment at `at`, as jpeg.py walks; false for what is none. */
int read_segment(struct bytes data, size_t at, struct segment *segment);

/* All segments up to the first scan; false where jpeg.py refuses them. */
int read_header(struct bytes data, struct header *header);
