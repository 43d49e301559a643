// Rows of quantized inputs, in the order in which the products read them.
//
// Rows form tiles of 12, (rows / 12, I / 4, 12, 4): four consecutive inputs of each of twelve rows.
//
// The int8 and int4 products read rows with one scale each, whose inputs are shifted by 128 into
// unsigned bytes; the products cancel the shift. The products with a file's blocks read rows with a
// scale per group of 32 inputs (see blocks.h), as signed bytes.
#pragma once

#include "simd.h"

constexpr int TILE_ROWS = 12;

constexpr int GROUP_INPUTS = 32;

// Inputs in groups that have a scale each; the arrays have an entry per group of each row,
// (rows / 12, I / 32, 12).
struct GroupedRows {
  int8_t* inputs;   // (rows / 12, I / 4, 12, 4)
  float* scale;
  float* sum;       // scale · sum of the group's inputs
  int16_t* halves;  // sums of the first and the last 16 inputs
};

// Quantized inputs in tiles, and the scale of each row; or groups.
struct Rows {
  Input* inputs;
  float* scale;
  GroupedRows groups;
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

// Quantize row `n` of `size` floats, a multiple of 32, with a scale per group: x ≈ scale · input.
static inline void quantize_groups(const float* x, int64_t size, int64_t n, GroupedRows out) {
  const int64_t tile = n / TILE_ROWS * TILE_ROWS * size, r = n % TILE_ROWS;
  for (int64_t i = 0; i < size; i += GROUP_INPUTS) {
    const Floats first = load(x + i), last = load(x + i + LANES);
    const float top = max_of(larger(larger(magnitude(first), magnitude(last)), splat(1e-12f)));
    const Floats steps = splat(127.0f / top);
    const Floats a = rounded(first * steps), b = rounded(last * steps);
    int8_t* to = out.inputs + tile + i * TILE_ROWS + r * 4;
    store_bytes(to, 4 * TILE_ROWS, a);
    store_bytes(to + 16 * TILE_ROWS, 4 * TILE_ROWS, b);
    const int64_t at = (tile + i * TILE_ROWS) / GROUP_INPUTS + r;
    const float sum_a = sum_of(a), sum_b = sum_of(b);  // exact: integers
    out.scale[at] = top / 127.0f;
    out.sum[at] = out.scale[at] * (sum_a + sum_b);
    out.halves[2 * at] = (int16_t)sum_a;
    out.halves[2 * at + 1] = (int16_t)sum_b;
  }
}
