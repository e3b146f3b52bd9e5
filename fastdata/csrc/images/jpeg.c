/* A walk over a JPEG's segments (ITU-T T.81, annex B), and the orientation that EXIF (TIFF 6.0's tags) has in one of
 * them: the same rules as jpeg.py.
 */

#include "jpeg.h"

int is_jpeg(struct bytes data) { return stands_at(data, 0, "\xff\xd8\xff", 3); }

int is_frame(int marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

int read_segment(struct bytes data, size_t at, struct segment *segment) {
    if (at >= data.size || data.at[at] != 0xFF)
        return 0;
    while (at + 1 < data.size && data.at[at + 1] == 0xFF) /* fill bytes */
        at++;
    if (data.size - at < 4)
        return 0;
    int marker = data.at[at + 1];
    if (marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD9)) /* no length, and no place before the scan */
        return 0;
    size_t length = big16(data.at + at + 2);
    if (length < 2 || length > data.size - at - 2)
        return 0;
    *segment = (struct segment){marker, at, at + 2 + length};
    return 1;
}

static int read_frame(struct bytes data, struct segment segment, struct header *header) {
    size_t size = segment.stop - segment.start;
    const uint8_t *p = data.at + segment.start;
    if (size < 10)
        return 0;
    header->frame = segment.marker;
    header->precision = p[4];
    header->height = (int)big16(p + 5);
    header->width = (int)big16(p + 7);
    header->components = p[9];
    if ((p[9] != 1 && p[9] != 3 && p[9] != 4) || size != 10 + 3 * (size_t)p[9])
        return 0;
    for (int i = 0; i < p[9]; i++) {
        int h = p[11 + 3 * i] >> 4, v = p[11 + 3 * i] & 15;
        if (h < 1 || h > 4 || v < 1 || v > 4)
            return 0;
        header->sampling[i][0] = h;
        header->sampling[i][1] = v;
    }
    return header->width && header->height;
}

static uint32_t tiff_number(const uint8_t *p, int bytes, int big) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | p[big ? i : bytes - 1 - i];
    return value;
}

/* Tag 0x0112 of IFD0, where it is one SHORT within 1..8; 1 for everything else. */
static int exif_orientation(struct bytes tiff) {
    int big = stands_at(tiff, 0, "MM\0*", 4);
    if ((!big && !stands_at(tiff, 0, "II*\0", 4)) || tiff.size < 8)
        return 1;
    size_t start = tiff_number(tiff.at + 4, 4, big);
    if (start > tiff.size || tiff.size - start < 2)
        return 1;
    size_t count = tiff_number(tiff.at + start, 2, big);
    size_t whole = (tiff.size - start - 2) / 12;
    const uint8_t *entry = tiff.at + start + 2;
    for (size_t i = 0; i < (count < whole ? count : whole); i++, entry += 12) {
        if (tiff_number(entry, 2, big) != 0x0112)
            continue;
        uint32_t value = tiff_number(entry + 8, 2, big);
        int one_short = tiff_number(entry + 2, 2, big) == 3 && tiff_number(entry + 4, 4, big) == 1;
        return one_short && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

int read_header(struct bytes data, struct header *header) {
    struct segment segment = {0, 0, 2};
    memset(header, 0, sizeof *header);
    if (!is_jpeg(data))
        return 0;
    while (segment.marker != SOS) {
        if (!read_segment(data, segment.stop, &segment))
            return 0;
        size_t start = segment.start, size = segment.stop - start;
        if (is_frame(segment.marker)) {
            if (header->frame || !read_frame(data, segment, header))
                return 0;
        } else if (segment.marker == DRI) {
            if (size != 6)
                return 0;
            header->restart_interval = (int)big16(data.at + start + 4);
        } else if (segment.marker == APP1 && !header->orientation && stands_at(data, start + 4, "Exif\0\0", 6)) {
            size_t tiff = size > 10 ? size - 10 : 0;
            header->orientation = exif_orientation((struct bytes){data.at + (tiff ? start + 10 : 0), tiff});
        }
    }
    if (!header->orientation)
        header->orientation = 1;
    header->sos = segment;
    return header->frame != 0;
}
