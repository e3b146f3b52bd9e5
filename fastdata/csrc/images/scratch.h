/* Memory that grows and is used again for the next sample. */

#pragma once

#include <stddef.h>

struct block {
    void *mem;
    size_t size;
};

struct scratch {
    struct block cut, edges, table, strip, picture, middle, tile, starts[2], weights[2];
};

/* At least so many bytes; where the block grows, what it held is lost. NULL beyond MAX_SCRATCH, or without memory. */
void *reserve(struct block *block, size_t size);

void free_scratch(struct scratch *scratch);
