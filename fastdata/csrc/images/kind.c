/* Which JPEGs the kernel decodes, and which are bombs: the same rules as header.py and limits.py. */

#include "kind.h"

#include "../arithmetic.h"
#include "../bounds.h"

int has_many_scans(struct bytes data, const struct header *header) {
    const uint8_t *at = data.at, *end = data.at + data.size;
    int64_t scans = 0, pixels = pixels_of(header);
    while (at < end && (at = memchr(at, 0xFF, (size_t)(end - at))) && ++at < end)
        scans += *at == SOS;
    return scans > MAX_SCANS || scans * pixels > most(pixels, MAX_SCANNED_PIXELS);
}

/* Grey, or colours with whole chroma, halved or quartered in one direction, or halved in both: what TurboJPEG, by
   which the reference decodes, knows under every version. */
static int is_decodable(const struct header *header) {
    const int (*sampling)[2] = header->sampling;
    if (header->precision != 8 || header->frame > 0xC2)
        return 0;
    if (header->components == 1)
        return 1;
    if (header->components != 3 || sampling[1][0] * sampling[1][1] * sampling[2][0] * sampling[2][1] != 1)
        return 0;
    int h = sampling[0][0], v = sampling[0][1];
    return (h <= 2 && v <= 2) || (h == 4 && v == 1);
}

enum kind kind_of(struct bytes data, struct header *header) {
    memset(header, 0, sizeof *header);
    if (!is_jpeg(data))
        return NOT_JPEG;
    if (!read_header(data, header))
        return REFUSED;
    if (has_many_scans(data, header))
        return SCAN_BOMB;
    return is_decodable(header) ? DECODABLE : NOT_FOR_KERNEL;
}
