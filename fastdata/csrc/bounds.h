/* What an image may claim, and what may be allocated for one; limits.py has the first three. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#define MAX_PIXELS 178956970                  /* Pillow's own limit */
#define MAX_SCANS 500                         /* each works through the whole picture and takes a few bytes */
#define MAX_SCANNED_PIXELS ((int64_t)1 << 33) /* of all of them together: limits.py says why */
#define MAX_SCRATCH ((size_t)1 << 30)         /* bytes of any one of a sample's buffers */
#define MAX_LIBJPEG 2147483647L               /* bytes that libjpeg may allocate for one image */
