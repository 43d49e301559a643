// Rows of quantized inputs, in the order in which the products read them.
//
// Rows form tiles of 12, (rows / 12, I / 4, 12, 4): four consecutive inputs of each of twelve rows.
// Inputs are shifted by 128 into unsigned bytes; the products cancel the shift.
#pragma once

#include "simd.h"

constexpr int TILE_ROWS = 12;

// Quantized inputs in tiles, and the scale of each row.
struct Rows {
  Input* inputs;
  float* scale;
};

// Quantize row `n` of `size` floats, a multiple of 16, with one scale: x ≈ scale · (input - 128).
static inline void quantize_row(const float* x, int64_t size, int64_t n, Rows out) {
  Floats tops = splat(1e-12f);
  for (int64_t i = 0; i < size; i += LANES) tops = larger(tops, magnitude(load(x + i)));
  const float top = max_of(tops);
  out.scale[n] = top / 127.0f;
  const Floats steps = splat(127.0f / top);
  Input* tile = out.inputs + n / TILE_ROWS * TILE_ROWS * size + n % TILE_ROWS * 4;
  for (int64_t i = 0; i < size; i += LANES)
    store_inputs(tile + i * TILE_ROWS, 4 * TILE_ROWS, load(x + i) * steps);
}
