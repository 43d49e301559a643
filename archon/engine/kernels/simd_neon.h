// Vectors in NEON (see simd.h), four registers each. Results are equal to the bit to those of AVX2.
#pragma once

struct Floats {
  float32x4_t of[4];
};

// Apply a function to the four registers.
template <class Function>
static inline __attribute__((always_inline)) Floats each_of(Function f) {
  return {f(0), f(1), f(2), f(3)};
}

static inline Floats operator+(Floats a, Floats b) {
  return each_of([&](int i) { return vaddq_f32(a.of[i], b.of[i]); });
}
static inline Floats operator-(Floats a, Floats b) {
  return each_of([&](int i) { return vsubq_f32(a.of[i], b.of[i]); });
}
static inline Floats operator*(Floats a, Floats b) {
  return each_of([&](int i) { return vmulq_f32(a.of[i], b.of[i]); });
}
static inline Floats operator/(Floats a, Floats b) {
  return each_of([&](int i) { return vdivq_f32(a.of[i], b.of[i]); });
}

static inline Floats load(const float* x) {
  return each_of([&](int i) { return vld1q_f32(x + 4 * i); });
}
static inline void store(float* to, Floats x) {
  for (int i = 0; i < 4; i++) vst1q_f32(to + 4 * i, x.of[i]);
}
static inline Floats splat(float x) {
  return each_of([&](int) { return vdupq_n_f32(x); });
}
static inline Floats load_ints(const int32_t* x) {
  return each_of([&](int i) { return vcvtq_f32_s32(vld1q_s32(x + 4 * i)); });
}

// NEON cannot store past the caches.
static inline void stream(float* to, Floats x) { store(to, x); }
static inline void finish_streams() {}

// The first `count` numbers; the other lanes are `otherwise`.
static inline Floats load_first(int count, const float* x, float otherwise) {
  float some[LANES];
  for (int i = 0; i < LANES; i++) some[i] = i < count ? x[i] : otherwise;
  return load(some);
}

static inline Floats fma(Floats a, Floats b, Floats c) {
  return each_of([&](int i) { return vfmaq_f32(c.of[i], a.of[i], b.of[i]); });
}
// b where one of the two is not a number, as on x86.
static inline Floats larger(Floats a, Floats b) {
  return each_of([&](int i) { return vbslq_f32(vcgtq_f32(a.of[i], b.of[i]), a.of[i], b.of[i]); });
}
static inline Floats magnitude(Floats x) {
  return each_of([&](int i) { return vabsq_f32(x.of[i]); });
}

static inline float max_of(Floats x) {
  const float32x4_t of8[2] = {vmaxnmq_f32(x.of[0], x.of[2]), vmaxnmq_f32(x.of[1], x.of[3])};
  return vmaxnmvq_f32(vmaxnmq_f32(of8[0], of8[1]));
}

static inline float sum_of(Floats x) {
  const float32x4_t of4 =
      vaddq_f32(vaddq_f32(x.of[0], x.of[2]), vaddq_f32(x.of[1], x.of[3]));
  const float32x2_t of2 = vadd_f32(vget_low_f32(of4), vget_high_f32(of4));
  return vget_lane_f32(of2, 0) + vget_lane_f32(of2, 1);
}

static inline bool any_above(Floats x, Floats bound) {
  uint32x4_t any = vdupq_n_u32(0);
  for (int i = 0; i < 4; i++) any = vorrq_u32(any, vcgtq_f32(x.of[i], bound.of[i]));
  return vmaxvq_u32(any) != 0;
}

static inline Floats keep_first(int count, Floats x, float otherwise) {
  float some[LANES];
  store(some, x);
  return load_first(count, some, otherwise);
}

static inline Floats rounded(Floats x) {
  return each_of([&](int i) { return vrndnq_f32(x.of[i]); });
}

// x · 2^power for integer powers.
static inline Floats times_power(Floats x, Floats power) {
  return each_of([&](int i) {
    const float32x4_t some =
        vmaxq_f32(vminq_f32(power.of[i], vdupq_n_f32(128)), vdupq_n_f32(-127));
    const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(some), vdupq_n_s32(127));
    return vmulq_f32(x.of[i], vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
  });
}

// Pairs of bf16, one per lane: the second numbers of the pairs, and the first ones.
struct Pairs {
  Floats odd, even;
};

static inline float32x4_t odd_of(uint32x4_t x) {
  return vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff0000)));
}
static inline float32x4_t even_of(uint32x4_t x) {
  return vreinterpretq_f32_u32(vshlq_n_u32(x, 16));
}

static inline Pairs load_pairs(const bf16* x) {
  const auto four = [&](int i) { return vreinterpretq_u32_u16(vld1q_u16(x + 8 * i)); };
  return {each_of([&](int i) { return odd_of(four(i)); }),
          each_of([&](int i) { return even_of(four(i)); })};
}

// The pair at x in every lane.
static inline Pairs splat_pairs(const bf16* x) {
  uint32_t pair;
  memcpy(&pair, x, sizeof(pair));
  const uint32x4_t same = vdupq_n_u32(pair);
  const float32x4_t odd = odd_of(same), even = even_of(same);
  return {{odd, odd, odd, odd}, {even, even, even, even}};
}

// sums += products of bf16 pairs, two per lane.
static inline void dot_pairs(Floats& sums, Pairs left, Pairs right) {
  sums = fma(left.odd, right.odd, sums);
  sums = fma(left.even, right.even, sums);
}

// Rounded to nearest even.
static inline void store_bf16(bf16* to, Floats x) {
  for (int i = 0; i < 4; i++) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x.of[i]);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    vst1_u16(to + 4 * i, vshrn_n_u32(up, 16));
  }
}

static inline Floats load_bf16(const bf16* x) {
  return each_of([&](int i) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(x + 4 * i)), 16));
  });
}

using Input = uint8_t;  // type of a quantized input

// Integers in [-128, 127] as bytes.
static inline int8x16_t bytes_of(Floats x) {
  const auto words = [&](int i) { return vmovn_s32(vcvtnq_s32_f32(x.of[i])); };
  const int16x8_t low = vcombine_s16(words(0), words(1)), high = vcombine_s16(words(2), words(3));
  return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

// Store bytes at `to` in groups of four, `stride` apart.
static inline void store_fours(void* to, int64_t stride, int8x16_t bytes) {
  const int32x4_t fours = vreinterpretq_s32_s8(bytes);
  const int32_t all[4] = {vgetq_lane_s32(fours, 0), vgetq_lane_s32(fours, 1),
                          vgetq_lane_s32(fours, 2), vgetq_lane_s32(fours, 3)};
  for (int i = 0; i < 4; i++) memcpy((uint8_t*)to + i * stride, all + i, sizeof(int32_t));
}

// Round numbers in [-128, 127], add 128, and store them at `to` in groups of four, `stride` apart.
static inline void store_inputs(Input* to, int64_t stride, Floats x) {
  store_fours(to, stride, veorq_s8(bytes_of(x), vdupq_n_s8(-128)));
}

// Store integers in [-128, 127] at `to` in groups of four, `stride` apart.
static inline void store_bytes(int8_t* to, int64_t stride, Floats x) {
  store_fours(to, stride, bytes_of(x));
}

// Sixteen bytes.
using Sixteen = uint8x16_t;

static inline Sixteen load_16(const uint8_t* x) { return vld1q_u8(x); }
// The bits of `mask` in all bytes, after a shift to the left by SHIFT or to the right by -SHIFT.
template <int SHIFT>
static inline Sixteen bits_of(Sixteen x, uint8_t mask) {
  if constexpr (SHIFT > 0) x = vshlq_n_u8(x, SHIFT);
  if constexpr (SHIFT < 0) x = vshrq_n_u8(x, -SHIFT);
  return vandq_u8(x, vdupq_n_u8(mask));
}

// Vectors of sixteen integers, and of 64 bytes: four bytes for each of the sixteen.
struct Ints {
  int32x4_t of[4];
};
struct Bytes {
  uint8x16_t of[4];
};

static inline Bytes load_64(const uint8_t* x) {
  return {vld1q_u8(x), vld1q_u8(x + 16), vld1q_u8(x + 32), vld1q_u8(x + 48)};
}
static inline Bytes operator|(Bytes a, Bytes b) {
  for (int i = 0; i < 4; i++) a.of[i] = vorrq_u8(a.of[i], b.of[i]);
  return a;
}
template <int SHIFT>
static inline Bytes bits_of(Bytes x, uint8_t mask) {
  for (int i = 0; i < 4; i++) x.of[i] = bits_of<SHIFT>(x.of[i], mask);
  return x;
}
// Entries of a table of 16 bytes.
static inline Bytes look_up(const uint8_t* table, Bytes at) {
  for (int i = 0; i < 4; i++) at.of[i] = vqtbl1q_u8(vld1q_u8(table), at.of[i]);
  return at;
}
static inline Ints operator+(Ints a, Ints b) {
  for (int i = 0; i < 4; i++) a.of[i] = vaddq_s32(a.of[i], b.of[i]);
  return a;
}
static inline Ints operator-(Ints a, Ints b) {
  for (int i = 0; i < 4; i++) a.of[i] = vsubq_s32(a.of[i], b.of[i]);
  return a;
}
static inline Ints operator*(Ints a, Ints b) {
  for (int i = 0; i < 4; i++) a.of[i] = vmulq_s32(a.of[i], b.of[i]);
  return a;
}
static inline Ints splat_int(int32_t x) {
  return {vdupq_n_s32(x), vdupq_n_s32(x), vdupq_n_s32(x), vdupq_n_s32(x)};
}
static inline Floats to_floats(Ints x) {
  return each_of([&](int i) { return vcvtq_f32_s32(x.of[i]); });
}
static inline Ints widen_signed_bytes(Sixteen bytes) {
  const int8x16_t x = vreinterpretq_s8_u8(bytes);
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  return {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
          vmovl_high_s16(high)};
}
static inline Ints widen_bytes(Sixteen x) {
  const uint16x8_t low = vmovl_u8(vget_low_u8(x)), high = vmovl_high_u8(x);
  const uint32x4_t all[4] = {vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low),
                             vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)};
  return {vreinterpretq_s32_u32(all[0]), vreinterpretq_s32_u32(all[1]),
          vreinterpretq_s32_u32(all[2]), vreinterpretq_s32_u32(all[3])};
}
static inline Floats load_half(const uint8_t* x) {
  return each_of([&](int i) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(x + 8 * i)));
  });
}
// 2^(e - 128) for integers from 0 to 255; the first two are not normal.
static inline Floats half_powers(Ints e) {
  return each_of([&](int i) {
    const int32x4_t tiny = vshlq_s32(vdupq_n_s32(0x00200000), e.of[i]);
    const int32x4_t normal = vshlq_n_s32(vsubq_s32(e.of[i], vdupq_n_s32(1)), 23);
    const uint32x4_t is_normal = vcgtq_s32(e.of[i], vdupq_n_s32(1));
    return vreinterpretq_f32_s32(vbslq_s32(is_normal, normal, tiny));
  });
}

// sums += four products of signed bytes per lane; `x` has the four bytes of row ROW of four.
template <int ROW>
static inline int32x4_t dot_bytes(int32x4_t sums, int8x16_t weights, int8x16_t x) {
#ifdef __ARM_FEATURE_DOTPROD
  return vdotq_laneq_s32(sums, weights, x, ROW);
#else
  const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x), ROW));
  const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(four));
  const int16x8_t high = vmull_high_s8(weights, four);
  return vaddq_s32(sums, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#endif
}

// Sums of up to four rows times sixteen outputs. With i8mm, an instruction multiplies eight inputs of
// two rows and two outputs; a register has the sums of two rows and two outputs.
template <int ROWS>
class RowSums {
 public:
  RowSums() {
    for (auto& row : sums)
      for (auto& four : row) four = vdupq_n_s32(0);
  }

  // Add eight inputs: `x` has four inputs of four rows, `weights` those of sixteen outputs, and
  // `next_x` and `next_weights` the next four.
  void add(int8x16_t x, const int8x16_t* weights, int8x16_t next_x, const int8x16_t* next_weights) {
    if constexpr (PAIRS) {
      const auto first = [](int8x16_t a, int8x16_t b) {
        return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
      };
      const auto last = [](int8x16_t a, int8x16_t b) {
        return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
      };
      const int8x16_t rows[2] = {first(x, next_x), last(x, next_x)};
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        const int8x16_t low = first(weights[j], next_weights[j]);
        const int8x16_t high = last(weights[j], next_weights[j]);
#pragma GCC unroll 2
        for (int p = 0; p < (ROWS + 1) / 2; p++) {
          multiply(sums[2 * p][j], rows[p], low);
          multiply(sums[2 * p + 1][j], rows[p], high);
        }
      }
    } else {
      add_four(x, weights);
      add_four(next_x, next_weights);
    }
  }

  Ints of(int r) const {
    Ints row;
    for (int j = 0; j < 4; j++) {
      row.of[j] = sums[r][j];
      if constexpr (PAIRS) {
        const int64x2_t low = vreinterpretq_s64_s32(sums[r / 2 * 2][j]);
        const int64x2_t high = vreinterpretq_s64_s32(sums[r / 2 * 2 + 1][j]);
        row.of[j] = vreinterpretq_s32_s64(r % 2 ? vtrn2q_s64(low, high) : vtrn1q_s64(low, high));
      }
    }
    return row;
  }

 private:
#ifdef __ARM_FEATURE_MATMUL_INT8
  static constexpr bool PAIRS = ROWS > 1;
  static void multiply(int32x4_t& to, int8x16_t x, int8x16_t w) { to = vmmlaq_s32(to, x, w); }
#else
  static constexpr bool PAIRS = false;
  static void multiply(int32x4_t&, int8x16_t, int8x16_t) {}
#endif

  void add_four(int8x16_t x, const int8x16_t* weights) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      sums[0][j] = dot_bytes<0>(sums[0][j], weights[j], x);
      if constexpr (ROWS > 1) sums[1][j] = dot_bytes<1>(sums[1][j], weights[j], x);
      if constexpr (ROWS > 2) sums[2][j] = dot_bytes<2>(sums[2][j], weights[j], x);
      if constexpr (ROWS > 3) sums[3][j] = dot_bytes<3>(sums[3][j], weights[j], x);
    }
  }

  int32x4_t sums[PAIRS ? (ROWS + 1) / 2 * 2 : ROWS][4];
};
