/* Memory for what lies between a file and its rows: one block for each thing that a sample needs, kept for the next. */

#include "scratch.h"

#include <stdlib.h>

#include "../bounds.h"

void *reserve(struct block *block, size_t size) {
    if (size > MAX_SCRATCH)
        return NULL;
    if (size > block->size) {
        free(block->mem);
        block->mem = malloc(size);
        block->size = block->mem ? size : 0;
    }
    return block->mem;
}

void free_scratch(struct scratch *scratch) {
    struct scratch *s = scratch;
    struct block *blocks[] = {&s->cut,  &s->edges,     &s->table,     &s->strip,      &s->picture,   &s->middle,
                              &s->tile, &s->starts[0], &s->starts[1], &s->weights[0], &s->weights[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]->mem);
}
