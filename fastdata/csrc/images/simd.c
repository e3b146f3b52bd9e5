/* Which SIMD there is, found out once. */

#include "simd.h"

#include <stdlib.h>
#include <string.h>

struct simd simd = {"portable", along_rows_portable, down_columns_portable, recolour_portable};

void choose_simd(void) {
#ifdef HAVE_X86
    const char *asked = getenv("FASTDATA_SIMD");
    int below_avx2 = asked && (!strcmp(asked, "sse4") || !strcmp(asked, "portable"));
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && !below_avx2)
        simd = (struct simd){"avx2", along_rows_avx2, down_columns_avx2, recolour_avx2};
    else if (__builtin_cpu_supports("sse4.1") && !(asked && !strcmp(asked, "portable")))
        simd = (struct simd){"sse4", along_rows_sse4, down_columns_sse4, recolour_portable};
#endif
}
