/* The same coefficients, written anew with restart markers. */

#pragma once

#include "../bytes.h"
#include "libjpeg.h"

struct transcoder {
    struct jpeg_decompress_struct from;
    struct jpeg_compress_struct to;
    struct escape escape;
    char message[JMSG_LENGTH_MAX];
    struct jpeg_destination_mgr destination;
    uint8_t *made;
    size_t size, room;
};

/* Makes `t`, which is zero before, the file with a restart marker every `interval` MCUs: `made`, to be freed, of `size`
   bytes. Returns why it can't be; NULL where it is done. */
const char *make_crop_ready(struct transcoder *t, struct bytes data, int interval);
