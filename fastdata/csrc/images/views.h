/* Several views of a picture. */

#pragma once

#include "../bytes.h"
#include "../transforms/view.h"
#include "worker.h"

/* All views of a file: of each whether it is in its row, or why not, as an `enum status`. */
void decode_views(struct worker *worker, struct bytes data, const struct job *jobs, uint8_t *const *rows,
                  int32_t *statuses, int count);
