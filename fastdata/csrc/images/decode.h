/* A view of a picture, decoded into its row of the batch. */

#pragma once

#include "../transforms/view.h"
#include "jpeg.h"
#include "worker.h"

/* For which `check_job` says DONE. What `row` holds is undefined where that is not returned. */
enum status decode_view(struct worker *worker, struct bytes data, const struct header *header, const struct job *job,
                        uint8_t *row);
