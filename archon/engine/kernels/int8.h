// Weights in int8: a tile of rows times a panel of outputs, exact in int32.
//
// A weight of O outputs and I inputs lies in panels of 32 outputs, (O / 32, I / 4, 32, 4): one
// vector holds four consecutive inputs of sixteen outputs, as the dot-product instruction wants
// them. `shift` = -128 · (sum of an output's weights) takes the shift of the rows out again.
//
// A tile times a panel fills 24 of the 32 registers with sums, which is what keeps the
// multipliers busy; the panel stays in the first-level cache while the tiles pass by.
#pragma once

#include "rows.h"

constexpr int PANEL_OUTPUTS = 32;

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
