// Vectors in AVX-512 with VNNI, and with bf16 if the CPU has it (see simd.h). The compiler provides
// +, -, * and /.
#pragma once

using Floats = __m512;
using Pairs = __m512i;  // pairs of bf16, one per lane

static inline Floats load(const float* x) { return _mm512_loadu_ps(x); }
static inline void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
static inline Floats splat(float x) { return _mm512_set1_ps(x); }
static inline Floats load_ints(const int32_t* x) {
  return _mm512_cvtepi32_ps(_mm512_loadu_si512(x));
}

// Store without filling the caches; `to` is a multiple of 64.
static inline void stream(float* to, Floats x) { _mm512_stream_ps(to, x); }

// The first `count` numbers; the other lanes are `otherwise`.
static inline Floats load_first(int count, const float* x, float otherwise) {
  return _mm512_mask_loadu_ps(splat(otherwise), (__mmask16)((1u << count) - 1), x);
}

static inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
static inline Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
static inline float max_of(Floats x) { return _mm512_reduce_max_ps(x); }
static inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }

static inline bool any_above(Floats x, Floats bound) {
  return _mm512_cmp_ps_mask(x, bound, _CMP_GT_OQ);
}

static inline Floats keep_first(int count, Floats x, float otherwise) {
  return _mm512_mask_blend_ps((__mmask16)((1u << count) - 1), splat(otherwise), x);
}

static inline Floats rounded(Floats x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// x · 2^power for integer powers.
static inline Floats times_power(Floats x, Floats power) { return _mm512_scalef_ps(x, power); }

// sums += unsigned bytes · signed bytes, four products per lane. This is assembly because GCC 12
// spills every accumulator around the intrinsic, which halves the speed.
static inline void dot_bytes(__m512i& sums, __m512i unsigned_bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(unsigned_bytes), "v"(signed_bytes));
}

static inline Pairs load_pairs(const bf16* x) { return _mm512_loadu_si512(x); }

// The pair at x in every lane.
static inline Pairs splat_pairs(const bf16* x) {
  int32_t pair;
  memcpy(&pair, x, sizeof(pair));
  return _mm512_set1_epi32(pair);
}

// sums += products of bf16 pairs, two per lane.
static inline void dot_pairs(Floats& sums, Pairs left, Pairs right) {
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

// Rounded to nearest even.
static inline void store_bf16(bf16* to, Floats x) {
#ifdef __AVX512BF16__
  const __m256i half = (__m256i)_mm512_cvtneps_pbh(x);
#else
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
#endif
  _mm256_storeu_si256((__m256i*)to, half);
}

static inline Floats load_bf16(const bf16* x) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

using Input = uint8_t;  // type of a quantized input

// Round numbers in [-128, 127], add 128, and store them at `to` in groups of four, `stride` apart.
static inline void store_inputs(Input* to, int64_t stride, Floats x) {
  const __m512i shifted = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(128));
  const __m128i bytes = _mm512_cvtepi32_epi8(shifted);
  const auto put = [&](int64_t at, int32_t four) { memcpy(to + at, &four, sizeof(four)); };
  put(0, _mm_extract_epi32(bytes, 0));
  put(stride, _mm_extract_epi32(bytes, 1));
  put(2 * stride, _mm_extract_epi32(bytes, 2));
  put(3 * stride, _mm_extract_epi32(bytes, 3));
}

// Store integers in [-128, 127] at `to` in groups of four, `stride` apart.
static inline void store_bytes(int8_t* to, int64_t stride, Floats x) {
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x));
  const auto put = [&](int64_t at, int32_t four) { memcpy(to + at, &four, sizeof(four)); };
  put(0, _mm_extract_epi32(bytes, 0));
  put(stride, _mm_extract_epi32(bytes, 1));
  put(2 * stride, _mm_extract_epi32(bytes, 2));
  put(3 * stride, _mm_extract_epi32(bytes, 3));
}

// Vectors of sixteen integers, and of 64 bytes: four bytes for each of the sixteen. The compiler
// provides +, - and |.
using Ints = int32_t __attribute__((vector_size(64)));
using Bytes = __m512i;

static inline Bytes load_64(const uint8_t* x) { return _mm512_loadu_si512(x); }
// The bits of `mask` in all bytes, after a shift to the left by SHIFT or to the right by -SHIFT.
template <int SHIFT>
static inline Bytes bits_of(Bytes x, uint8_t mask) {
  if constexpr (SHIFT > 0) x = _mm512_slli_epi16(x, SHIFT);
  if constexpr (SHIFT < 0) x = _mm512_srli_epi16(x, -SHIFT);
  return _mm512_and_si512(x, _mm512_set1_epi8((char)mask));
}
// Entries of a table of 16 bytes.
static inline Bytes look_up(const uint8_t* table, Bytes at) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table)), at);
}
static inline Floats to_floats(Ints x) { return _mm512_cvtepi32_ps((__m512i)x); }
static inline Ints widen_bytes(__m128i x) { return (Ints)_mm512_cvtepu8_epi32(x); }
static inline Ints widen_signed_bytes(__m128i x) { return (Ints)_mm512_cvtepi8_epi32(x); }
static inline Floats load_half(const uint8_t* x) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)x));
}
// 2^(e - 128) for integers from 0 to 255; the first two are not normal.
static inline Floats half_powers(Ints e) {
  const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), (__m512i)e);
  const __m512i normal = (__m512i)((e - 1) << 23);
  const __mmask16 is_normal = _mm512_cmpgt_epi32_mask((__m512i)e, _mm512_set1_epi32(1));
  return _mm512_castsi512_ps(_mm512_mask_blend_epi32(is_normal, tiny, normal));
}
