/* Whether a scan is undamaged. */

#pragma once

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

/* Whether the scan before which `jpeg_read_header` has stopped is the only one, and libjpeg would find nothing wrong
   with it and what follows; false where that isn't certain. The source is one in memory; nothing is read from it. */
int is_scan_intact(j_decompress_ptr jpeg);
