/* A picture that libjpeg reads: from its header to its first row, and from its last one to its end. */

#pragma once

#include "cut.h"
#include "libjpeg.h"

#define STRIP_ROWS 16 /* decoded at a time: what one row of 4:2:0 blocks gives */

/* Whether libjpeg would smooth the blocks of a progressive picture whose scans are not complete. How is a matter of its
   version, and not the same beside a cropped edge. */
int is_incomplete(const struct jpeg_decompress_struct *jpeg);

/* Up to the first row, as RGB at 1/`scale`: DONE where pixels can be read. */
enum status start_picture(struct jpeg_decompress_struct *jpeg, const struct part *part, int scale);

/* The columns to decode: those needed and some beyond, since smooth upsampling looks at the next chroma sample,
   and not too few, since it is another in narrow pictures. Returns where they begin. */
int64_t crop_columns(struct jpeg_decompress_struct *jpeg, int64_t first, int64_t last);

/* To the end of the image, so that damage there is noticed, at the price of entropy decoding only. */
void read_to_end(struct jpeg_decompress_struct *jpeg, JSAMPROW row);
