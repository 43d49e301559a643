// Attention over the paged cache. Results are bit-identical regardless of which sequences share blocks.
//
// A block has 16 tokens of one key-value head, in the order in which the dot-product instruction
// reads them: keys as (D / 2, 16, 2), pairs of channels of sixteen tokens; values as (8, D, 2), pairs
// of tokens of every channel. Rows are the query heads that share a key-value head.
//
// Softmax is computed online (Milakov & Gimelshein 2018, arXiv 1805.02867). The state of a row is a
// reference m, the sum of 2^(score - m), and the sum of the values with these weights. Blocks are
// added one after another. The reference changes only if a score exceeds it by more than 8, so it
// usually costs only one comparison. The state of a row after a block is a function of its blocks in
// order, not of how they were grouped. So tokens of many sequences can read a shared block together
// or separately.
#pragma once

#include "simd.h"

constexpr int BLOCK_TOKENS = 16;
#ifdef __AVX512F__                // 32 registers; a vector needs two of AVX2's 16, or four of NEON's 32
constexpr int MAX_ROWS = 7;       // rows that are computed together
constexpr int MAX_BLOCKS = 4;     // blocks that are computed together
constexpr int MAX_VECTORS = 2;    // vectors of channels that are computed together
#else
constexpr int MAX_ROWS = 4;
constexpr int MAX_BLOCKS = 1;
constexpr int MAX_VECTORS = 1;
#endif
constexpr int MAX_HEAD_WIDTH = 256;
constexpr float SLACK = 8.0f;     // a score may exceed the reference by this much, in powers of 2

// State of the softmax of up to MAX_ROWS rows; `weighted` is (rows, D).
struct Softmax {
  float reference[MAX_ROWS];
  Floats sum[MAX_ROWS];
  float* weighted;
};

// How the product of a query and a key becomes a score, a power of 2.
struct Scores {
  float scale;    // log2(e) / √D, or another factor
  float softcap;  // bound c of scores, c · tanh(score / c); 0 for none
};

// Which keys count: `hidden` keys at the beginning of the first block do not, and `valid` keys of the
// last block do.
struct Keys {
  int hidden, valid;
};

// Keys and values of one head; blocks are `stride` elements apart. The layer's blocks of a token's
// text are `entry_size` numbers apart in the table.
struct Blocks {
  const bf16 *keys, *values;
  int64_t stride;
  const int32_t* table;
  int64_t entry_size;
};

// The two products below are separate, small functions so that the compiler keeps all sums in
// registers.

// out = scale · q · keys: (rows, blocks), a vector of 16 scores each.
template <int ROWS, int BLOCKS>
__attribute__((noinline)) void scores(const bf16* q, int D, const bf16* const* keys, float scale,
                                      Floats out[ROWS][BLOCKS]) {
  Floats sums[ROWS][BLOCKS];
#pragma GCC unroll 7
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int b = 0; b < BLOCKS; b++) sums[r][b] = splat(0);
  for (int d = 0; d < D; d += 2) {
    Pairs k[BLOCKS];
#pragma GCC unroll 4
    for (int b = 0; b < BLOCKS; b++) k[b] = load_pairs(keys[b] + d * BLOCK_TOKENS);
#pragma GCC unroll 7
    for (int r = 0; r < ROWS; r++) {
      const Pairs pair = splat_pairs(q + r * D + d);
#pragma GCC unroll 4
      for (int b = 0; b < BLOCKS; b++) dot_pairs(sums[r][b], pair, k[b]);
    }
  }
#pragma GCC unroll 7
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int b = 0; b < BLOCKS; b++) out[r][b] = sums[r][b] * splat(scale);
}

// weighted += p · values for blocks `first` to `last` - 1; p is (rows, BLOCKS, 16) in bf16.
template <int ROWS, int VECTORS>
__attribute__((noinline)) void add_values(const bf16* p, int p_stride, const bf16* const* values,
                                          int first, int last, int D, float* weighted) {
  for (int d = 0; d < D; d += VECTORS * LANES) {
    Floats sums[ROWS][VECTORS];
#pragma GCC unroll 7
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++)
        sums[r][v] = load(weighted + r * D + d + v * LANES);
    for (int b = first; b < last; b++)
      for (int pair = 0; pair < BLOCK_TOKENS / 2; pair++) {
        const bf16* value = values[b] + (pair * D + d) * 2;
        Pairs of[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) of[v] = load_pairs(value + v * 2 * LANES);
#pragma GCC unroll 7
        for (int r = 0; r < ROWS; r++) {
          const Pairs weight = splat_pairs(p + r * p_stride + b * BLOCK_TOKENS + 2 * pair);
#pragma GCC unroll 2
          for (int v = 0; v < VECTORS; v++) dot_pairs(sums[r][v], weight, of[v]);
        }
      }
#pragma GCC unroll 7
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++)
        store(weighted + r * D + d + v * LANES, sums[r][v]);
  }
}

// Move a row's reference if a score of a block exceeds it by more than SLACK.
static inline void move_reference(Softmax& s, int r, Floats score, int D) {
  if (!any_above(score, splat(s.reference[r] + SLACK))) return;
  const float reference = max_of(score);
  const Floats shrink = exp2_of(splat(s.reference[r] - reference));
  s.reference[r] = reference;
  s.sum[r] = s.sum[r] * shrink;
  float* weighted = s.weighted + r * D;
  for (int d = 0; d < D; d += LANES) store(weighted + d, load(weighted + d) * shrink);
}

// Turn the scores of a row and a block into weights; store them in `p` and add them to the row's sum.
static inline void weigh(Softmax& s, int r, Floats score, bf16* p) {
  const Floats weight = exp2_of(score - splat(s.reference[r]));
  s.sum[r] = s.sum[r] + weight;
  store_bf16(p, weight);
}

// Bound the scores of ROWS rows and BLOCKS blocks.
template <int ROWS, int BLOCKS>
__attribute__((noinline)) void bound_scores(float softcap, Floats score[ROWS][BLOCKS]) {
  const Floats bound = splat(softcap), steps = splat(1.0f / softcap);
  for (int r = 0; r < ROWS; r++)
    for (int b = 0; b < BLOCKS; b++) score[r][b] = bound * tanh_of(score[r][b] * steps);
}

// Add BLOCKS blocks to the softmax of ROWS rows.
template <int ROWS, int BLOCKS, int VECTORS>
static inline void attend_blocks(const bf16* q, int D, const bf16* const* keys,
                                 const bf16* const* values, Keys count, Scores how, Softmax& s) {
  Floats score[ROWS][BLOCKS];
  scores<ROWS, BLOCKS>(q, D, keys, how.scale, score);
  if (how.softcap > 0) bound_scores<ROWS, BLOCKS>(how.softcap, score);
  if (count.valid < BLOCK_TOKENS)
    for (int r = 0; r < ROWS; r++)
      score[r][BLOCKS - 1] = keep_first(count.valid, score[r][BLOCKS - 1], -1e30f);
  if (count.hidden > 0)
    for (int r = 0; r < ROWS; r++) score[r][0] = hide_first(count.hidden, score[r][0]);
  alignas(64) bf16 p[ROWS][BLOCKS * BLOCK_TOKENS];
  bool moves = false;  // true if a reference must move after the first block
  for (int r = 0; r < ROWS; r++) {
    move_reference(s, r, score[r][0], D);
    const Floats bound = splat(s.reference[r] + SLACK);
    for (int b = 1; b < BLOCKS; b++) moves |= any_above(score[r][b], bound);
  }
  if (!moves) {
    for (int r = 0; r < ROWS; r++)
      for (int b = 0; b < BLOCKS; b++) weigh(s, r, score[r][b], &p[r][b * BLOCK_TOKENS]);
    add_values<ROWS, VECTORS>(p[0], BLOCKS * BLOCK_TOKENS, values, 0, BLOCKS, D, s.weighted);
    return;
  }
  for (int b = 0; b < BLOCKS; b++) {
    for (int r = 0; r < ROWS; r++) {
      move_reference(s, r, score[r][b], D);
      weigh(s, r, score[r][b], &p[r][b * BLOCK_TOKENS]);
    }
    add_values<ROWS, VECTORS>(p[0], BLOCKS * BLOCK_TOKENS, values, b, b + 1, D, s.weighted);
  }
}

// Add blocks `block` to `block` + BLOCKS - 1 of the block table to the softmax of ROWS rows.
template <int ROWS, int BLOCKS>
static inline void attend_group(const bf16* q, int D, const Blocks& at, int64_t block, Keys count,
                                Scores how, Softmax& s) {
  const bf16 *keys[BLOCKS], *values[BLOCKS];
  for (int b = 0; b < BLOCKS; b++) {
    keys[b] = at.keys + at.table[(block + b) * at.entry_size] * at.stride;
    values[b] = at.values + at.table[(block + b) * at.entry_size] * at.stride;
  }
  if (D % (MAX_VECTORS * LANES) == 0)
    attend_blocks<ROWS, BLOCKS, MAX_VECTORS>(q, D, keys, values, count, how, s);
  else
    attend_blocks<ROWS, BLOCKS, 1>(q, D, keys, values, count, how, s);
}

// With seven rows there are registers for the scores of three blocks, with fewer rows for four.
constexpr int blocks_for(int rows) { return rows == 7 ? 3 : MAX_BLOCKS; }

// Add blocks `first` to `last` - 1 to the softmax of ROWS rows.
template <int ROWS>
static void attend_rows(const bf16* q, int D, const Blocks& at, int64_t first, int64_t last,
                        Keys count, Scores how, Softmax& s) {
  constexpr int BLOCKS = blocks_for(ROWS);
  const auto of = [&](int64_t block, int size) {
    return Keys{block == first ? count.hidden : 0, block + size == last ? count.valid : BLOCK_TOKENS};
  };
  int64_t block = first;
  for (; block + BLOCKS <= last; block += BLOCKS)
    attend_group<ROWS, BLOCKS>(q, D, at, block, of(block, BLOCKS), how, s);
  for (; block < last; block++) attend_group<ROWS, 1>(q, D, at, block, of(block, 1), how, s);
}

// `attend_rows` for a number of rows that is known only at run time.
template <int ROWS = MAX_ROWS>
static inline void attend(int rows, const bf16* q, int D, const Blocks& at, int64_t first,
                          int64_t last, Keys count, Scores how, Softmax& s) {
  if constexpr (ROWS > 1)
    if (rows < ROWS) return attend<ROWS - 1>(rows, q, D, at, first, last, count, how, s);
  attend_rows<ROWS>(q, D, at, first, last, count, how, s);
}
