// Vectors of sixteen 32-bit numbers: one register of AVX-512, two of AVX2 or four of NEON.
//
// Results depend on the operands only: the compiler neither reorders nor fuses the operations that are
// written here (-ffp-contract=off).
#pragma once

#ifdef __aarch64__
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

using bf16 = uint16_t;

constexpr int LANES = 16;  // 32-bit numbers in a vector

#ifdef __aarch64__
#include "simd_neon.h"
#else

// Wait until streamed numbers can be read by other threads.
static inline void finish_streams() { _mm_sfence(); }

// Sixteen bytes.
using Sixteen = __m128i;

static inline Sixteen load_16(const uint8_t* x) { return _mm_loadu_si128((const __m128i*)x); }
// The bits of `mask` in all bytes, after a shift to the left by SHIFT or to the right by -SHIFT.
template <int SHIFT>
static inline Sixteen bits_of(Sixteen x, uint8_t mask) {
  if constexpr (SHIFT > 0) x = _mm_slli_epi16(x, SHIFT);
  if constexpr (SHIFT < 0) x = _mm_srli_epi16(x, -SHIFT);
  return _mm_and_si128(x, _mm_set1_epi8((char)mask));
}

#ifdef __AVX512F__
#include "simd_avx512.h"
#else
#include "simd_avx2.h"
#endif

#endif

// 2^x for finite x, with an error of at most 2 units in the last place; 0 for very negative x. x is
// split into an integer and a fraction f in [-1/2, 1/2]; 2^f is its Taylor polynomial of degree 6.
static inline Floats exp2_of(Floats x) {
  const Floats integer = rounded(x);
  const Floats f = x - integer;
  Floats y = splat(1.5403530e-4f);
  y = fma(y, f, splat(1.3333558e-3f));
  y = fma(y, f, splat(9.6181291e-3f));
  y = fma(y, f, splat(5.5504109e-2f));
  y = fma(y, f, splat(2.4022651e-1f));
  y = fma(y, f, splat(6.9314718e-1f));
  y = fma(y, f, splat(1.0f));
  return times_power(y, integer);
}

// The numbers after the first `count`; the first lanes are -1e30.
static inline Floats hide_first(int count, Floats x) {
  float some[LANES];
  store(some, x);
  for (int i = 0; i < count; i++) some[i] = -1e30f;
  return load(some);
}

static inline Floats exp_of(Floats x) { return exp2_of(x * splat(1.44269504f)); }

// tanh(x) = 1 - 2 / (1 + e^(2x)). Beyond 15 it is 1 in float32, and e^(2x) would overflow.
static inline Floats tanh_of(Floats x) {
  const Floats some = splat(0) - larger(splat(0) - x, splat(-15.0f));
  return splat(1) - splat(2) / (splat(1) + exp_of(some + some));
}
