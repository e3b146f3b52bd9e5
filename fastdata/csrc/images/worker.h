/* What one call of `decode` works with, sample after sample. */

#pragma once

#include <stdint.h>

#include "libjpeg.h"
#include "scratch.h"

struct worker {
    struct jpeg_decompress_struct jpeg;
    struct escape escape;
    struct scratch scratch;
    int64_t decode_ns, resize_ns;
};

/* False where libjpeg can't even start. */
int start_worker(struct worker *worker);
void end_worker(struct worker *worker);

/* Reads a picture, and may be left at any of libjpeg's calls. */
typedef enum status reading(struct worker *worker, void *what);

/* What `read` returns, or why libjpeg has left it; in both cases it is ready for the next picture. */
enum status attempt(struct worker *worker, reading *read, void *what);
