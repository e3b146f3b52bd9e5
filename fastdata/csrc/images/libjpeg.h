/* libjpeg-turbo, whose errors and first warning end the work on a picture. */

#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 2001000
#error "libjpeg-turbo 2.1 or later is needed"
#endif

#include "status.h"

/* libjpeg's errors and its first warning come back here by longjmp. */
struct escape {
    struct jpeg_error_mgr manager; /* first, since libjpeg hands out a pointer to it */
    jmp_buf to;
    enum status status;
};

/* To be set as the `err` of whatever is to come back to `escape->to`, which has to be set by setjmp before. */
struct jpeg_error_mgr *refuse_damage(struct escape *escape);

/* What it does by itself, for handlers that do more. */
void on_error(j_common_ptr jpeg);
void on_message(j_common_ptr jpeg, int level);
