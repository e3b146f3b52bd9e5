/* Whether a JPEG can be read to its end. */

#pragma once

#include "../bytes.h"

/* Whether the kernel decodes these bytes, all of them are there, and libjpeg would read them without a warning. -1
   without memory. */
int is_undamaged(struct bytes data);
