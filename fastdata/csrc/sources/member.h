/* A tar header that still names the component that a shard's index says is there. */

#pragma once

#include <stdint.h>

#include "../bytes.h"

struct member { /* as kernel.py's MEMBER: what a shard's index says of a component; then what the shard itself says */
    uint64_t key_hash;
    int64_t size;     /* of its data */
    int64_t label;    /* the class of its sample */
    int32_t label_at; /* where what holds that begins behind the header, and its size; 0: not read with this */
    int32_t label_size;
    char extension[16]; /* with zeros behind; a longer one is for Python */
    int32_t key_size;   /* out: of the key, which begins the header; 0: Python has to look */
    int32_t has_label;  /* out: whether the class is still that one */
};

_Static_assert(sizeof(struct member) == 56, "kernel.py's MEMBER says 56 bytes");

/* What is there of a component, whose range of the shard is `part`: its header, its data, and what was read behind
   them. Sets `key_size` and `has_label`. */
void check_member(struct member *member, struct bytes part);
