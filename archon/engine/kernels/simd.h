// The vector instructions that the kernels are made of: AVX-512 with VNNI, and bf16 where there is.
//
// Results depend on nothing but the operands: no reassociation, no contraction into other
// operations than those written here (the file is compiled with -ffp-contract=off).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

using bf16 = uint16_t;

constexpr int LANES = 16;  // 32-bit numbers in a vector

// sums += unsigned bytes · signed bytes, four products a lane. Written as assembly since GCC 12
// spills every accumulator around the intrinsic, which costs half the speed.
static inline void dot_bytes(__m512i& sums, __m512i unsigned_bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(unsigned_bytes), "v"(signed_bytes));
}

// sums += products of bf16 pairs, two a lane.
static inline void dot_bf16(__m512& sums, __m512i left, __m512i right) {
#ifdef __AVX512BF16__
  asm("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(left), "v"(right));
#else
  const __m512i high = _mm512_set1_epi32(0xffff0000);
  const auto odd = [&](__m512i x) { return _mm512_castsi512_ps(_mm512_and_si512(x, high)); };
  const auto even = [&](__m512i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); };
  sums = _mm512_fmadd_ps(odd(left), odd(right), sums);
  sums = _mm512_fmadd_ps(even(left), even(right), sums);
#endif
}

// Sixteen floats → bf16, rounded to nearest even.
static inline __m256i to_bf16(__m512 x) {
#ifdef __AVX512BF16__
  return (__m256i)_mm512_cvtneps_pbh(x);
#else
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

static inline __m512 from_bf16(const bf16* x) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// 2^x, to within 2 units in the last place; 0 for very negative x, which must be finite. A polynomial for the
// fractional part in [-1/2, 1/2], its coefficients those of 2^f's Taylor series up to degree 6.
static inline __m512 exp2_ps(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.5403530e-4f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.3333558e-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.6181291e-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.5504109e-2f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022651e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314718e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, whole);
}

static inline __m512 exp_ps(__m512 x) {
  return exp2_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)));
}
