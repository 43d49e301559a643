// Rows of inputs rounded to bytes, in the order in which the products read them.
//
// Rows lie in tiles of 12, (rows / 12, I / 4, 12, 4): four consecutive inputs of each of twelve rows.
// They are shifted by 128 into unsigned bytes; the products take the shift out again.
#pragma once

#include "simd.h"

constexpr int TILE_ROWS = 12;

// Bytes in tiles, and the scale of each row.
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
