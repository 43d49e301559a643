// Products with int8 weights: a tile of rows times a panel of outputs, exact in int32.
//
// A weight of O outputs and I inputs consists of panels of 32 outputs, (O / 32, I / 4, 32, 4): a
// vector has four consecutive inputs of sixteen outputs, as the dot-product instruction reads them.
// `shift` = -128 · (sum of an output's weights) cancels the shift of the inputs.
//
// The sums of a tile times a panel fill 24 of AVX-512's 32 registers, which keeps the multipliers
// busy; the panel stays in the first-level cache for all tiles. AVX2 has 16 shorter registers, and
// its instruction for the sum of four byte products saturates. So bytes are widened to 16 bits
// there, and a tile is computed in parts. NEON's instructions have signed inputs, so that nothing
// has to be shifted there.
#pragma once

#include <type_traits>

#include "rows.h"

constexpr int PANEL_OUTPUTS = 32;

#ifdef __AVX512F__

// One tile of ROWS rows times one panel: `sums` is (ROWS, 32). It is a separate, small function so
// that the compiler keeps all sums in registers.
template <int ROWS>
__attribute__((noinline)) void tile_sums(const Input* x, const int8_t* weight, int64_t inputs,
                                         const int32_t* shift, int32_t* sums) {
  __m512i left[ROWS], right[ROWS];
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; r++) {
    left[r] = _mm512_loadu_si512(shift);
    right[r] = _mm512_loadu_si512(shift + LANES);
  }
  for (int64_t k = 0; k < inputs; k += 4, weight += 4 * PANEL_OUTPUTS, x += 4 * TILE_ROWS) {
    const __m512i a = _mm512_loadu_si512(weight), b = _mm512_loadu_si512(weight + 64);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
      const __m512i four = _mm512_set1_epi32(*(const int32_t*)(x + 4 * r));
      dot_bytes(left[r], four, a);
      dot_bytes(right[r], four, b);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; r++) {
    _mm512_store_si512(sums + r * PANEL_OUTPUTS, left[r]);
    _mm512_store_si512(sums + r * PANEL_OUTPUTS + LANES, right[r]);
  }
}

#else

#ifdef __aarch64__
constexpr int PART_ROWS = 4, PART_OUTPUTS = 16;
#else
constexpr int PART_ROWS = 4, PART_OUTPUTS = 8;
#endif

// Compute a tile of ROWS rows times a panel in parts: `part(rows, r, at)` computes `rows` rows from
// `r` and PART_OUTPUTS outputs from `at`.
template <int ROWS, class Part>
static inline void each_part(Part part) {
  for (int at = 0; at < PANEL_OUTPUTS; at += PART_OUTPUTS) {
    int r = 0;
    for (; r + PART_ROWS <= ROWS; r += PART_ROWS)
      part(std::integral_constant<int, PART_ROWS>(), r, at);
    if constexpr (ROWS % PART_ROWS) part(std::integral_constant<int, ROWS % PART_ROWS>(), r, at);
  }
}

#ifdef __aarch64__

// Four inputs of four rows, without their shift.
static inline int8x16_t four_rows(const Input* x) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x), vdupq_n_u8(0x80)));
}

// A part of a tile; the inputs are a multiple of 8.
template <int ROWS>
static inline void part_sums(const Input* x, const int8_t* weight, int64_t inputs,
                             const int32_t*, int32_t* sums) {
  RowSums<ROWS> rows;
  for (int64_t k = 0; k < inputs; k += 8, weight += 8 * PANEL_OUTPUTS, x += 8 * TILE_ROWS) {
    const int8_t* next = weight + 4 * PANEL_OUTPUTS;
    const int8x16_t first[4] = {vld1q_s8(weight), vld1q_s8(weight + 16), vld1q_s8(weight + 32),
                                vld1q_s8(weight + 48)};
    const int8x16_t last[4] = {vld1q_s8(next), vld1q_s8(next + 16), vld1q_s8(next + 32),
                               vld1q_s8(next + 48)};
    rows.add(four_rows(x), first, four_rows(x + 4 * TILE_ROWS), last);
  }
  for (int r = 0; r < ROWS; r++) {
    const Ints row = rows.of(r);
    for (int j = 0; j < 4; j++) vst1q_s32(sums + r * PANEL_OUTPUTS + 4 * j, row.of[j]);
  }
}

#else

// A part of a tile. A register has sums for four outputs of a row, two per output; eight of the 16
// registers are sums.
template <int ROWS>
static inline void part_sums(const Input* x, const int8_t* weight, int64_t inputs,
                             const int32_t* shift, int32_t* sums) {
  __m256i pairs[ROWS][2];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) pairs[r][j] = _mm256_setzero_si256();
  for (int64_t k = 0; k < inputs; k += 4, weight += 4 * PANEL_OUTPUTS, x += 4 * TILE_ROWS) {
    __m256i four[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) four[r] = four_inputs(x + 4 * r);
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
      const __m256i of = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(weight + 16 * j)));
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) dot_words(pairs[r][j], four[r], of);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++) {
    const __m256i eight = sums_of_pairs(pairs[r][0], pairs[r][1]);
    const __m256i shifted = _mm256_add_epi32(eight, _mm256_loadu_si256((const __m256i*)shift));
    _mm256_store_si256((__m256i*)(sums + r * PANEL_OUTPUTS), shifted);
  }
}

#endif

// One tile of ROWS rows times one panel: `sums` is (ROWS, 32).
template <int ROWS>
__attribute__((noinline)) void tile_sums(const Input* x, const int8_t* weight, int64_t inputs,
                                         const int32_t* shift, int32_t* sums) {
  each_part<ROWS>([&](auto rows, int r, int at) {
    part_sums<rows>(x + 4 * r, weight + 4 * at, inputs, shift + at, sums + r * PANEL_OUTPUTS + at);
  });
}

#endif

using TileSums = void (*)(const Input*, const int8_t*, int64_t, const int32_t*, int32_t*);
constexpr TileSums TILE_SUMS[TILE_ROWS] = {
    tile_sums<1>, tile_sums<2>, tile_sums<3>, tile_sums<4>,  tile_sums<5>,  tile_sums<6>,
    tile_sums<7>, tile_sums<8>, tile_sums<9>, tile_sums<10>, tile_sums<11>, tile_sums<12>,
};
