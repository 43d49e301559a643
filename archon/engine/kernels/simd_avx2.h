// Vectors in AVX2 (see simd.h), each a pair of registers. Results are bit-identical to those of
// AVX-512 without bf16, except that powers below 2^-126 become 0.
#pragma once

struct Floats {
  __m256 low, high;
};

static inline Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
static inline Floats operator-(Floats a, Floats b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
static inline Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
static inline Floats operator/(Floats a, Floats b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}

static inline Floats load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
static inline void store(float* to, Floats x) {
  _mm256_storeu_ps(to, x.low);
  _mm256_storeu_ps(to + 8, x.high);
}
static inline Floats splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline Floats load_ints(const int32_t* x) {
  return {_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i*)x)),
          _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i*)(x + 8)))};
}

// Store without filling the caches; `to` is a multiple of 64.
static inline void stream(float* to, Floats x) {
  _mm256_stream_ps(to, x.low);
  _mm256_stream_ps(to + 8, x.high);
}

// The first `count` numbers; the other lanes are `otherwise`.
static inline Floats load_first(int count, const float* x, float otherwise) {
  float some[LANES];
  for (int i = 0; i < LANES; i++) some[i] = i < count ? x[i] : otherwise;
  return load(some);
}

static inline Floats fma(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
static inline Floats larger(Floats a, Floats b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
static inline Floats magnitude(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}

static inline float max_of(Floats x) {
  const __m256 of8 = _mm256_max_ps(x.low, x.high);
  const __m128 of4 = _mm_max_ps(_mm256_castps256_ps128(of8), _mm256_extractf128_ps(of8, 1));
  const __m128 of2 = _mm_max_ps(of4, _mm_movehl_ps(of4, of4));
  return _mm_cvtss_f32(_mm_max_ss(of2, _mm_shuffle_ps(of2, of2, 1)));
}

static inline float sum_of(Floats x) {
  const __m256 of8 = _mm256_add_ps(x.low, x.high);
  const __m128 of4 = _mm_add_ps(_mm256_castps256_ps128(of8), _mm256_extractf128_ps(of8, 1));
  const __m128 of2 = _mm_add_ps(of4, _mm_movehl_ps(of4, of4));
  return _mm_cvtss_f32(_mm_add_ss(of2, _mm_shuffle_ps(of2, of2, 1)));
}

static inline bool any_above(Floats x, Floats bound) {
  const __m256 low = _mm256_cmp_ps(x.low, bound.low, _CMP_GT_OQ);
  const __m256 high = _mm256_cmp_ps(x.high, bound.high, _CMP_GT_OQ);
  return _mm256_movemask_ps(_mm256_or_ps(low, high));
}

static inline Floats keep_first(int count, Floats x, float otherwise) {
  float some[LANES];
  store(some, x);
  return load_first(count, some, otherwise);
}

static inline Floats rounded(Floats x) {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, nearest), _mm256_round_ps(x.high, nearest)};
}

// x · 2^power for integer powers.
static inline Floats times_power(Floats x, Floats power) {
  const auto times = [](__m256 x, __m256 power) {
    const __m256 some = _mm256_max_ps(_mm256_min_ps(power, _mm256_set1_ps(128)), _mm256_set1_ps(-127));
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(some), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  };
  return {times(x.low, power.low), times(x.high, power.high)};
}

// Pairs of bf16, one per lane: the second numbers of the pairs, and the first ones.
struct Pairs {
  Floats odd, even;
};

static inline __m256 odd_of(__m256i x) {
  return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(0xffff0000)));
}
static inline __m256 even_of(__m256i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)); }

static inline Pairs load_pairs(const bf16* x) {
  const __m256i low = _mm256_loadu_si256((const __m256i*)x);
  const __m256i high = _mm256_loadu_si256((const __m256i*)(x + LANES));
  return {{odd_of(low), odd_of(high)}, {even_of(low), even_of(high)}};
}

// The pair at x in every lane.
static inline Pairs splat_pairs(const bf16* x) {
  int32_t pair;
  memcpy(&pair, x, sizeof(pair));
  const __m256i same = _mm256_set1_epi32(pair);
  return {{odd_of(same), odd_of(same)}, {even_of(same), even_of(same)}};
}

// sums += products of bf16 pairs, two per lane.
static inline void dot_pairs(Floats& sums, Pairs left, Pairs right) {
  sums = fma(left.odd, right.odd, sums);
  sums = fma(left.even, right.even, sums);
}

// Rounded to nearest even.
static inline void store_bf16(bf16* to, Floats x) {
  const auto half = [](__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    return _mm256_srli_epi32(up, 16);
  };
  const __m256i mixed = _mm256_packus_epi32(half(x.low), half(x.high));  // halves of registers are interleaved
  _mm256_storeu_si256((__m256i*)to, _mm256_permute4x64_epi64(mixed, 0b11011000));
}

static inline __m256 load_eight_bf16(const bf16* x) {
  return even_of(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)x)));
}
static inline Floats load_bf16(const bf16* x) {
  return {load_eight_bf16(x), load_eight_bf16(x + 8)};
}

using Input = uint16_t;  // type of a quantized input

// Round numbers in [-128, 127], add 128, and store them at `to` in groups of four, `stride` apart.
static inline void store_inputs(Input* to, int64_t stride, Floats x) {
  const __m256i middle = _mm256_set1_epi32(128);
  const __m256i low = _mm256_add_epi32(_mm256_cvtps_epi32(x.low), middle);
  const __m256i high = _mm256_add_epi32(_mm256_cvtps_epi32(x.high), middle);
  const __m256i mixed = _mm256_packus_epi32(low, high);
  alignas(32) Input words[LANES];
  _mm256_store_si256((__m256i*)words, _mm256_permute4x64_epi64(mixed, 0b11011000));
  for (int i = 0; i < LANES; i += 4) memcpy(to + i / 4 * stride, words + i, 4 * sizeof(Input));
}

// The four inputs at x, repeated four times.
static inline __m256i four_inputs(const Input* x) {
  int64_t four;
  memcpy(&four, x, sizeof(four));
  return _mm256_set1_epi64x(four);
}

// sums += products of 16-bit pairs, two per lane. This is assembly because GCC 12 would compute all
// products before adding them, and run out of registers.
static inline void dot_words(__m256i& sums, __m256i left, __m256i right) {
  __m256i products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sums), "=&x"(products)
      : "x"(left), "x"(right));
}

// The sums of the eight pairs in two registers of four, in order.
static inline __m256i sums_of_pairs(__m256i first, __m256i last) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, last), 0b11011000);
}

// Store integers in [-128, 127] at `to` in groups of four, `stride` apart.
static inline void store_bytes(int8_t* to, int64_t stride, Floats x) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high));
  const __m256i bytes = _mm256_packs_epi16(words, words);  // groups 0, 2 | 1, 3
  const __m128i even = _mm256_castsi256_si128(bytes), odd = _mm256_extracti128_si256(bytes, 1);
  const auto put = [&](int64_t at, int32_t four) { memcpy(to + at, &four, sizeof(four)); };
  put(0, _mm_extract_epi32(even, 0));
  put(stride, _mm_extract_epi32(odd, 0));
  put(2 * stride, _mm_extract_epi32(even, 1));
  put(3 * stride, _mm_extract_epi32(odd, 1));
}

// Vectors of sixteen integers, and of 64 bytes: four bytes for each of the sixteen.
struct Ints {
  __m256i low, high;
};
using Bytes = Ints;

static inline Bytes load_64(const uint8_t* x) {
  return {_mm256_loadu_si256((const __m256i*)x), _mm256_loadu_si256((const __m256i*)(x + 32))};
}
static inline Bytes operator|(Bytes a, Bytes b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
// The bits of `mask` in all bytes, after a shift to the left by SHIFT or to the right by -SHIFT.
template <int SHIFT>
static inline Bytes bits_of(Bytes x, uint8_t mask) {
  const auto of = [&](__m256i x) {
    if constexpr (SHIFT > 0) x = _mm256_slli_epi16(x, SHIFT);
    if constexpr (SHIFT < 0) x = _mm256_srli_epi16(x, -SHIFT);
    return _mm256_and_si256(x, _mm256_set1_epi8((char)mask));
  };
  return {of(x.low), of(x.high)};
}
// Entries of a table of 16 bytes.
static inline Bytes look_up(const uint8_t* table, Bytes at) {
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
  return {_mm256_shuffle_epi8(both, at.low), _mm256_shuffle_epi8(both, at.high)};
}
static inline Ints operator+(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
static inline Ints operator-(Ints a, Ints b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
static inline Floats to_floats(Ints x) {
  return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
}
static inline Ints widen_bytes(__m128i x) {
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
static inline Ints widen_signed_bytes(__m128i x) {
  return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}

static inline Floats load_half(const uint8_t* x) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)x)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(x + 16)))};
}
// 2^(e - 128) for integers from 0 to 255; the first two are not normal.
static inline Floats half_powers(Ints e) {
  const auto of = [](__m256i e) {
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, one)));
  };
  return {of(e.low), of(e.high)};
}

// sums += unsigned bytes · signed bytes, two products per 16-bit lane. Assembly, as `dot_words`.
static inline void dot_bytes(__m256i& sums, __m256i unsigned_bytes, __m256i signed_bytes) {
  __m256i products;
  asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"
      : "+x"(sums), "=&x"(products)
      : "x"(unsigned_bytes), "x"(signed_bytes));
}
