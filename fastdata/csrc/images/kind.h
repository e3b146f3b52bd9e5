/* Who can decode a file. */

#pragma once

#include "jpeg.h"

/* What `headers` says of a file; `look`, moreover, that it has no view of it. */
enum kind { DECODABLE, NOT_FOR_KERNEL, SCAN_BOMB, REFUSED, NOT_JPEG, UNDRAWN };

/* Whether there are more scans than limits.py's `scan_limit`. They are counted by their markers' bytes, which
   entropy-coded data never hold. */
int has_many_scans(struct bytes data, const struct header *header);

/* Reads the header, too: all of it is known where a file is DECODABLE or NOT_FOR_KERNEL. */
enum kind kind_of(struct bytes data, struct header *header);
