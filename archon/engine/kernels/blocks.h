// Products with the blocks of a GGUF file: a tile of rows times a strip of 16 outputs.
//
// The weights are those of the file, to the bit; `block_packing.py` only reorders them. A strip is a
// sequence of blocks of 32 or 256 inputs. A block has the scales of its sixteen outputs, as they are
// in the file, and an integer code for each weight. Codes of 32 inputs are in eight vectors of 64
// bytes, four consecutive inputs of each output, as the dot-product instructions read them:
//
//   4 bits   (4, 16, 4) bytes; the halves of a byte are codes of vectors 2i and 2i + 1
//   5 bits   (16, 4) bytes with the fifth bit of vector i as bit i, then the lower four
//   6 bits   (2, 16, 4) bytes with the upper two bits of vectors 4j + i as bits 2i, then the lower four
//   8 bits   (8, 16, 4) bytes
//
// Inputs are signed bytes with a scale per group of 32 (`quantize_groups`), since the weights of a
// file cannot be rotated to remove outliers. Sums over a group, or half of it, are exact integers.
// They are scaled and added in float32, in order, without fused operations, so that other
// implementations can compute the same bits.
#pragma once

#include <type_traits>

#include "rows.h"

constexpr int STRIP_OUTPUTS = 16;

// Call `body` with the constants FIRST to END - 1.
template <int FIRST, int END, class Body>
static inline __attribute__((always_inline)) void each_constant(Body body) {
  if constexpr (FIRST < END) {
    body(std::integral_constant<int, FIRST>());
    each_constant<FIRST + 1, END>(body);
  }
}

// ------------------------------------------------------------------------------- codes
//
// `vector<I>` returns the codes of inputs 4·I to 4·I + 3 of a group. Codes are unsigned, up to MAX,
// except those of SignedBytes. `one` returns the code of one output and input.

struct Nibbles {
  static constexpr int BYTES = 256, MAX = 15;
  template <int I>
  static inline Bytes vector(const uint8_t* p) {
    return bits_of<I % 2 ? -4 : 0>(load_64(p + I / 2 * 64), 0x0f);
  }
  static inline int one(const uint8_t* p, int output, int i) {
    return p[i / 8 * 64 + output * 4 + i % 4] >> i / 4 % 2 * 4 & 15;
  }
};

struct FiveBits {
  static constexpr int BYTES = 64 + 256, MAX = 31;
  template <int I>
  static inline Bytes vector(const uint8_t* p) {
    return Nibbles::vector<I>(p + 64) | bits_of<4 - I>(load_64(p), 0x10);
  }
  static inline int one(const uint8_t* p, int output, int i) {
    const int high = p[output * 4 + i % 4] >> i / 4 & 1;
    return Nibbles::one(p + 64, output, i) | high << 4;
  }
};

struct SixBits {
  static constexpr int BYTES = 128 + 256, MAX = 63;
  template <int I>
  static inline Bytes vector(const uint8_t* p) {
    return Nibbles::vector<I>(p + 128) | bits_of<4 - I % 4 * 2>(load_64(p + I / 4 * 64), 0x30);
  }
  static inline int one(const uint8_t* p, int output, int i) {
    const int high = p[i / 16 * 64 + output * 4 + i % 4] >> i / 4 % 4 * 2 & 3;
    return Nibbles::one(p + 128, output, i) | high << 4;
  }
};

// Floating-point numbers of 4 bits (OCP MX): twice their values plus 12.
struct TinyFloats {
  static constexpr int BYTES = 256, MAX = 24;
  alignas(16) static constexpr uint8_t CODES[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                    12, 11, 10, 9,  8,  6,  4,  0};
  template <int I>
  static inline Bytes vector(const uint8_t* p) {
    return look_up(CODES, Nibbles::vector<I>(p));
  }
  static inline int one(const uint8_t* p, int output, int i) {
    return CODES[Nibbles::one(p, output, i)];
  }
};

struct SignedBytes {
  static constexpr int BYTES = 512, MAX = 255;
  template <int I>
  static inline Bytes vector(const uint8_t* p) {
    return load_64(p + I * 64);
  }
  static inline int one(const uint8_t* p, int output, int i) {
    return (int8_t)p[i / 4 * 64 + output * 4 + i % 4];
  }
};

// ------------------------------------------------------------------------ exact sums
//
// Each instruction set has
//
//   Scale          small integers, one per output: `one()`, or `scale_of(Ints)`
//   add_dots       sums[r] += scale · Σ code · input over COUNT vectors of codes from FIRST, for the
//                  inputs at x of ROWS rows
//   Zero           what a code of 0 means: `zero_of(number)`, or 32 times two scales, of the first
//                  and the last half of a group
//   zero_products  zero · sums of the halves of a row's group
//   BYTE_ZERO      the number that `add_dots` adds to signed bytes

#ifdef __AVX512F__

constexpr int BLOCK_ROWS = 6;  // rows that are computed together
constexpr int BYTE_ZERO = 128;

struct Scale {
  __m512i values;
  bool is_one;
};
static inline Scale one() { return {_mm512_set1_epi32(1), true}; }
static inline Scale scale_of(Ints values) { return {(__m512i)values, false}; }

template <class Codes, int FIRST, int COUNT, int ROWS>
static inline void add_dots(const uint8_t* p, const int8_t* x, Scale scale, Ints* sums) {
  __m512i dots[ROWS];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) dots[r] = _mm512_setzero_si512();
  each_constant<FIRST, FIRST + COUNT>([&](auto i) __attribute__((always_inline)) {
    Bytes codes = Codes::template vector<i>(p);
    if constexpr (std::is_same_v<Codes, SignedBytes>)
      codes = _mm512_xor_si512(codes, _mm512_set1_epi8((char)0x80));
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      int32_t four;
      memcpy(&four, x + 4 * (i * TILE_ROWS + r), sizeof(four));
      dot_bytes(dots[r], codes, _mm512_set1_epi32(four));
    }
  });
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++)
    sums[r] += (Ints)(scale.is_one ? dots[r] : _mm512_mullo_epi32(dots[r], scale.values));
}

using Zero = __m512i;  // pairs of 16-bit numbers
static inline Zero zero_of(int number) { return _mm512_set1_epi16((short)number); }
static inline Zero zero_of(Scale first, Scale last) {
  const __m512i high = _mm512_slli_epi32(last.values, 16);
  return _mm512_slli_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, first.values, high), 5);
}
static inline Ints zero_products(const int16_t* halves, Zero zero) {
  int32_t pair;
  memcpy(&pair, halves, sizeof(pair));
  return (Ints)_mm512_madd_epi16(_mm512_set1_epi32(pair), zero);
}

#elif defined(__aarch64__)

constexpr int BLOCK_ROWS = 4;
constexpr int BYTE_ZERO = 0;

struct Scale {
  Ints values;
  bool is_one;
};
static inline Scale one() { return {splat_int(1), true}; }
static inline Scale scale_of(Ints values) { return {values, false}; }

template <class Codes, int FIRST, int COUNT, int ROWS>
static inline void add_dots(const uint8_t* p, const int8_t* x, Scale scale, Ints* sums) {
  RowSums<ROWS> rows;
  each_constant<0, COUNT / 2>([&](auto pair) __attribute__((always_inline)) {
    constexpr int i = FIRST + 2 * pair;
    const Bytes first = Codes::template vector<i>(p), last = Codes::template vector<i + 1>(p);
    int8x16_t weights[4], next[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      weights[j] = vreinterpretq_s8_u8(first.of[j]);
      next[j] = vreinterpretq_s8_u8(last.of[j]);
    }
    const int8_t* at = x + 4 * i * TILE_ROWS;
    rows.add(vld1q_s8(at), weights, vld1q_s8(at + 4 * TILE_ROWS), next);
  });
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
    sums[r] = sums[r] + (scale.is_one ? rows.of(r) : rows.of(r) * scale.values);
}

struct Zero {
  Ints first, last;
};
static inline Zero zero_of(int number) { return {splat_int(number), splat_int(number)}; }
static inline Zero zero_of(Scale first, Scale last) {
  return {first.values * splat_int(32), last.values * splat_int(32)};
}
static inline Ints zero_products(const int16_t* halves, Zero zero) {
  return zero.first * splat_int(halves[0]) + zero.last * splat_int(halves[1]);
}

#else

constexpr int BLOCK_ROWS = 4;
constexpr int BYTE_ZERO = 0;

struct Scale {
  __m256i low, high;  // each number twice, in 16 bits
};
static inline Scale one() { return {_mm256_set1_epi16(1), _mm256_set1_epi16(1)}; }
static inline Scale scale_of(Ints x) {
  return {_mm256_blend_epi16(x.low, _mm256_slli_epi32(x.low, 16), 0xaa),
          _mm256_blend_epi16(x.high, _mm256_slli_epi32(x.high, 16), 0xaa)};
}

static inline __m256i four_bytes(const int8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof(four));
  return _mm256_set1_epi32(four);
}

// Products are added in 16 bits as long as they fit; an input is at most 127. The product of signed
// bytes is |code| · (input with the sign of the code).
template <class Codes, int FIRST, int COUNT, int ROWS>
static inline void add_dots(const uint8_t* p, const int8_t* x, Scale scale, Ints* sums) {
  constexpr bool is_signed = std::is_same_v<Codes, SignedBytes>;
  constexpr int fitting = is_signed ? 1 : 32767 / (2 * 127 * Codes::MAX);
  constexpr int run = fitting >= COUNT ? COUNT : fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
  static_assert(COUNT % run == 0);
  each_constant<0, COUNT / run>([&](auto part) __attribute__((always_inline)) {
    constexpr int first = FIRST + part * run;
    __m256i low[ROWS], high[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) low[r] = high[r] = _mm256_setzero_si256();
    each_constant<first, first + run>([&](auto i) __attribute__((always_inline)) {
      Bytes codes = Codes::template vector<i>(p);
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) {
        const __m256i four = four_bytes(x + 4 * (i * TILE_ROWS + r));
        if constexpr (is_signed) {
          low[r] = _mm256_maddubs_epi16(_mm256_abs_epi8(codes.low), _mm256_sign_epi8(four, codes.low));
          high[r] =
              _mm256_maddubs_epi16(_mm256_abs_epi8(codes.high), _mm256_sign_epi8(four, codes.high));
        } else {
          dot_bytes(low[r], codes.low, four);
          dot_bytes(high[r], codes.high, four);
        }
      }
    });
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
      sums[r] = sums[r] + Ints{_mm256_madd_epi16(low[r], scale.low),
                               _mm256_madd_epi16(high[r], scale.high)};
  });
}

using Zero = Scale;  // pairs of 16-bit numbers
static inline Zero zero_of(int number) {
  return {_mm256_set1_epi16((short)number), _mm256_set1_epi16((short)number)};
}
static inline Zero zero_of(Scale first, Scale last) {
  return {_mm256_slli_epi16(_mm256_blend_epi16(first.low, last.low, 0xaa), 5),
          _mm256_slli_epi16(_mm256_blend_epi16(first.high, last.high, 0xaa), 5)};
}
static inline Ints zero_products(const int16_t* halves, Zero zero) {
  int32_t pair;
  memcpy(&pair, halves, sizeof(pair));
  const __m256i both = _mm256_set1_epi32(pair);
  return {_mm256_madd_epi16(both, zero.low), _mm256_madd_epi16(both, zero.high)};
}

#endif

// ---------------------------------------------------------------------------- formats
//
// `add` adds the products of a block and ROWS rows of a tile to `sums`; `row` returns the weights of
// one output. A format is named by its number in GGUF.

// One group of rows in a tile, from a row on.
struct Group {
  const int8_t* inputs;
  const float *scale, *sum;
  const int16_t* halves;

  void advance() {
    inputs += GROUP_INPUTS * TILE_ROWS;
    scale += TILE_ROWS;
    sum += TILE_ROWS;
    halves += 2 * TILE_ROWS;
  }
};

struct HalfScale {
  static constexpr int BYTES = 2 * STRIP_OUTPUTS;
  static inline Floats load(const uint8_t* p) { return load_half(p); }
};

// Half of a power of 2: 2^(e - 128), for codes that are twice the values.
struct PowerScale {
  static constexpr int BYTES = STRIP_OUTPUTS;
  static inline Floats load(const uint8_t* p) { return half_powers(widen_bytes(load_16(p))); }
};

// weight = scale · (code - ZERO)
template <class Codes, int ZERO, class BlockScale = HalfScale>
struct Centred {
  static constexpr int INPUTS = GROUP_INPUTS, BYTES = BlockScale::BYTES + Codes::BYTES;
  template <int ROWS>
  static inline void add(const uint8_t* p, Group& x, Floats* sums) {
    Ints dots[ROWS] = {};
    add_dots<Codes, 0, 8, ROWS>(p + BlockScale::BYTES, x.inputs, one(), dots);
    const Floats scale = BlockScale::load(p);
    const Zero zero = zero_of(ZERO);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      const Ints whole = ZERO ? dots[r] - zero_products(x.halves + 2 * r, zero) : dots[r];
      sums[r] = sums[r] + to_floats(whole) * splat(x.scale[r]) * scale;
    }
    x.advance();
  }
  static inline void row(const uint8_t* p, int output, float* to) {
    float scale[STRIP_OUTPUTS];
    store(scale, BlockScale::load(p));
    constexpr int zero = std::is_same_v<Codes, SignedBytes> ? 0 : ZERO;
    for (int i = 0; i < GROUP_INPUTS; i++)
      to[i] = scale[output] * (float)(Codes::one(p + BlockScale::BYTES, output, i) - zero);
  }
};

// weight = scale · code + minimum
template <class Codes>
struct WithMinimum {
  static constexpr int INPUTS = GROUP_INPUTS, BYTES = 2 * HalfScale::BYTES + Codes::BYTES;
  template <int ROWS>
  static inline void add(const uint8_t* p, Group& x, Floats* sums) {
    Ints dots[ROWS] = {};
    add_dots<Codes, 0, 8, ROWS>(p + 2 * HalfScale::BYTES, x.inputs, one(), dots);
    const Floats scale = load_half(p), minimum = load_half(p + HalfScale::BYTES);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      sums[r] = sums[r] + to_floats(dots[r]) * splat(x.scale[r]) * scale;
      sums[r] = sums[r] + minimum * splat(x.sum[r]);
    }
    x.advance();
  }
  static inline void row(const uint8_t* p, int output, float* to) {
    float scale[STRIP_OUTPUTS], minimum[STRIP_OUTPUTS];
    store(scale, load_half(p));
    store(minimum, load_half(p + HalfScale::BYTES));
    for (int i = 0; i < GROUP_INPUTS; i++) {
      const int code = Codes::one(p + 2 * HalfScale::BYTES, output, i);
      to[i] = scale[output] * (float)code + minimum[output];
    }
  }
};

// 256 inputs: weight = scale · (scale of its 32) · code - minimum · (minimum of its 32). Both numbers
// of a group have 6 bits. Three bytes per output have those of two groups: the first scale, the
// first and the second minimum; and above these, the second scale, two bits each, lowest first.
template <class Codes>
struct Nested {
  static constexpr int INPUTS = 8 * GROUP_INPUTS, NUMBERS = 3 * STRIP_OUTPUTS;
  static constexpr int BYTES = 2 * HalfScale::BYTES + 4 * (NUMBERS + 2 * Codes::BYTES);
  template <int ROWS>
  static inline void add(const uint8_t* p, Group& x, Floats* sums) {
    Floats scaled[ROWS], minima[ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) scaled[r] = minima[r] = splat(0);
    const uint8_t* at = p + 2 * HalfScale::BYTES;
    for (int pair = 0; pair < 4; pair++, at += NUMBERS + 2 * Codes::BYTES) {
      const Sixteen a = load_16(at), b = load_16(at + 16), c = load_16(at + 32);
      const Sixteen second = bits_of<-6>(a, 3) | bits_of<-4>(b, 12) | bits_of<-2>(c, 48);
      add_group<ROWS>(at + NUMBERS, bits_of<0>(a, 63), bits_of<0>(b, 63), x, scaled, minima);
      add_group<ROWS>(at + NUMBERS + Codes::BYTES, second, bits_of<0>(c, 63), x, scaled, minima);
    }
    const Floats scale = load_half(p), minimum = load_half(p + HalfScale::BYTES);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      sums[r] = sums[r] + scale * scaled[r];
      sums[r] = sums[r] - minimum * minima[r];
    }
  }

  template <int ROWS>
  static inline void add_group(const uint8_t* p, Sixteen scale, Sixteen minimum, Group& x,
                               Floats* scaled, Floats* minima) {
    Ints dots[ROWS] = {};
    add_dots<Codes, 0, 8, ROWS>(p, x.inputs, scale_of(widen_bytes(scale)), dots);
    const Floats least = to_floats(widen_bytes(minimum));
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      scaled[r] = scaled[r] + to_floats(dots[r]) * splat(x.scale[r]);
      minima[r] = minima[r] + least * splat(x.sum[r]);
    }
    x.advance();
  }
  static inline void row(const uint8_t* p, int output, float* to) {
    float scale[STRIP_OUTPUTS], minimum[STRIP_OUTPUTS];
    store(scale, load_half(p));
    store(minimum, load_half(p + HalfScale::BYTES));
    for (int group = 0; group < 8; group++, to += GROUP_INPUTS) {
      const uint8_t* at =
          p + 2 * HalfScale::BYTES + group / 2 * (NUMBERS + 2 * Codes::BYTES) + output;
      const int a = at[0], b = at[STRIP_OUTPUTS], c = at[2 * STRIP_OUTPUTS];
      const int second = a >> 6 | b >> 6 << 2 | c >> 6 << 4;
      const float times = scale[output] * (float)(group % 2 ? second : a & 63);
      const float less = minimum[output] * (float)((group % 2 ? c : b) & 63);
      const uint8_t* codes = at - output + NUMBERS + group % 2 * Codes::BYTES;
      for (int i = 0; i < GROUP_INPUTS; i++)
        to[i] = times * (float)Codes::one(codes, output, i) - less;
    }
  }
};

// 256 inputs: weight = scale · (scale of its 16, a signed byte) · (code - 32).
struct Halved {
  static constexpr int INPUTS = 8 * GROUP_INPUTS, NUMBERS = 2 * STRIP_OUTPUTS;
  static constexpr int BYTES = HalfScale::BYTES + 8 * (NUMBERS + SixBits::BYTES);
  template <int ROWS>
  static inline void add(const uint8_t* p, Group& x, Floats* sums) {
    Floats scaled[ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) scaled[r] = splat(0);
    const uint8_t* at = p + HalfScale::BYTES;
    for (int group = 0; group < 8; group++, at += NUMBERS + SixBits::BYTES) {
      const Scale first = scale_of(widen_signed_bytes(load_16(at)));
      const Scale last = scale_of(widen_signed_bytes(load_16(at + STRIP_OUTPUTS)));
      Ints dots[ROWS] = {};
      add_dots<SixBits, 0, 4, ROWS>(at + NUMBERS, x.inputs, first, dots);
      add_dots<SixBits, 4, 4, ROWS>(at + NUMBERS, x.inputs, last, dots);
      const Zero zero = zero_of(first, last);
#pragma GCC unroll 6
      for (int r = 0; r < ROWS; r++)
        scaled[r] = scaled[r] + to_floats(dots[r] - zero_products(x.halves + 2 * r, zero)) *
                                    splat(x.scale[r]);
      x.advance();
    }
    const Floats scale = load_half(p);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) sums[r] = sums[r] + scale * scaled[r];
  }
  static inline void row(const uint8_t* p, int output, float* to) {
    float scale[STRIP_OUTPUTS];
    store(scale, load_half(p));
    const uint8_t* at = p + HalfScale::BYTES;
    for (int group = 0; group < 8; group++, at += NUMBERS + SixBits::BYTES)
      for (int i = 0; i < GROUP_INPUTS; i++, to++) {
        const int8_t own = (int8_t)at[i / 16 * STRIP_OUTPUTS + output];
        *to = scale[output] * (float)own * (float)(SixBits::one(at + NUMBERS, output, i) - 32);
      }
  }
};

// --------------------------------------------------------------------------- products

// ROWS rows of a tile times one strip: `out` is (ROWS, 32), of which 16 outputs are written.
template <class Format, int ROWS>
__attribute__((noinline)) void strip_sums(Group x, const uint8_t* strip, int64_t inputs,
                                          float* out) {
  Floats sums[ROWS];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) sums[r] = splat(0);
  for (int64_t at = 0; at < inputs; at += Format::INPUTS, strip += Format::BYTES)
    Format::template add<ROWS>(strip, x, sums);
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) store(out + r * 2 * STRIP_OUTPUTS, sums[r]);
}

template <class Format, int ROWS = BLOCK_ROWS>
static inline void strip_rows(int64_t rows, Group x, const uint8_t* strip, int64_t inputs,
                              float* out) {
  if constexpr (ROWS > 1)
    if (rows < ROWS) return strip_rows<Format, ROWS - 1>(rows, x, strip, inputs, out);
  strip_sums<Format, ROWS>(x, strip, inputs, out);
}

// Call `body` with a value of the format with this number.
template <class Body>
static inline void with_format(int32_t number, Body body) {
  switch (number) {
    case 2: return body(Centred<Nibbles, 8>());
    case 3: return body(WithMinimum<Nibbles>());
    case 6: return body(Centred<FiveBits, 16>());
    case 7: return body(WithMinimum<FiveBits>());
    case 8: return body(Centred<SignedBytes, BYTE_ZERO>());
    case 12: return body(Nested<Nibbles>());
    case 13: return body(Nested<FiveBits>());
    case 14: return body(Halved());
    case 39: return body(Centred<TinyFloats, 12, PowerScale>());
  }
}

// The rows of one tile times one strip.
static inline void strip_product(int32_t format, GroupedRows rows, int64_t tile, int64_t count,
                                 const uint8_t* strip, int64_t inputs, float* out) {
  const int64_t group = tile * TILE_ROWS * (inputs / GROUP_INPUTS);
  with_format(format, [&](auto format) {
    for (int64_t r = 0; r < count; r += BLOCK_ROWS) {
      const Group x = {rows.inputs + group * GROUP_INPUTS + 4 * r, rows.scale + group + r,
                       rows.sum + group + r, rows.halves + 2 * (group + r)};
      const int64_t some = count - r < BLOCK_ROWS ? count - r : BLOCK_ROWS;
      strip_rows<decltype(format)>(some, x, strip, inputs, out + r * 2 * STRIP_OUTPUTS);
    }
  });
}

// The weights of one output of a strip.
static inline void strip_row(int32_t format, const uint8_t* strip, int output, int64_t inputs,
                             float* to) {
  with_format(format, [&](auto format) {
    using Format = decltype(format);
    for (int64_t i = 0; i < inputs; i += Format::INPUTS, strip += Format::BYTES)
      Format::row(strip, output, to + i);
  });
}
