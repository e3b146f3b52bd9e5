/* The hash by which a shard's index knows a key. */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* sample.py's `hash_of_key`, of up to 128 bytes. */
uint64_t hash_of_key(const uint8_t *key, size_t size);
