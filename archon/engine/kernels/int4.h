// Products with int4 weights: a tile of rows times a panel of outputs, exact in int32 within a group.
//
// A group is 32 inputs of an output, which share a scale in bf16. The weights of a panel of 32
// outputs are (I / 8, 32, 4) bytes. A byte has two weights, both shifted by 8: its low half is for one
// of the first four of eight inputs, its high half for one of the last four. The groups' sums are
// scaled and added in float32, in order; `offset` cancels the shift of the inputs by 128.
#pragma once

#include "int8.h"

constexpr int HALF_TILE_ROWS = TILE_ROWS / 2;  // a row needs four registers

#ifdef __AVX512F__

// ROWS rows of a tile times one panel: `sums` is (ROWS, 32).
template <int ROWS>
__attribute__((noinline)) void half_tile_sums(const Input* x, const uint8_t* weight,
                                              int64_t inputs, const bf16* scale,
                                              const float* offset, float* sums) {
  __m512 left[ROWS], right[ROWS];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) {
    left[r] = _mm512_loadu_ps(offset);
    right[r] = _mm512_loadu_ps(offset + LANES);
  }
  const __m512i low = _mm512_set1_epi8(0x0f), middle = _mm512_set1_epi8(8);
  for (int64_t group = 0; group < inputs / GROUP_INPUTS; group++, scale += PANEL_OUTPUTS) {
    __m512i a_sums[ROWS], b_sums[ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) a_sums[r] = b_sums[r] = _mm512_setzero_si512();
    for (int k = 0; k < GROUP_INPUTS; k += 8, weight += 128, x += 8 * TILE_ROWS) {
      const __m512i a = _mm512_loadu_si512(weight), b = _mm512_loadu_si512(weight + 64);
      const __m512i first_a = _mm512_sub_epi8(_mm512_and_si512(a, low), middle);
      const __m512i first_b = _mm512_sub_epi8(_mm512_and_si512(b, low), middle);
      const __m512i last_a =
          _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(a, 4), low), middle);
      const __m512i last_b =
          _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(b, 4), low), middle);
#pragma GCC unroll 6
      for (int r = 0; r < ROWS; r++) {
        const __m512i first = _mm512_set1_epi32(*(const int32_t*)(x + 4 * r));
        dot_bytes(a_sums[r], first, first_a);
        dot_bytes(b_sums[r], first, first_b);
      }
#pragma GCC unroll 6
      for (int r = 0; r < ROWS; r++) {
        const __m512i last = _mm512_set1_epi32(*(const int32_t*)(x + 4 * (TILE_ROWS + r)));
        dot_bytes(a_sums[r], last, last_a);
        dot_bytes(b_sums[r], last, last_b);
      }
    }
    const Floats a_scale = load_bf16(scale), b_scale = load_bf16(scale + LANES);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      left[r] = _mm512_add_ps(left[r], _mm512_mul_ps(_mm512_cvtepi32_ps(a_sums[r]), a_scale));
      right[r] = _mm512_add_ps(right[r], _mm512_mul_ps(_mm512_cvtepi32_ps(b_sums[r]), b_scale));
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) {
    _mm512_store_ps(sums + r * PANEL_OUTPUTS, left[r]);
    _mm512_store_ps(sums + r * PANEL_OUTPUTS + LANES, right[r]);
  }
}

#else

#ifdef __aarch64__

// Sixteen outputs of ROWS rows, as in int8.h. The shift of the inputs, which `offset` cancels, is
// added to the sums.
template <int ROWS>
static inline void part_sums(const Input* x, const uint8_t* weight, int64_t inputs,
                             const bf16* scale, const float* offset, float* sums) {
  Floats totals[ROWS];
  for (int r = 0; r < ROWS; r++) totals[r] = load(offset);
  const int8x16_t ones = vdupq_n_s8(1);
  for (int64_t group = 0; group < inputs / GROUP_INPUTS; group++, scale += PANEL_OUTPUTS) {
    RowSums<ROWS> rows;
    RowSums<1> weights;
    for (int k = 0; k < GROUP_INPUTS; k += 8, weight += 128, x += 8 * TILE_ROWS) {
      int8x16_t first[4], last[4];
      for (int j = 0; j < 4; j++) {
        const uint8x16_t both = vld1q_u8(weight + 16 * j);
        const auto centred = [](uint8x16_t x) {
          return vsubq_s8(vreinterpretq_s8_u8(x), vdupq_n_s8(8));
        };
        first[j] = centred(vandq_u8(both, vdupq_n_u8(0x0f)));
        last[j] = centred(vshrq_n_u8(both, 4));
      }
      rows.add(four_rows(x), first, four_rows(x + 4 * TILE_ROWS), last);
      weights.add(ones, first, ones, last);
    }
    const Ints shift = weights.of(0) * splat_int(128);
    for (int r = 0; r < ROWS; r++)
      totals[r] = totals[r] + to_floats(rows.of(r) + shift) * load_bf16(scale);
  }
  for (int r = 0; r < ROWS; r++) store(sums + r * PANEL_OUTPUTS, totals[r]);
}

#else

// Eight outputs of ROWS rows, as in int8.h.
template <int ROWS>
static inline void part_sums(const Input* x, const uint8_t* weight, int64_t inputs,
                             const bf16* scale, const float* offset, float* sums) {
  for (int r = 0; r < ROWS; r++)
    memcpy(sums + r * PANEL_OUTPUTS, offset, sizeof(float) * PART_OUTPUTS);
  const __m128i low = _mm_set1_epi8(0x0f), middle = _mm_set1_epi8(8);
  for (int64_t group = 0; group < inputs / GROUP_INPUTS; group++, scale += PANEL_OUTPUTS) {
    __m256i pairs[ROWS][2];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
      for (int j = 0; j < 2; j++) pairs[r][j] = _mm256_setzero_si256();
    for (int k = 0; k < GROUP_INPUTS; k += 8, weight += 128, x += 8 * TILE_ROWS)
#pragma GCC unroll 2
      for (int j = 0; j < 2; j++) {
        const __m128i both = _mm_loadu_si128((const __m128i*)(weight + 16 * j));
        const __m128i first = _mm_and_si128(both, low);
        const __m128i last = _mm_and_si128(_mm_srli_epi16(both, 4), low);
        const __m256i of_first = _mm256_cvtepi8_epi16(_mm_sub_epi8(first, middle));
        const __m256i of_last = _mm256_cvtepi8_epi16(_mm_sub_epi8(last, middle));
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
          dot_words(pairs[r][j], four_inputs(x + 4 * r), of_first);
          dot_words(pairs[r][j], four_inputs(x + 4 * (TILE_ROWS + r)), of_last);
        }
      }
    const __m256 scales = load_eight_bf16(scale);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) {
      const __m256 group_sums = _mm256_cvtepi32_ps(sums_of_pairs(pairs[r][0], pairs[r][1]));
      float* to = sums + r * PANEL_OUTPUTS;
      _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), _mm256_mul_ps(group_sums, scales)));
    }
  }
}

#endif

// ROWS rows of a tile times one panel: `sums` is (ROWS, 32).
template <int ROWS>
__attribute__((noinline)) void half_tile_sums(const Input* x, const uint8_t* weight,
                                              int64_t inputs, const bf16* scale,
                                              const float* offset, float* sums) {
  each_part<ROWS>([&](auto rows, int r, int at) {
    part_sums<rows>(x + 4 * r, weight + 4 * at, inputs, scale + at, offset + at,
                    sums + r * PANEL_OUTPUTS + at);
  });
}

#endif

using HalfTileSums = void (*)(const Input*, const uint8_t*, int64_t, const bf16*, const float*,
                              float*);
constexpr HalfTileSums HALF_TILE_SUMS[HALF_TILE_ROWS] = {
    half_tile_sums<1>, half_tile_sums<2>, half_tile_sums<3>,
    half_tile_sums<4>, half_tile_sums<5>, half_tile_sums<6>,
};
