/* A tar header (POSIX's ustar) that still names a sample's component, in the plainest way to say so: the same rules as
 * tars/tar.py and tars/webdataset.py. Every other header is for Python.
 */

#include "member.h"

#include <string.h>

#include "key_hash.h"

#define BLOCK 512 /* bytes of a header (POSIX.1-1988, ustar) */

/* A header's number in plain octal digits, behind which a blank may stand; -1 for any other. */
static int64_t octal(const uint8_t *field, int size) {
    int64_t value = 0;
    int i = 0;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (field[i] - '0');
    int digits = i;
    i += i < size && field[i] == ' ';
    return digits && (i == size || !field[i]) ? value : -1;
}

static int carries_checksum(const uint8_t *header) {
    int64_t sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : header[i];
    return octal(header + 148, 8) == sum;
}

/* Bytes of the key where the header is of this component, in the plainest way to say so; else 0. */
static int key_in_header(const uint8_t *header, const struct member *member) {
    const char *name = (const char *)header;
    size_t length = strnlen(name, 100), extension = strnlen(member->extension, sizeof member->extension);
    if (!carries_checksum(header) || (header[156] != '0' && header[156]) || header[345] ||
        octal(header + 124, 12) != member->size || length < 3 || !memcmp(name, "./", 2) || !memcmp(name, "__", 2))
        return 0;
    size_t base = length;
    while (base && name[base - 1] != '/')
        base--;
    const char *dot = memchr(name + base, '.', length - base);
    size_t key = dot ? (size_t)(dot - name) : 0;
    if (key <= base || !extension || extension >= sizeof member->extension || length - key - 1 != extension ||
        memcmp(dot + 1, member->extension, extension) || hash_of_key(header, key) != member->key_hash)
        return 0;
    return (int)key;
}

/* Whether these are the plain decimal digits of the class. */
static int is_label(const uint8_t *digits, int32_t size, int64_t label) {
    int64_t value = 0;
    for (int32_t i = 0; i < size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        value = value * 10 + (digits[i] - '0');
    }
    return value == label;
}

void check_member(struct member *member, struct bytes part) {
    member->key_size = member->has_label = 0;
    if (member->size < 0 || part.size < BLOCK || (uint64_t)member->size > part.size - BLOCK)
        return;
    member->key_size = key_in_header(part.at, member);
    if (member->label_size > 0 && member->label_size <= 18 && member->label_at > 0 &&
        (uint64_t)member->label_at + (uint64_t)member->label_size <= part.size)
        member->has_label = is_label(part.at + member->label_at, member->label_size, member->label);
}
