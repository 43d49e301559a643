// Vectors of sixteen 32-bit numbers: one register of AVX-512, or two of AVX2.
//
// Results depend on the operands only: the compiler neither reorders nor fuses the operations that are
// written here (-ffp-contract=off).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

using bf16 = uint16_t;

constexpr int LANES = 16;  // 32-bit numbers in a vector

#ifdef __AVX512F__
#include "simd_avx512.h"
#else
#include "simd_avx2.h"
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
