/* Where there may be SSE4.1 and AVX2, which a function asks for by its target attribute. */

#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86 1
#endif
