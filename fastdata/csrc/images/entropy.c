/* A walk over the entropy-coded data of a sequential JPEG: is all of it there, and undamaged?
 *
 * libjpeg would find the same out, but it makes and stores coefficients, one symbol at a time. Here nothing is made: one
 * look into a table says how many bits some symbols and their values take, and how many coefficients they are.
 *
 * "Yes" is certain: libjpeg would read the scan to the end of the file without a warning. "No" only says that libjpeg is
 * to be asked: of several scans, of a marker in an odd place, of codes that run beyond a block, of damage.
 */

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "entropy.h"

#define LOOK 10         /* bits that are looked up at once */
#define LONGEST 16      /* bits of a code */
#define MAX_BLOCKS 10   /* in an MCU: libjpeg refuses more */
#define SYMBOL_BITS 31  /* that a symbol takes at most: its code, and 15 bits of a value */
#define MAX_BITS (64 * SYMBOL_BITS) /* that a block takes at most */
#define BEHIND 1024     /* bytes of zeros behind the data: a block, and what is looked at ahead, ends within them */

_Static_assert(BEHIND >= MAX_BITS / 8 + 64, "a damaged block must not be read beyond its memory");

/* What begins with some bits: whole symbols, each a code with the value behind it. Of values only the size matters. In
   its bytes, from the lowest on: bits of all symbols, or 0 for a code of more than LOOK bits, or none; coefficients that
   they are; whether the last one ends the block; bits of the first one's code. A number is looked up faster than bytes. */
typedef uint32_t entry;

static inline int bits_of(entry e) { return (int)(e & 0xFF); }
static inline int filled_by(entry e) { return (int)(e >> 8 & 0xFF); }
static inline int ends_block(entry e) { return (int)(e >> 16 & 1); }
static inline int code_of(entry e) { return (int)(e >> 24); }

/* Codes in canonical order: those of `size` bits, as LONGEST bits with zeros behind, are below `above[size]`. */
struct codes {
    entry one[1 << LOOK]; /* a single symbol */
    int32_t above[LONGEST + 1], first[LONGEST + 1], start[LONGEST + 1];
    const uint8_t *symbols;
};

struct bits {
    const uint8_t *next;
    uint64_t ahead; /* from its highest bit on */
    int count;      /* of bits in `ahead` that have been taken from memory */
};

struct walk {
    struct codes dc[NUM_HUFF_TBLS], ac[NUM_HUFF_TBLS];
    entry several[NUM_HUFF_TBLS][1 << LOOK]; /* AC symbols, as many as begin in these bits */
    int dc_of[MAX_BLOCKS], ac_of[MAX_BLOCKS]; /* the tables of each block of an MCU */
    int blocks;
    int64_t mcus;
};

/* ---- tables -------------------------------------------------------------------------------------------------- */

/* The symbol for a code of a DC difference says the size of its value; that of an AC coefficient, what comes before it,
   too: the zeros that are skipped, or that all else is zero. */
static entry entry_of(int symbol, int code, int is_dc) {
    int size = symbol & 15, run = symbol >> 4;
    int ends = !is_dc && !size && run < 15, filled = is_dc || ends ? 0 : run + 1;
    return (entry)(code + size) | (entry)filled << 8 | (entry)ends << 16 | (entry)code << 24;
}

/* The same conditions as libjpeg's, for which a table that is not so is an error. */
static int read_codes(struct codes *codes, const JHUFF_TBL *table, int is_dc) {
    int32_t code = 0, count = 0;
    memset(codes->one, 0, sizeof codes->one);
    codes->symbols = table->huffval;
    for (int size = 1; size <= LONGEST; size++) {
        codes->first[size] = code;
        codes->start[size] = count;
        for (int i = 0; i < table->bits[size]; i++, code++, count++) {
            if (count >= 256 || code >= 1 << size || (is_dc && table->huffval[count] > 15))
                return 0;
            if (size > LOOK)
                continue;
            entry found = entry_of(table->huffval[count], size, is_dc);
            for (int32_t at = code << (LOOK - size); at < (code + 1) << (LOOK - size); at++)
                codes->one[at] = found;
        }
        if (code >= 1 << size && table->bits[size]) /* no code is of ones only */
            return 0;
        codes->above[size] = code << (LONGEST - size);
        code <<= 1;
    }
    return 1;
}

/* To each symbol those whose codes lie in the same bits whole. What a value's bits are does not matter. */
static void join_symbols(const entry *one, entry *several) {
    for (unsigned at = 0; at < 1 << LOOK; at++) {
        entry all = one[at];
        while (all && !ends_block(all) && bits_of(all) < LOOK) {
            entry next = one[at << bits_of(all) & ((1 << LOOK) - 1)];
            if (!next || bits_of(all) + code_of(next) > LOOK)
                break;
            all += next & 0xFFFFFF; /* bits, coefficients, and whether the block ends */
        }
        several[at] = all;
    }
}

/* What a scan's differences may add up to must fit into an int: else libjpeg looks whether it does. */
static int fit_together(const JHUFF_TBL *dc, int64_t blocks) {
    int largest = 0, count = 0;
    for (int size = 1; size <= LONGEST; size++)
        for (int i = 0; i < dc->bits[size]; i++, count++)
            largest = dc->huffval[count] > largest ? dc->huffval[count] : largest;
    return blocks << largest <= INT_MAX;
}

static int read_tables(struct walk *walk, j_decompress_ptr jpeg) {
    int read[2][NUM_HUFF_TBLS] = {{0}};
    for (int i = 0; i < jpeg->comps_in_scan; i++) {
        const jpeg_component_info *about = jpeg->cur_comp_info[i];
        int dc = about->dc_tbl_no, ac = about->ac_tbl_no, quantization = about->quant_tbl_no;
        if (dc < 0 || dc >= NUM_HUFF_TBLS || ac < 0 || ac >= NUM_HUFF_TBLS || !jpeg->dc_huff_tbl_ptrs[dc] ||
            !jpeg->ac_huff_tbl_ptrs[ac] || quantization < 0 || quantization >= NUM_QUANT_TBLS ||
            !jpeg->quant_tbl_ptrs[quantization])
            return 0;
        if (!read[0][dc] && !read_codes(&walk->dc[dc], jpeg->dc_huff_tbl_ptrs[dc], 1))
            return 0;
        if (!read[1][ac] && !read_codes(&walk->ac[ac], jpeg->ac_huff_tbl_ptrs[ac], 0))
            return 0;
        if (!read[1][ac])
            join_symbols(walk->ac[ac].one, walk->several[ac]);
        read[0][dc] = read[1][ac] = 1;
        int blocks = jpeg->comps_in_scan == 1 ? 1 : about->h_samp_factor * about->v_samp_factor;
        if (walk->blocks + blocks > MAX_BLOCKS || !fit_together(jpeg->dc_huff_tbl_ptrs[dc], walk->mcus * blocks))
            return 0;
        for (int block = 0; block < blocks; block++, walk->blocks++)
            walk->dc_of[walk->blocks] = dc, walk->ac_of[walk->blocks] = ac;
    }
    return 1;
}

static int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The MCUs of the only scan, which has all components; 0 where it is another kind of scan. */
static int64_t count_mcus(j_decompress_ptr jpeg) {
    if (jpeg->progressive_mode || jpeg->arith_code || jpeg->data_precision != 8 || jpeg->comps_in_scan < 1 ||
        jpeg->comps_in_scan != jpeg->num_components || jpeg->Ss != 0 || jpeg->Se != 63 || jpeg->Ah != 0 ||
        jpeg->Al != 0)
        return 0;
    if (jpeg->comps_in_scan == 1)
        return (int64_t)jpeg->comp_info[0].width_in_blocks * jpeg->comp_info[0].height_in_blocks;
    return divided_up(jpeg->image_width, 8 * jpeg->max_h_samp_factor) *
           divided_up(jpeg->image_height, 8 * jpeg->max_v_samp_factor);
}

/* ---- bits ---------------------------------------------------------------------------------------------------- */

/* From then on there are more than 55 bits ahead. */
static inline void look_ahead(struct bits *bits) {
    const uint8_t *p = bits->next;
    uint64_t word = (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
                    (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | p[7];
    bits->ahead |= word >> bits->count;
    bits->next += (63 - bits->count) >> 3;
    bits->count |= 56;
}

static inline void take(struct bits *bits, int count) {
    bits->ahead <<= count;
    bits->count -= count;
}

static inline unsigned peek(const struct bits *bits, int count) { return (unsigned)(bits->ahead >> (64 - count)); }

/* A symbol whose code may be long; 0 where there is no such code. */
static entry symbol_ahead(const struct codes *codes, const struct bits *bits, int is_dc) {
    entry found = codes->one[peek(bits, LOOK)];
    int32_t code = (int32_t)peek(bits, LONGEST);
    for (int size = LOOK + 1; !found && size <= LONGEST; size++)
        if (code < codes->above[size]) {
            int32_t number = codes->start[size] + (code >> (LONGEST - size)) - codes->first[size];
            return entry_of(codes->symbols[number], size, is_dc);
        }
    return found;
}

/* ---- blocks -------------------------------------------------------------------------------------------------- */

/* Goes over the 63 coefficients behind the first. */
static inline int walk_block(const struct codes *ac, const entry *several, struct bits *bits) {
    for (int filled = 0; filled < 63;) {
        if (bits->count < SYMBOL_BITS)
            look_ahead(bits);
        entry found = several[peek(bits, LOOK)];
        if (!found || filled + filled_by(found) > 62) { /* a long code, or the block ends before the last of these */
            found = symbol_ahead(ac, bits, 0);
            if (!found || filled + filled_by(found) > 63)
                return 0;
        }
        take(bits, bits_of(found));
        if (ends_block(found))
            return 1;
        filled += filled_by(found);
    }
    return 1;
}

/* Goes over some MCUs, which take all of these bytes, but for less than one. */
static int walk_mcus(const struct walk *walk, int64_t mcus, const uint8_t *data, const uint8_t *end) {
    struct bits bits = {data, 0, 0};
    for (int64_t mcu = 0; mcu < mcus; mcu++)
        for (int block = 0; block < walk->blocks; block++) {
            int ac = walk->ac_of[block];
            look_ahead(&bits);
            entry dc = symbol_ahead(&walk->dc[walk->dc_of[block]], &bits, 1);
            take(&bits, bits_of(dc));
            if (!dc || !walk_block(&walk->ac[ac], walk->several[ac], &bits) || bits.next - bits.count / 8 > end)
                return 0;
        }
    int64_t left = 8 * (end - bits.next) + bits.count;
    return left >= 0 && left < 8;
}

/* ---- bytes --------------------------------------------------------------------------------------------------- */

/* Copies data up to a marker, without the zeros that are stuffed behind each FF. Gives the marker, which must stand at
   once behind the data; 0 where there is none. */
static int copy_to_marker(const uint8_t **from, const uint8_t *end, uint8_t **to) {
    const uint8_t *found;
    while ((found = memchr(*from, 0xFF, (size_t)(end - *from))) && found + 1 < end) {
        size_t size = (size_t)(found + 1 - *from);
        int is_data = found[1] == 0;
        memcpy(*to, *from, size);
        *from = found + 2;
        *to += is_data ? size : size - 1;
        if (!is_data)
            return found[1];
    }
    return 0;
}

static int walk_scan(const struct walk *walk, j_decompress_ptr jpeg, uint8_t *memory) {
    const uint8_t *from = jpeg->src->next_input_byte, *end = from + jpeg->src->bytes_in_buffer;
    int64_t interval = jpeg->restart_interval ? jpeg->restart_interval : walk->mcus;
    for (int64_t done = 0, segment = 0; done < walk->mcus; done += interval, segment++) {
        int64_t mcus = walk->mcus - done < interval ? walk->mcus - done : interval;
        uint8_t *to = memory;
        int marker = copy_to_marker(&from, end, &to);
        int expected = done + mcus == walk->mcus ? JPEG_EOI : JPEG_RST0 + (int)(segment % 8);
        if (marker != expected)
            return 0;
        memset(to, 0, BEHIND);
        if (!walk_mcus(walk, mcus, memory, to))
            return 0;
    }
    return 1;
}

/* Whether the scan before which `jpeg_read_header` has stopped is the only one, and libjpeg would find nothing wrong with
   it and what follows. The source is one in memory; nothing is read from it here. */
int is_scan_intact(j_decompress_ptr jpeg) {
    int64_t mcus = count_mcus(jpeg);
    if (mcus < 1)
        return 0;
    struct walk *walk = malloc(sizeof *walk);
    uint8_t *memory = malloc(jpeg->src->bytes_in_buffer + BEHIND);
    int intact = 0;
    if (walk && memory) {
        walk->blocks = 0, walk->mcus = mcus;
        intact = read_tables(walk, jpeg) && walk_scan(walk, jpeg, memory);
    }
    free(memory);
    free(walk);
    return intact;
}
