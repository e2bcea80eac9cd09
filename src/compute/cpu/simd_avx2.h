// The sixteen-lane primitives that kernels are written in, for AVX2 with FMA and F16C, and for the
// same with AVX-VNNI, whose products of bytes are one instruction. Two registers per vector.
// Included only by files compiled for this instruction set; everything is in an anonymous namespace
// (see rooms.cmake).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace hearth::compute::cpu {
namespace {

#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
/// vpdpbusd sums in 32 bits: signed weights are stored with 128 added, as for AVX-512.
constexpr bool kByteProducts = true;
#else
constexpr bool kByteProducts = false;
#endif
/// Without it signed weights stay signed: an unsigned byte times an int8 overflows the 16-bit sums
/// of maddubs.
constexpr bool kBiasedWeights = kByteProducts;
constexpr bool kHasBf16Dot = false;
constexpr int kMaxTile = 4;

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};
using B = I;

inline F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, F x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline F load_first(const float* p, std::int64_t n) {
  float values[16] = {};
  for (std::int64_t i = 0; i < n; ++i) values[i] = p[i];
  return load(values);
}
inline void store_first(float* p, F x, std::int64_t n) {
  float values[16];
  store(values, x);
  for (std::int64_t i = 0; i < n; ++i) p[i] = values[i];
}
inline F load_half(const void* p) {
  const auto* halves = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
inline void store_half(void* p, F x) {
  auto* halves = static_cast<__m128i*>(p);
  _mm_storeu_si128(halves, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
inline F load_bfloat(const void* p) {
  const auto* narrow = static_cast<const __m128i*>(p);
  const auto widen = [](__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  };
  return {widen(_mm_loadu_si128(narrow)), widen(_mm_loadu_si128(narrow + 1))};
}
inline F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F fma(F x, F y, F z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F abs(F x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline F select_less(F x, F y, F yes, F no) {
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
inline float sum(F x) {
  const __m256 eight = _mm256_add_ps(x.a, x.b);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float largest(F x) {
  const __m256 eight = _mm256_max_ps(x.a, x.b);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

/// Transposes eight by eight; out[i] is element i of the eight rows.
inline void transpose_eight(const __m256 (&rows)[8], __m256 (&out)[8]) {
  __m256 pairs[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  __m256 quads[8];  // [4 i + c], 128-bit part p: column 4 p + c of rows 4 i to 4 i + 3
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
  }
  for (int c = 0; c < 4; ++c) {
    out[c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x20);
    out[4 + c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x31);
  }
}

/// to[i][lane] = element i of rows[lane], for i < count.
inline void store_transposed(const F (&rows)[16], std::int64_t count, float* to) {
  for (int half = 0; half < 2; ++half) {    // of the lanes
    for (int part = 0; part < 2; ++part) {  // of the elements
      __m256 in[8];
      __m256 out[8];
      for (int i = 0; i < 8; ++i) in[i] = part == 0 ? rows[8 * half + i].a : rows[8 * half + i].b;
      transpose_eight(in, out);
      for (int i = 0; i < 8 && 8 * part + i < count; ++i) {
        _mm256_storeu_ps(to + 16 * (8 * part + i) + 8 * half, out[i]);
      }
    }
  }
}

inline I zero_int() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline I set_int(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I load_int(const void* p) {
  const auto* halves = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}
/// 32 bytes from each of two places.
inline I load_halves(const void* low, const void* high) {
  return {_mm256_loadu_si256(static_cast<const __m256i*>(low)),
          _mm256_loadu_si256(static_cast<const __m256i*>(high))};
}
inline I add_int(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I sub_int(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
template <int kBits>
inline I shift_right(I x) {
  return {_mm256_srai_epi32(x.a, kBits), _mm256_srai_epi32(x.b, kBits)};
}
template <int kBits>
inline I shift_left(I x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
inline F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline I bits_of(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline F float_of(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline I round_to_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline std::int32_t sum_int(I x) {
  const __m256i eight = _mm256_add_epi32(x.a, x.b);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
inline void store_int8(std::int8_t* p, I x) {
  std::int32_t values[16];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + 8), x.b);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(values[i]);
}
inline I widen_u8(const void* p) {
  const __m128i x = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
inline I widen_pairs(const void* p) {
  const auto* bytes = static_cast<const __m128i*>(p);
  return {_mm256_cvtepu8_epi16(_mm_loadu_si128(bytes)),
          _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes + 1))};
}
inline I widen_signed_pairs(const void* p) {
  const auto* bytes = static_cast<const __m128i*>(p);
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(bytes)),
          _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes + 1))};
}
inline I and_int(I x, std::int32_t mask) {
  const __m256i bits = _mm256_set1_epi32(mask);
  return {_mm256_and_si256(x.a, bits), _mm256_and_si256(x.b, bits)};
}
inline I xor_int(I x, std::int32_t mask) {
  const __m256i bits = _mm256_set1_epi32(mask);
  return {_mm256_xor_si256(x.a, bits), _mm256_xor_si256(x.b, bits)};
}
inline I or_int(I x, I y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline I shift_right_by(I x, int bits) {
  const __m128i count = _mm_cvtsi32_si128(bits);
  return {_mm256_srl_epi32(x.a, count), _mm256_srl_epi32(x.b, count)};
}
inline I sub_words(I x, I y) { return {_mm256_sub_epi16(x.a, y.a), _mm256_sub_epi16(x.b, y.b)}; }
inline void store_int(void* p, I x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(static_cast<__m256i*>(p) + 1, x.b);
}
inline I widen_s8(const void* p) {
  const __m128i x = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}

inline B load_bytes(const void* p) { return load_int(p); }
inline B load_codes(const void* p) { return load_bytes(p); }
inline B low_nibbles(B x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
inline B high_nibbles(B x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srli_epi16(x.a, 4), mask),
          _mm256_and_si256(_mm256_srli_epi16(x.b, 4), mask)};
}
template <int kShift, int kMask>
inline B field(B x) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(kMask));
  const auto moved = [](__m256i v) {
    return kShift < 0 ? _mm256_slli_epi16(v, -kShift) : _mm256_srli_epi16(v, kShift);
  };
  return {_mm256_and_si256(moved(x.a), mask), _mm256_and_si256(moved(x.b), mask)};
}
inline B shift_left_one(B x) { return {_mm256_add_epi8(x.a, x.a), _mm256_add_epi8(x.b, x.b)}; }
inline B or_bytes(B x, B y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline B bytes_of(int value) {
  const __m256i bytes = _mm256_set1_epi8(static_cast<char>(value));
  return {bytes, bytes};
}
inline B add_bytes(B x, B y) { return {_mm256_add_epi8(x.a, y.a), _mm256_add_epi8(x.b, y.b)}; }
inline void store_bytes(void* p, B x) { store_int(p, x); }
inline B load_table(const std::uint8_t (&values)[16]) {
  const __m256i table =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
  return {table, table};
}
inline B lookup(B table, B codes) {
  return {_mm256_shuffle_epi8(table.a, codes.a), _mm256_shuffle_epi8(table.b, codes.b)};
}
inline B select_lanes(I bits, int bit, B if_set, B if_clear) {
  const __m256i one = _mm256_set1_epi32(1 << bit);
  const auto pick = [&](__m256i x, __m256i set, __m256i clear) {
    return _mm256_blendv_epi8(clear, set, _mm256_cmpeq_epi32(_mm256_and_si256(x, one), one));
  };
  return {pick(bits.a, if_set.a, if_clear.a), pick(bits.b, if_set.b, if_clear.b)};
}
inline B with_fifth_bit(B low, B high, int bit) {
  const __m256i mask = _mm256_set1_epi8(0x10);
  const __m128i left = _mm_cvtsi32_si128(bit < 4 ? 4 - bit : 0);
  const __m128i right = _mm_cvtsi32_si128(bit > 4 ? bit - 4 : 0);
  const auto merge = [&](__m256i n, __m256i h) {
    return _mm256_or_si256(
        n, _mm256_and_si256(_mm256_srl_epi32(_mm256_sll_epi32(h, left), right), mask));
  };
  return {merge(low.a, high.a), merge(low.b, high.b)};
}

inline __m256i spread_four(const std::int8_t* p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm256_set1_epi32(value);
}
inline __m256i add_products(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
  return _mm256_dpbusd_epi32(sum, unsigned_bytes, signed_bytes);
#else
  const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}
inline __m256i add_word_products(__m256i sum, __m256i x, __m256i y) {
#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
  return _mm256_dpwssd_epi32(sum, x, y);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
#endif
}
/// Lane i: the sum of the signed bytes 4 i .. 4 i + 3.
inline I sum_fours(const std::int8_t* p) {
  const __m256i ones = _mm256_set1_epi8(1);
  const I bytes = load_int(p);
  return {add_products(_mm256_setzero_si256(), ones, bytes.a),
          add_products(_mm256_setzero_si256(), ones, bytes.b)};
}
inline I dot_small(I sum, B w, const std::int8_t* p) {
  const __m256i y = spread_four(p);
  return {add_products(sum.a, w.a, y), add_products(sum.b, w.b, y)};
}
/// Without byte products |w| (at most 128) times y with the sign of w: two products stay below
/// 2 * 128 * 127 < 2^15.
inline I dot_byte(I sum, B w, const std::int8_t* p) {
  if constexpr (kByteProducts) return dot_small(sum, w, p);
  const __m256i y = spread_four(p);
  return {add_products(sum.a, _mm256_abs_epi8(w.a), _mm256_sign_epi8(y, w.a)),
          add_products(sum.b, _mm256_abs_epi8(w.b), _mm256_sign_epi8(y, w.b))};
}
template <int kBits>
inline I pack_words(I x, I y) {
  const auto pack = [](__m256i low, __m256i high) {
    return _mm256_blend_epi16(_mm256_srli_epi32(low, kBits), _mm256_slli_epi32(high, 16 - kBits),
                              0xAA);
  };
  return {pack(x.a, y.a), pack(x.b, y.b)};
}
inline I mul_words(I x, I y) {
  return {_mm256_mullo_epi16(x.a, y.a), _mm256_mullo_epi16(x.b, y.b)};
}
inline I dot_words(I sum, I x, I y) {
  return {add_word_products(sum.a, x.a, y.a), add_word_products(sum.b, x.b, y.b)};
}
inline I dot_pairs(I sum, const void* w, const std::int16_t* y) {
  std::int32_t value;
  __builtin_memcpy(&value, y, 4);
  const __m256i pair = _mm256_set1_epi32(value);
  const auto* bytes = static_cast<const __m128i*>(w);
  return {add_word_products(sum.a, _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes)), pair),
          add_word_products(sum.b, _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes + 1)), pair)};
}

}  // namespace
}  // namespace hearth::compute::cpu
