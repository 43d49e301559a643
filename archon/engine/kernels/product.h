// Products of quantized rows with quantized weights: y = x · Wᵀ, exact in int32.
//
// A weight of O outputs and I inputs lies in panels of 32 outputs, (O / 32, I / 4, 32, 4): one
// vector holds four consecutive inputs of sixteen outputs, as the dot-product instruction wants
// them. Rows of x lie in tiles of 12, (rows / 12, I / 4, 12, 4), shifted by 128 into unsigned
// bytes; `shift` = -128 · (sum of an output's weights) takes the shift out again.
//
// A tile times a panel fills 24 of the 32 registers with sums, which is what keeps the
// multipliers busy; the panel stays in the first-level cache while the tiles pass by.
#pragma once

#include <algorithm>
#include <cmath>

#include "simd.h"

constexpr int TILE_ROWS = 12;
constexpr int PANEL_OUTPUTS = 32;

struct Linear {
  const int8_t* weight;
  const float* scale;    // of each output
  const int32_t* shift;  // of each output
  const float* bias;     // of each output, or null
  int64_t outputs, inputs;

  int64_t panels() const { return (outputs + PANEL_OUTPUTS - 1) / PANEL_OUTPUTS; }
};

// Quantized rows: bytes in tiles, and the scale of each row.
struct Rows {
  uint8_t* bytes;
  float* scale;
};

// Round row `n` (`size` floats, a multiple of 16) to bytes with one scale: x ≈ scale · (byte - 128).
static inline void quantize_row(const float* x, int64_t size, int64_t n, Rows out) {
  __m512 largest = _mm512_set1_ps(1e-12f);
  for (int64_t i = 0; i < size; i += LANES)
    largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
  const float top = _mm512_reduce_max_ps(largest);
  out.scale[n] = top / 127.0f;
  const __m512 steps = _mm512_set1_ps(127.0f / top);
  const __m512i middle = _mm512_set1_epi32(128);
  uint8_t* tile = out.bytes + n / TILE_ROWS * TILE_ROWS * size + n % TILE_ROWS * 4;
  for (int64_t i = 0; i < size; i += LANES) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), steps));
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, middle));
    uint8_t* at = tile + i * TILE_ROWS;
    *(int32_t*)at = _mm_extract_epi32(bytes, 0);
    *(int32_t*)(at + 4 * TILE_ROWS) = _mm_extract_epi32(bytes, 1);
    *(int32_t*)(at + 8 * TILE_ROWS) = _mm_extract_epi32(bytes, 2);
    *(int32_t*)(at + 12 * TILE_ROWS) = _mm_extract_epi32(bytes, 3);
  }
}

// One tile of ROWS rows times one panel: `sums` is (ROWS, 32). A function of its own, and no larger,
// so that the compiler keeps every sum in a register.
template <int ROWS>
__attribute__((noinline)) void tile_sums(const uint8_t* x, const int8_t* weight, int64_t inputs,
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

using TileSums = void (*)(const uint8_t*, const int8_t*, int64_t, const int32_t*, int32_t*);
constexpr TileSums TILE_SUMS[TILE_ROWS] = {
    tile_sums<1>, tile_sums<2>, tile_sums<3>, tile_sums<4>,  tile_sums<5>,  tile_sums<6>,
    tile_sums<7>, tile_sums<8>, tile_sums<9>, tile_sums<10>, tile_sums<11>, tile_sums<12>,
};

// A panel times the rows from `row` to `end`, tile by tile; `row` begins a tile.
// `finish(row, left, right)` takes the panel's 32 outputs of a row, scaled by weight and row.
template <class Finish>
static inline void panel_product(Rows x, int64_t row, int64_t end, const Linear& w, int64_t panel,
                                 Finish finish) {
  const int64_t first = panel * PANEL_OUTPUTS;
  const __m512 left_scale = _mm512_loadu_ps(w.scale + first);
  const __m512 right_scale = _mm512_loadu_ps(w.scale + first + LANES);
  for (; row < end; row += TILE_ROWS) {
    alignas(64) int32_t sums[TILE_ROWS * PANEL_OUTPUTS];
    const int64_t count = std::min<int64_t>(end - row, TILE_ROWS);
    TILE_SUMS[count - 1](x.bytes + row * w.inputs, w.weight + first * w.inputs, w.inputs,
                         w.shift + first, sums);
    for (int64_t r = 0; r < count; r++) {
      const __m512 scale = _mm512_set1_ps(x.scale[row + r]);
      const int32_t* of = sums + r * PANEL_OUTPUTS;
      const __m512 left = _mm512_cvtepi32_ps(_mm512_load_si512(of));
      const __m512 right = _mm512_cvtepi32_ps(_mm512_load_si512(of + LANES));
      finish(row + r, _mm512_mul_ps(_mm512_mul_ps(left, left_scale), scale),
             _mm512_mul_ps(_mm512_mul_ps(right, right_scale), scale));
    }
  }
}
