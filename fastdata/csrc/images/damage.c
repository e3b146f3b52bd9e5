/* Whether a JPEG is undamaged: by a walk over its scan, and by libjpeg where that does not say yes. */

#include "damage.h"

#include <stdlib.h>

#include "../bounds.h"
#include "entropy.h"
#include "kind.h"
#include "libjpeg.h"
#include "picture.h"

/* Of another function than the one that calls setjmp, whose own local variables longjmp leaves as they may be. */
struct reader {
    struct jpeg_decompress_struct jpeg;
    struct escape escape;
};

/* Entropy decoding, up to the very end. */
static int reads_whole(struct reader *reader, struct bytes data) {
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    volatile int complete = 0;
    jpeg->err = refuse_damage(&reader->escape);
    reader->escape.status = DONE;
    if (!setjmp(reader->escape.to)) {
        jpeg_create_decompress(jpeg);
        jpeg->mem->max_memory_to_use = MAX_LIBJPEG;
        jpeg_mem_src(jpeg, data.at, (unsigned long)data.size);
        jpeg_read_header(jpeg, TRUE);
        complete = is_scan_intact(jpeg);
        if (!complete) { /* it is not known yet */
            jpeg_read_coefficients(jpeg);
            complete = !is_incomplete(jpeg);
            jpeg_finish_decompress(jpeg);
        }
    }
    jpeg_destroy_decompress(jpeg);
    return complete && reader->escape.status == DONE;
}

int is_undamaged(struct bytes data) {
    struct header header;
    if (kind_of(data, &header) != DECODABLE || pixels_of(&header) > MAX_PIXELS)
        return 0;
    struct reader *reader = calloc(1, sizeof *reader); /* on the stack it was 2 % slower */
    if (!reader)
        return -1;
    int undamaged = reads_whole(reader, data);
    free(reader);
    return undamaged;
}
