/* Where a JPEG's restart segments (ITU-T T.81, B.2.4.4) lie: by a table in the file, or by searching it for markers.
 * The same rules as restart.py, which says how the table is laid out.
 */

#include "restart.h"

#include <string.h>

#include "../arithmetic.h"
#include "crc32.h"

#define TABLE_NAME "fastdata\0\1"
#define TABLE_HEAD 14 /* marker, length, name */

int find_grid(struct bytes data, const struct header *header, struct grid *grid) {
    size_t start = header->sos.start, size = header->sos.stop - start;
    int64_t interval = header->restart_interval, mcu_width = 8, mcu_height = 8;
    if (!interval || header->frame > 0xC1 || size != 8 + 2 * (size_t)header->components ||
        data.at[start + 4] != header->components)
        return 0;
    if (header->components > 1) { /* a scan of one is not interleaved: its MCU is one block */
        mcu_width *= header->sampling[0][0];
        mcu_height *= header->sampling[0][1];
    }
    int64_t row = divide_up(header->width, mcu_width), rows = divide_up(header->height, mcu_height);
    if (row % interval == 0) {
        *grid = (struct grid){interval * mcu_width, mcu_height, row / interval, rows};
        return 1;
    }
    if (interval % row == 0) {
        int64_t mcu_rows = interval / row;
        *grid = (struct grid){row * mcu_width, mcu_rows * mcu_height, 1, divide_up(rows, mcu_rows)};
        return 1;
    }
    return 0;
}

/* The contents of the table's segments joined, as restart.py lays them out; 0 bytes where there is no table. */
static size_t join_table(struct bytes data, size_t entry_count, uint8_t *into, size_t room, int *entry_size) {
    struct segment segment = {0, 0, 2};
    size_t used = 0;
    *entry_size = 0;
    while (segment.marker != SOS && read_segment(data, segment.stop, &segment)) {
        size_t start = segment.start + TABLE_HEAD;
        if (segment.marker != APP9 || segment.stop <= start ||
            !stands_at(data, segment.start + 4, TABLE_NAME, sizeof TABLE_NAME - 1))
            continue;
        if (!*entry_size)
            *entry_size = data.at[start];
        size_t size = segment.stop - start - 1;
        if (!*entry_size || size > room - used)
            return 0;
        memcpy(into + used, data.at + start + 1, size);
        used += size;
    }
    if (*entry_size != 2 && *entry_size != 4)
        return 0;
    return used == 4 + (size_t)*entry_size * entry_count ? used : 0;
}

/* Edges by the table: 1, 0 where none fits, -1 where the data are not what it was made for. */
static int edges_by_table(struct bytes data, const struct header *header, size_t count, struct block *scratch,
                          int checked, size_t *edges) {
    int entry_size;
    size_t room = 4 + 4 * count;
    uint8_t *table = reserve(scratch, room);
    if (!table || !join_table(data, count, table, room, &entry_size))
        return 0;
    edges[0] = header->sos.stop;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = table + 4 + (size_t)entry_size * i;
        size_t length = entry_size == 2 ? (size_t)(entry[0] | entry[1] << 8) : little32(entry);
        if (data.size - edges[i] < 2 || length > data.size - edges[i] - 2)
            return 0;
        size_t end = edges[i] + length;
        if (data.at[end] != 0xFF || data.at[end + 1] != marker_after(i, count))
            return 0;
        edges[i + 1] = end + 2;
    }
    if (!checked && crc32_of(data.at + edges[0], edges[count] - edges[0]) != little32(table))
        return -1;
    return 1;
}

/* Edges by looking for the markers: 0 unless they are the expected ones and no others. */
static int edges_by_search(struct bytes data, const struct header *header, size_t count, size_t *edges) {
    const uint8_t *at = data.at + header->sos.stop, *end = data.at + data.size;
    edges[0] = header->sos.stop;
    for (size_t i = 0; i < count; i++) {
        do {
            if (at >= end || !(at = memchr(at, 0xFF, (size_t)(end - at))) || ++at >= end)
                return 0;
        } while (*at == 0x00 || *at == 0xFF); /* a stuffed byte, fill before a marker */
        if (*at++ != marker_after(i, count))
            return 0;
        edges[i + 1] = (size_t)(at - data.at);
    }
    return 1;
}

int find_edges(struct bytes data, const struct header *header, size_t count, struct block *scratch, int checked,
               size_t *edges) {
    int found = edges_by_table(data, header, count, scratch, checked, edges);
    return found > 0 || (!found && edges_by_search(data, header, count, edges));
}
