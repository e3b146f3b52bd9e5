/* How libjpeg-turbo is asked for pixels: with the settings of simplejpeg, by which the reference decodes, so that
 * pixels are the same. Where only some columns are decoded, these are, too.
 */

#include "picture.h"

#include <string.h>

#include "../arithmetic.h"

int is_incomplete(const struct jpeg_decompress_struct *jpeg) {
    if (!jpeg->progressive_mode || !jpeg->coef_bits)
        return 0;
    for (int component = 0; component < jpeg->num_components; component++)
        for (int k = 0; k < 10; k++)
            if (jpeg->coef_bits[component][k] != 0)
                return 1;
    return 0;
}

/* A JPEG without tables of its own would be decoded by those of the last one, which libjpeg keeps. Their memory stays
   in libjpeg's permanent pool, some kilobytes a picture, until the worker ends. */
static void forget_tables(struct jpeg_decompress_struct *jpeg) {
    memset(jpeg->quant_tbl_ptrs, 0, sizeof jpeg->quant_tbl_ptrs);
    memset(jpeg->dc_huff_tbl_ptrs, 0, sizeof jpeg->dc_huff_tbl_ptrs);
    memset(jpeg->ac_huff_tbl_ptrs, 0, sizeof jpeg->ac_huff_tbl_ptrs);
}

enum status start_picture(struct jpeg_decompress_struct *jpeg, const struct part *part, int scale) {
    forget_tables(jpeg);
    jpeg_mem_src(jpeg, part->data.at, (unsigned long)part->data.size);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->image_width != part->width || jpeg->image_height != part->height)
        return FAILED;
    jpeg->out_color_space = JCS_RGB;
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)scale;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(jpeg);
    if (jpeg->output_width != divide_up(part->width, scale) || jpeg->output_height != divide_up(part->height, scale) ||
        jpeg->output_components != 3)
        return FAILED;
    return is_incomplete(jpeg) ? INCOMPLETE : DONE;
}

int64_t crop_columns(struct jpeg_decompress_struct *jpeg, int64_t first, int64_t last) {
    const int64_t margin = 8, least_width = 64;
    int64_t width = jpeg->output_width;
    int64_t left = most(0, least(first - margin, width - least_width));
    int64_t right = least(width, most(last + margin, left + least_width));
    JDIMENSION offset = (JDIMENSION)left, columns = (JDIMENSION)(right - left);
    if (columns < jpeg->output_width)
        jpeg_crop_scanline(jpeg, &offset, &columns);
    else
        offset = 0;
    return offset;
}

void read_to_end(struct jpeg_decompress_struct *jpeg, JSAMPROW row) {
    if (jpeg_has_multiple_scans(jpeg)) /* all of it has been read before the first row came out */
        return;
    JDIMENSION left = jpeg->output_height - jpeg->output_scanline;
    if (left > 1) /* libjpeg-turbo does not decode what it skips up to the very end: the last row is read */
        jpeg_skip_scanlines(jpeg, left - 1);
    while (jpeg->output_scanline < jpeg->output_height)
        jpeg_read_scanlines(jpeg, &row, 1);
    jpeg_finish_decompress(jpeg);
}
