/* The CRC-32 that a table of restart segments carries: zlib's. */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* Once, before the other one is called. */
void fill_crc_table(void);

uint32_t crc32_of(const uint8_t *p, size_t size);
