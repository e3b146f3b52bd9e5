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

#define LOOK 11         /* bits that are looked up at once */
#define LONGEST 16      /* bits of a code */
#define MAX_BLOCKS 10   /* in an MCU: libjpeg refuses more */
#define SYMBOL_BITS 31  /* that a symbol takes at most: its code, and 15 bits of a value */
#define BEHIND 64       /* bytes of zeros behind the data */

/* Of these are looked at: 8 before `walk_blocks` sees that it is behind the data, 7 that are ahead, two symbols, and the
   8 that are then read at once. */
_Static_assert(BEHIND >= 8 + 7 + 2 * SYMBOL_BITS / 8 + 1 + 8, "damage must not be read beyond its memory");
_Static_assert(2 * (LOOK + 15) <= 56, "what is ahead must do for two looks");

/* What begins with some bits: whole symbols, each a code with the value behind it. Of values only the size matters. From
   the lowest bit on: 6 for the bits of all symbols, 9 for the coefficients that they are, 1 if the last one ends the
   block; and, where it is a single symbol, the bits of its code. Other bits have NO_CODE, more than a block has. */
typedef uint32_t entry;
typedef uint16_t look; /* an entry without the last: four tables fit into a core's nearest cache */

#define NO_CODE 256u

static inline int bits_of(entry e) { return (int)(e & 63); }
static inline unsigned filled_by(entry e) { return e >> 6 & 511; }
static inline int ends_block(entry e) { return (int)(e >> 15 & 1); }
static inline int code_of(entry e) { return (int)(e >> 16); }

/* Codes in canonical order: those of `size` bits, as LONGEST bits with zeros behind, are below `above[size]`. */
struct codes {
    uint64_t edition; /* another number for each table of which this was made; 0 for none */
    JHUFF_TBL of;
    entry one[1 << LOOK]; /* a single symbol */
    int32_t above[LONGEST + 1], first[LONGEST + 1], start[LONGEST + 1];
    int is_dc;
};

struct joined {
    uint64_t editions[2]; /* of the codes of which this was made: the first symbol's, and the other ones' */
    look several[1 << LOOK];
};

struct bits {
    const uint8_t *next;
    uint64_t ahead; /* from its highest bit on */
    int count;      /* of bits in `ahead` that have been taken from memory */
};

/* A block of an MCU: what its difference begins, with the coefficients behind it as far as these lie in the same bits,
   and what further coefficients begin; and the block after it, the first after the last. */
struct block {
    uintptr_t first, further; /* addresses of looks, since these are chosen by arithmetic */
    const struct codes *dc, *ac;
    const struct block *next;
};

struct walk {
    struct block block[MAX_BLOCKS];
    int blocks;
    int64_t mcus;
};

/* A thread's tables, which serve as long as images have the same: most have those that the standard has as examples. */
struct tables {
    uint64_t editions;
    struct codes dc[NUM_HUFF_TBLS], ac[NUM_HUFF_TBLS];
    struct joined first[NUM_HUFF_TBLS][NUM_HUFF_TBLS], further[NUM_HUFF_TBLS];
};

static _Thread_local struct tables tables;

/* ---- tables -------------------------------------------------------------------------------------------------- */

/* The symbol for a code of a DC difference says the size of its value; that of an AC coefficient, what comes before it,
   too: the zeros that are skipped, or that all else is zero. */
static entry entry_of(int symbol, int code, int is_dc) {
    int size = symbol & 15, run = symbol >> 4;
    int ends = !is_dc && !size && run < 15, filled = ends ? 0 : is_dc ? 1 : run + 1;
    return (entry)(code + size) | (entry)filled << 6 | (entry)ends << 15 | (entry)code << 16;
}

/* The same conditions as libjpeg's, for which a table that is not so is an error. */
static int read_codes(struct codes *codes, const JHUFF_TBL *table, int is_dc) {
    if (codes->edition && !memcmp(codes->of.bits, table->bits, sizeof table->bits) &&
        !memcmp(codes->of.huffval, table->huffval, sizeof table->huffval))
        return 1;
    int32_t code = 0, count = 0;
    codes->edition = 0, codes->of = *table, codes->is_dc = is_dc;
    for (int at = 0; at < 1 << LOOK; at++)
        codes->one[at] = NO_CODE << 6;
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
    codes->edition = ++tables.editions;
    return 1;
}

/* To each symbol the coefficients whose codes lie in the same bits whole. What a value's bits are does not matter. */
static void join_symbols(struct joined *joined, const struct codes *one, const struct codes *ac) {
    if (joined->editions[0] == one->edition && joined->editions[1] == ac->edition)
        return;
    for (unsigned at = 0; at < 1 << LOOK; at++) {
        entry all = one->one[at];
        while (!ends_block(all) && bits_of(all) < LOOK) {
            entry next = ac->one[at << bits_of(all) & ((1 << LOOK) - 1)];
            if (bits_of(all) + code_of(next) > LOOK || filled_by(all) + filled_by(next) > 63)
                break;
            all += next & 0xFFFF;
        }
        joined->several[at] = (look)all;
    }
    joined->editions[0] = one->edition, joined->editions[1] = ac->edition;
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
    for (int i = 0; i < jpeg->comps_in_scan; i++) {
        const jpeg_component_info *about = jpeg->cur_comp_info[i];
        int dc = about->dc_tbl_no, ac = about->ac_tbl_no, quantization = about->quant_tbl_no;
        if (dc < 0 || dc >= NUM_HUFF_TBLS || ac < 0 || ac >= NUM_HUFF_TBLS || !jpeg->dc_huff_tbl_ptrs[dc] ||
            !jpeg->ac_huff_tbl_ptrs[ac] || quantization < 0 || quantization >= NUM_QUANT_TBLS ||
            !jpeg->quant_tbl_ptrs[quantization])
            return 0;
        struct codes *dcs = &tables.dc[dc], *acs = &tables.ac[ac];
        if (!read_codes(dcs, jpeg->dc_huff_tbl_ptrs[dc], 1) || !read_codes(acs, jpeg->ac_huff_tbl_ptrs[ac], 0))
            return 0;
        join_symbols(&tables.first[dc][ac], dcs, acs);
        join_symbols(&tables.further[ac], acs, acs);
        int blocks = jpeg->comps_in_scan == 1 ? 1 : about->h_samp_factor * about->v_samp_factor;
        if (walk->blocks + blocks > MAX_BLOCKS || !fit_together(jpeg->dc_huff_tbl_ptrs[dc], walk->mcus * blocks))
            return 0;
        uintptr_t first = (uintptr_t)tables.first[dc][ac].several, further = (uintptr_t)tables.further[ac].several;
        for (int block = 0; block < blocks; block++, walk->blocks++)
            walk->block[walk->blocks] = (struct block){first, further, dcs, acs, &walk->block[walk->blocks + 1]};
    }
    walk->block[walk->blocks - 1].next = walk->block;
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

/* A symbol whose code may be long. */
static entry symbol_ahead(const struct codes *codes, const struct bits *bits) {
    entry found = codes->one[peek(bits, LOOK)];
    int32_t code = (int32_t)peek(bits, LONGEST);
    for (int size = LOOK + 1; filled_by(found) == NO_CODE && size <= LONGEST; size++)
        if (code < codes->above[size]) {
            int32_t number = codes->start[size] + (code >> (LONGEST - size)) - codes->first[size];
            return entry_of(codes->of.huffval[number], size, codes->is_dc);
        }
    return found;
}

/* ---- blocks -------------------------------------------------------------------------------------------------- */

static inline uintptr_t chosen(int is_first, uintptr_t first, uintptr_t second) {
    return second ^ ((first ^ second) & -(uintptr_t)is_first);
}

/* Goes over some blocks, which take all of these bytes, but for less than one.

   Each look says which table the next one is into: that of further coefficients or, where the block ends, that of the
   next one's first. It is chosen by arithmetic, since a branch there would be guessed wrong in each block, which takes
   as long as three looks. What is rare is guessed right: bits that have to be looked at one symbol at a time, for a long
   code, or since they go beyond the block or just to its last coefficient. */
static int walk_blocks(const struct block *block, int64_t blocks, const uint8_t *data, const uint8_t *end) {
    struct bits bits = {data, 0, 0};
    uintptr_t table = block->first;
    unsigned filled = 0; /* coefficients of the block */
    while (blocks && bits.next <= end + 8) {
        look_ahead(&bits);
        for (int i = 0; i < 2 && blocks; i++) {
            entry found = ((const look *)table)[peek(&bits, LOOK)];
            unsigned reached = filled + filled_by(found);
            int ends = ends_block(found);
            if (reached > 63) {
                look_ahead(&bits);
                found = symbol_ahead(filled ? block->ac : block->dc, &bits);
                reached = filled + filled_by(found), ends = ends_block(found);
                if (reached > 64)
                    return 0;
                ends |= reached == 64;
                take(&bits, bits_of(found));
                look_ahead(&bits);
            } else
                take(&bits, bits_of(found));
            filled = (unsigned)chosen(ends, 0, reached);
            table = chosen(ends, block->next->first, block->further);
            block = (const struct block *)chosen(ends, (uintptr_t)block->next, (uintptr_t)block);
            blocks -= ends;
        }
    }
    int64_t left = 8 * (end - bits.next) + bits.count;
    return !blocks && left >= 0 && left < 8;
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
        if (!walk_blocks(walk->block, mcus * walk->blocks, memory, to))
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
    struct walk walk = {.mcus = mcus};
    uint8_t *memory = malloc(jpeg->src->bytes_in_buffer + BEHIND);
    int intact = memory && read_tables(&walk, jpeg) && walk_scan(&walk, jpeg, memory);
    free(memory);
    return intact;
}
