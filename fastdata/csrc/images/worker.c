/* A decompressor of libjpeg and memory, both used for all samples of a call. */

#include "worker.h"

#include <string.h>

#include "../bounds.h"

int start_worker(struct worker *worker) {
    memset(worker, 0, sizeof *worker);
    worker->jpeg.err = refuse_damage(&worker->escape);
    if (setjmp(worker->escape.to)) {
        jpeg_destroy_decompress(&worker->jpeg);
        return 0;
    }
    jpeg_create_decompress(&worker->jpeg);
    worker->jpeg.mem->max_memory_to_use = MAX_LIBJPEG;
    return 1;
}

void end_worker(struct worker *worker) {
    jpeg_destroy_decompress(&worker->jpeg);
    free_scratch(&worker->scratch);
}

/* What is read is in a function of its own, since longjmp leaves the one that calls setjmp with local variables as they
   may be. */
enum status attempt(struct worker *worker, reading *read, void *what) {
    if (setjmp(worker->escape.to)) {
        jpeg_abort_decompress(&worker->jpeg);
        return worker->escape.status;
    }
    enum status status = read(worker, what);
    jpeg_abort_decompress(&worker->jpeg);
    return status;
}
