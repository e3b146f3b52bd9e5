/* A JPEG's coefficients, written anew with restart markers, optimized Huffman tables and all APPn and COM segments:
 * what `jpegtran -copy all -optimize -restart NB` makes (its transupp.c says what becomes of the segments).
 */

#include "crop_ready.h"

#include <jerror.h>
#include <stdlib.h>

#include "../bounds.h"
#include "jpeg.h"
#include "kind.h"

/* A destination of our own: jpeg_mem_dest loses its memory where writing ends with an error. */
static void grow_output(j_compress_ptr jpeg) {
    struct transcoder *t = jpeg->client_data;
    size_t room = t->room ? 2 * t->room : (size_t)1 << 16;
    uint8_t *larger = realloc(t->made, room);
    if (!larger)
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    t->made = larger;
    t->destination.next_output_byte = larger + t->room;
    t->destination.free_in_buffer = room - t->room;
    t->room = room;
}

static boolean on_full_output(j_compress_ptr jpeg) {
    grow_output(jpeg); /* all of the old memory is full, whatever free_in_buffer says now */
    return TRUE;
}

static void end_output(j_compress_ptr jpeg) {
    struct transcoder *t = jpeg->client_data;
    t->size = t->room - t->destination.free_in_buffer;
}

static void keep_message(j_common_ptr jpeg) {
    struct transcoder *t = jpeg->client_data;
    (*jpeg->err->format_message)(jpeg, t->message);
}

static void on_transcoding_error(j_common_ptr jpeg) {
    keep_message(jpeg);
    on_error(jpeg);
}

static void on_transcoding_message(j_common_ptr jpeg, int level) {
    if (level < 0)
        keep_message(jpeg);
    on_message(jpeg, level);
}

/* All APPn and COM segments, but for those that libjpeg writes itself; as jpegtran does. */
static void copy_markers(struct transcoder *t) {
    for (jpeg_saved_marker_ptr marker = t->from.marker_list; marker; marker = marker->next) {
        struct bytes content = {marker->data, marker->data_length};
        if (t->to.write_JFIF_header && marker->marker == APP0 && stands_at(content, 0, "JFIF", 5))
            continue;
        if (t->to.write_Adobe_marker && marker->marker == APP14 && stands_at(content, 0, "Adobe", 5))
            continue;
        jpeg_write_marker(&t->to, marker->marker, marker->data, marker->data_length);
    }
}

static void transcode(struct transcoder *t, struct bytes data, int interval) {
    t->from.client_data = t->to.client_data = t; /* which jpeg_create keeps */
    jpeg_create_decompress(&t->from);
    jpeg_create_compress(&t->to);
    t->from.mem->max_memory_to_use = t->to.mem->max_memory_to_use = MAX_LIBJPEG;
    jpeg_save_markers(&t->from, COM, 0xFFFF);
    for (int i = 0; i < 16; i++)
        jpeg_save_markers(&t->from, APP0 + i, 0xFFFF);
    jpeg_mem_src(&t->from, data.at, (unsigned long)data.size);
    jpeg_read_header(&t->from, TRUE);
    jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&t->from);
    jpeg_copy_critical_parameters(&t->from, &t->to);
    jpeg_saved_marker_ptr first = t->from.marker_list;
    if (first && first->marker == APP1 && first->data_length >= 6 && !memcmp(first->data, "Exif\0\0", 6))
        t->to.write_JFIF_header = FALSE; /* as jpegtran: EXIF wants to be the first segment */
    t->to.optimize_coding = TRUE;
    t->to.restart_interval = (unsigned)interval;
    t->to.restart_in_rows = 0;
    t->destination = (struct jpeg_destination_mgr){NULL, 0, grow_output, on_full_output, end_output};
    t->to.dest = &t->destination;
    jpeg_write_coefficients(&t->to, coefficients);
    copy_markers(t);
    jpeg_finish_compress(&t->to);
    jpeg_finish_decompress(&t->from);
}

static int transcode_or_refuse(struct transcoder *t, struct bytes data, int interval) {
    t->from.err = t->to.err = refuse_damage(&t->escape);
    t->escape.manager.error_exit = on_transcoding_error;
    t->escape.manager.emit_message = on_transcoding_message;
    t->escape.status = DONE;
    if (!setjmp(t->escape.to))
        transcode(t, data, interval);
    jpeg_destroy_compress(&t->to);
    jpeg_destroy_decompress(&t->from);
    return t->escape.status == DONE;
}

/* Why a file can't be made crop-ready before libjpeg is asked; NULL where it is. */
static const char *refuse_transcoding(struct bytes data, int interval) {
    struct header header;
    if (!read_header(data, &header))
        return "no JPEG header that can be read";
    if (header.precision != 8 || header.frame > 0xC2 || header.components == 4)
        return "only 8-bit Huffman-coded grey and colour can be made crop-ready";
    if (has_many_scans(data, &header))
        return "too many scans: a decompression bomb";
    if (pixels_of(&header) > MAX_PIXELS)
        return "too many pixels";
    return interval < 0 || interval > 65535 ? "a restart interval has 16 bits" : NULL;
}

const char *make_crop_ready(struct transcoder *t, struct bytes data, int interval) {
    const char *refusal = refuse_transcoding(data, interval);
    return refusal ? refusal : transcode_or_refuse(t, data, interval) ? NULL : t->message;
}
