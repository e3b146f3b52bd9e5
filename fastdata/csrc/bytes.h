/* Bytes that are not trusted: where they lie, and how many they are. */

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *at;
    size_t size;
};

/* Whether data[at:] starts with these bytes. */
static inline int stands_at(struct bytes data, size_t at, const char *what, size_t size) {
    return at <= data.size && size <= data.size - at && !memcmp(data.at + at, what, size);
}

static inline unsigned big16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

static inline uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
