// Products of quantized rows with a quantized weight: y = x · Wᵀ.
//
// A row's result depends on that row only: sums are exact or have a fixed order.
#pragma once

#include <algorithm>
#include <cmath>

#include "blocks.h"
#include "int4.h"
#include "int8.h"

// A linear layer of `outputs` and `inputs`, packed by `packing.py`: int8; int4 if group_scale is not
// null; or the blocks of a file if strip_format is not null.
struct Linear {
  const void* weight;
  const float* scale;        // int8: scale of each output
  const int32_t* shift;      // int8: see int8.h
  const bf16* group_scale;   // int4: scale of each group, (O / 32, I / 32, 32)
  const float* offset;       // int4: see int4.h
  const int32_t* strip_format;  // blocks: number of each strip's format, see blocks.h
  const int64_t* strip_start;   // blocks: first byte of each strip
  const float* bias;         // bias of each output, or null
  int64_t outputs, inputs;

  int64_t panels() const { return (outputs + PANEL_OUTPUTS - 1) / PANEL_OUTPUTS; }
};

// One tile of rows with one scale each times one panel, without these scales: `sums` is (12, 32).
static inline void tile_product(const Input* x, int64_t rows, const Linear& w, int64_t panel,
                                float* sums) {
  const int64_t first = panel * PANEL_OUTPUTS;
  if (w.group_scale) {
    const auto* weight = (const uint8_t*)w.weight + first * w.inputs / 2;
    const bf16* scale = w.group_scale + first * (w.inputs / GROUP_INPUTS);
    for (int64_t r = 0; r < rows; r += HALF_TILE_ROWS)
      HALF_TILE_SUMS[std::min<int64_t>(rows - r, HALF_TILE_ROWS) - 1](
          x + 4 * r, weight, w.inputs, scale, w.offset + first, sums + r * PANEL_OUTPUTS);
    return;
  }
  auto* exact = (int32_t*)sums;
  TILE_SUMS[rows - 1](x, (const int8_t*)w.weight + first * w.inputs, w.inputs, w.shift + first,
                      exact);
  const Floats left = load(w.scale + first), right = load(w.scale + first + LANES);
  for (int64_t i = 0; i < rows * PANEL_OUTPUTS; i += PANEL_OUTPUTS) {
    const Floats a = load_ints(exact + i), b = load_ints(exact + i + LANES);
    store(sums + i, a * left);
    store(sums + i + LANES, b * right);
  }
}

// The weights of one output, (I,), of a layer with the blocks of a file.
static inline void weight_row(const Linear& w, int64_t output, float* to) {
  const int64_t strip = output / STRIP_OUTPUTS;
  strip_row(w.strip_format[strip], (const uint8_t*)w.weight + w.strip_start[strip],
            (int)(output % STRIP_OUTPUTS), w.inputs, to);
}

// A panel times rows `row` to `end` - 1, tile by tile; `row` is the first of a tile.
// `finish(row, left, right)` receives the panel's 32 outputs for a row.
template <class Finish>
static inline void panel_product(Rows x, int64_t row, int64_t end, const Linear& w, int64_t panel,
                                 Finish finish) {
  for (; row < end; row += TILE_ROWS) {
    alignas(64) float sums[TILE_ROWS * PANEL_OUTPUTS];
    const int64_t count = std::min<int64_t>(end - row, TILE_ROWS);
    if (w.strip_format) {
      for (int64_t half = 0; half < 2; half++) {
        const int64_t strip = 2 * panel + half;
        strip_product(w.strip_format[strip], x.groups, row / TILE_ROWS, count,
                      (const uint8_t*)w.weight + w.strip_start[strip], w.inputs,
                      sums + half * STRIP_OUTPUTS);
      }
      for (int64_t r = 0; r < count; r++)
        finish(row + r, load(sums + r * PANEL_OUTPUTS), load(sums + r * PANEL_OUTPUTS + LANES));
      continue;
    }
    tile_product(x.inputs + row * w.inputs, count, w, panel, sums);
    for (int64_t r = 0; r < count; r++) {
      const Floats scale = splat(x.scale[row + r]);
      const float* of = sums + r * PANEL_OUTPUTS;
      finish(row + r, load(of) * scale, load(of + LANES) * scale);
    }
  }
}

// Distribute the panels of a weight over the threads of a parallel region. Rows form chunks that fit
// the second-level cache; `body(panel, row, end)` computes a panel for one chunk.
template <class Body>
static inline void each_panel(const Linear& w, int64_t rows, int64_t threads, Body body) {
  const int64_t tiles = std::max<int64_t>(1, (640 << 10) / (w.inputs * TILE_ROWS * sizeof(Input)));
  const int64_t rows_per_chunk = tiles * TILE_ROWS, panels = w.panels();
  const int64_t chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
  const int64_t panels_per_task = std::max<int64_t>(1, panels / (threads * 8));
#pragma omp for schedule(dynamic, panels_per_task)
  for (int64_t item = 0; item < chunks * panels; item++) {
    const int64_t row = item / panels * rows_per_chunk;
    body(item % panels, row, std::min(rows, row + rows_per_chunk));
  }
}

// All rows times a weight: `out` is (rows, O). `adjust(row, panel, left, right)` may change a row's
// outputs of a panel before the bias is added.
template <class Adjust>
static inline void product(Rows x, int64_t rows, const Linear& w, int64_t threads, float* out,
                           Adjust adjust) {
  each_panel(w, rows, threads, [&](int64_t panel, int64_t row, int64_t end) {
    const int64_t at = panel * PANEL_OUTPUTS;
    Floats left_bias = splat(0), right_bias = left_bias;
    if (w.bias) {
      left_bias = load(w.bias + at);
      right_bias = load(w.bias + at + LANES);
    }
    panel_product(x, row, end, w, panel, [&](int64_t n, Floats left, Floats right) {
      adjust(n, panel, left, right);
      float* to = out + n * w.outputs + at;
      store(to, left + left_bias);
      store(to + LANES, right + right_bias);
    });
  });
}
