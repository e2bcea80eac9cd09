// The sixteen-lane primitives that kernels are written in, for AVX-512 (F, BW, VL, DQ) with VNNI,
// and with BF16 where the file is compiled for it. One register per vector. Included only by files
// compiled for these instruction sets; everything is in an anonymous namespace (see rooms.cmake).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace hearth::compute::cpu {
namespace {

/// Signed int8 weights are stored with 128 added, because vpdpbusd multiplies unsigned by signed
/// bytes.
constexpr bool kBiasedWeights = true;
/// Whether there are dot products of bfloat16 pairs (dot_bf16 and what goes with it, below).
#ifdef __AVX512BF16__
constexpr bool kHasBf16Dot = true;
#else
constexpr bool kHasBf16Dot = false;
#endif
/// How many columns (rows of the batch) a kernel's register tile holds at most.
constexpr int kMaxTile = 8;

using F = __m512;   // 16 floats
using I = __m512i;  // 16 int32
using B = __m512i;  // 64 bytes: 4 of each of 16 lanes

inline F zero() { return _mm512_setzero_ps(); }
inline F set(float x) { return _mm512_set1_ps(x); }
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline __mmask16 first_lanes(std::int64_t n) { return static_cast<__mmask16>((1U << n) - 1); }
/// The first n < 16 floats; the other lanes are zero.
inline F load_first(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
inline void store_first(float* p, F x, std::int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), x);
}
inline F load_half(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline void store_half(void* p, F x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline F load_bfloat(const void* p) {
  const __m256i narrow = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
/// a * b + c
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
/// Where one operand is NaN the result is b, as in the instruction.
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F abs(F a) { return _mm512_abs_ps(a); }
/// a < b ? x : y
inline F select_less(F a, F b, F x, F y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
inline float sum(F a) { return _mm512_reduce_add_ps(a); }
inline float largest(F a) { return _mm512_reduce_max_ps(a); }

/// to[i][lane] = element i of rows[lane], for i < count.
inline void store_transposed(const F (&rows)[16], std::int64_t count, float* to) {
  F pairs[16];
  F quads[16];  // [4 i + c], 128-bit part p: column 4 p + c of rows 4 i to 4 i + 3
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  const auto low = [](F a, F b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
  const auto high = [](F a, F b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
  for (int i = 0; i < 16; i += 4) {
    quads[i] = low(pairs[i], pairs[i + 2]);
    quads[i + 1] = high(pairs[i], pairs[i + 2]);
    quads[i + 2] = low(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = high(pairs[i + 1], pairs[i + 3]);
  }
  F columns[16];
  for (int c = 0; c < 4; ++c) {
    const F even01 = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0x88);
    const F odd01 = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0xDD);
    const F even23 = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0x88);
    const F odd23 = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0xDD);
    columns[c] = _mm512_shuffle_f32x4(even01, even23, 0x88);
    columns[4 + c] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    columns[8 + c] = _mm512_shuffle_f32x4(even01, even23, 0xDD);
    columns[12 + c] = _mm512_shuffle_f32x4(odd01, odd23, 0xDD);
  }
  if (count >= 16) {
    for (int i = 0; i < 16; ++i) store(to + 16 * i, columns[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) store(to + 16 * i, columns[i]);
  }
}

inline I zero_int() { return _mm512_setzero_si512(); }
inline I set_int(std::int32_t x) { return _mm512_set1_epi32(x); }
inline I load_int(const void* p) { return _mm512_loadu_si512(p); }
/// 32 bytes from each of two places.
inline I load_halves(const void* low, const void* high) {
  const __m512i first =
      _mm512_castsi256_si512(_mm256_loadu_si256(static_cast<const __m256i*>(low)));
  return _mm512_inserti64x4(first, _mm256_loadu_si256(static_cast<const __m256i*>(high)), 1);
}
inline I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
inline I sub_int(I a, I b) { return _mm512_sub_epi32(a, b); }
template <int kBits>
inline I shift_right(I a) {
  return _mm512_srai_epi32(a, kBits);
}
template <int kBits>
inline I shift_left(I a) {
  return _mm512_slli_epi32(a, kBits);
}
inline F to_float(I a) { return _mm512_cvtepi32_ps(a); }
inline I bits_of(F a) { return _mm512_castps_si512(a); }
inline F float_of(I a) { return _mm512_castsi512_ps(a); }
/// Round to nearest, ties to even.
inline I round_to_int(F a) { return _mm512_cvtps_epi32(a); }
inline std::int32_t sum_int(I a) { return _mm512_reduce_add_epi32(a); }
inline void store_int8(std::int8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
inline I widen_u8(const void* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
/// 32 bytes as two 16-bit halves of every lane.
inline I widen_pairs(const void* p) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
/// The same of signed bytes.
inline I widen_signed_pairs(const void* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
/// The low 16 bits of every lane.
inline void store_int16(std::int16_t* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a));
}
inline I and_int(I a, std::int32_t mask) { return _mm512_and_si512(a, _mm512_set1_epi32(mask)); }
inline I xor_int(I a, std::int32_t mask) { return _mm512_xor_si512(a, _mm512_set1_epi32(mask)); }
inline I or_int(I a, I b) { return _mm512_or_si512(a, b); }
inline I shift_right_by(I a, int bits) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(bits)); }
/// a - b in 16-bit halves.
inline I sub_words(I a, I b) { return _mm512_sub_epi16(a, b); }
inline void store_int(void* p, I a) { _mm512_storeu_si512(p, a); }
inline I widen_s8(const void* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}

inline B load_bytes(const void* p) { return _mm512_loadu_si512(p); }
/// For bytes that are used several times: the compiler may not load them anew for each use, as it
/// likes to. A core loads one such vector per cycle and does two operations on them.
inline B load_codes(const void* p) {
  B bytes = load_bytes(p);
  asm("" : "+v"(bytes));
  return bytes;
}
inline B low_nibbles(B a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
inline B high_nibbles(B a) {
  return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}
/// (a >> kShift) & kMask in every byte; a negative shift is one to the left.
template <int kShift, int kMask>
inline B field(B a) {
  const __m512i moved = kShift < 0 ? _mm512_slli_epi16(a, -kShift) : _mm512_srli_epi16(a, kShift);
  return _mm512_and_si512(moved, _mm512_set1_epi8(static_cast<char>(kMask)));
}
/// Bits come in from the neighbour byte, or zeros.
template <int kShift>
inline B shift_words_right(B a) {
  return _mm512_srli_epi16(a, kShift);
}
/// In every byte the bits kMask of a, the others of b.
template <int kMask>
inline B select_bits(B a, B b) {
  // c ? a : b
  return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(kMask), 0xE4);
}
inline B shift_left_one(B a) { return _mm512_add_epi8(a, a); }
inline B or_bytes(B a, B b) { return _mm512_or_si512(a, b); }
inline B bytes_of(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline B add_bytes(B a, B b) { return _mm512_add_epi8(a, b); }
inline void store_bytes(void* p, B a) { _mm512_storeu_si512(p, a); }
inline B load_table(const std::uint8_t (&values)[16]) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
}
/// table[code] for codes 0 .. 15.
inline B lookup(B table, B codes) { return _mm512_shuffle_epi8(table, codes); }
#ifdef __AVX512VBMI__
/// table[lower six bits of the code]
inline B lookup64(B table, B codes) { return _mm512_permutexvar_epi8(codes, table); }
#endif
/// In lanes whose bit `bit` is set `if_set`, else `if_clear`.
inline B select_lanes(I bits, int bit, B if_set, B if_clear) {
  return _mm512_mask_blend_epi32(_mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << bit)),
                                 if_clear, if_set);
}
/// low | (bit `bit` of every byte of `high`, as bit 4)
inline B with_fifth_bit(B low, B high, int bit) {
  const __m512i moved = _mm512_rolv_epi32(high, _mm512_set1_epi32((32 + 4 - bit) & 31));
  // a | (b & c)
  return _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8(0x10), 0xF8);
}

inline std::int32_t four_bytes(const std::int8_t* p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, 4);
  return value;
}
/// Lane i: the sum of the signed bytes 4 i .. 4 i + 3.
inline I sum_fours(const std::int8_t* p) {
  return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_loadu_si512(p));
}
/// Adds, in each lane, the products of its four bytes of w with y[0..3]. Weights are 0 .. 64.
inline I dot_small(I sum, B w, const std::int8_t* y) {
  return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(four_bytes(y)));
}
/// The same for weights of a whole byte as pack() stores them (biased here: the caller starts at
/// -128 times the sum of y).
inline I dot_byte(I sum, B w, const std::int8_t* y) { return dot_small(sum, w, y); }
/// In each lane a >> kBits in the low 16 bits and b >> kBits in the high ones. Merged under a mask,
/// which takes less from products beside it than vpternlogd does, and no register.
template <int kBits>
inline I pack_words(I a, I b) {
  return _mm512_mask_blend_epi16(0x55555555, _mm512_slli_epi32(b, 16 - kBits),
                                 _mm512_srli_epi32(a, kBits));
}
/// Products of 16-bit halves, which must fit them.
inline I mul_words(I a, I b) { return _mm512_mullo_epi16(a, b); }
/// Adds, in each lane, the products of the 16-bit halves of a and b.
inline I dot_words(I sum, I a, I b) { return _mm512_dpwssd_epi32(sum, a, b); }
/// Lanes of 32 bits that are summed in a loop. As `I`, whose lanes have 64, the compiler (GCC 12)
/// carries each sum through the loop in both types and copies it twice per product.
using Sums = int __attribute__((vector_size(64)));
/// dot_words with the pair at y.
inline Sums dot_wide_pairs(Sums sum, I w, const std::byte* y) {
  std::int32_t pair;
  __builtin_memcpy(&pair, y, 4);
  return reinterpret_cast<Sums>(dot_words(reinterpret_cast<I>(sum), w, _mm512_set1_epi32(pair)));
}
inline F to_float(Sums sums) { return to_float(reinterpret_cast<I>(sums)); }
/// Adds, in each lane, the products of its two unsigned bytes of w (32 bytes in all) with y[0..1].
inline I dot_pairs(I sum, const void* w, const std::int16_t* y) {
  std::int32_t pair;
  __builtin_memcpy(&pair, y, 4);
  const __m512i wide = _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(w)));
  return _mm512_dpwssd_epi32(sum, wide, _mm512_set1_epi32(pair));
}

#ifdef __AVX512BF16__
/// Adds, in each lane, the products of its two bfloat16 numbers of a and b (32 numbers each).
/// Subnormal numbers count as zero.
inline F dot_bf16(F sum, B a, B b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
/// One pair in all lanes.
inline B set_pair(const void* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm512_set1_epi32(pair);
}
/// Lanes of a, then of b, rounded to bfloat16.
inline B to_bf16(F a, F b) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a)); }
/// 32 half-precision numbers x as bfloat16 of 2^-112 x, ties rounded away from zero: the exponent
/// field keeps its value. Subnormal ones stay subnormal, that is zero for dot_bf16; infinity and
/// NaN become numbers.
inline B half_to_bf16(B x) {
  const __m512i rounded = _mm512_add_epi16(x, _mm512_set1_epi16(4));
  // The shift copies the sign into the three bits below it, which are cleared again.
  return _mm512_and_si512(_mm512_srai_epi16(rounded, 3),
                          _mm512_set1_epi16(static_cast<short>(0x8FFF)));
}
/// The low halves of the lanes as half-precision numbers.
inline F half_of_int(I x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
/// Lanes 0 to 7, or 8 to 15, each twice.
template <bool kUpper>
inline F twice(F x) {
  constexpr int kFirst = kUpper ? 8 : 0;
  const __m512i order = _mm512_add_epi32(
      _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), _mm512_set1_epi32(kFirst));
  return _mm512_permutexvar_ps(order, x);
}
inline B zero_bytes() { return _mm512_setzero_si512(); }
/// Into the second-level cache.
inline void prefetch(const std::byte* p) { _mm_prefetch(p, _MM_HINT_T1); }
/// Of every four bytes the first two; the others are zero.
inline B first_of_pairs(B x) { return _mm512_and_si512(x, _mm512_set1_epi32(0xFFFF)); }
/// Of every four 16-bit numbers the middle two change places.
inline B swap_middle_words(B x) {
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
  return _mm512_shuffle_epi8(x, order);
}
/// Transposes 8 x 8 elements of 64 bits.
inline void transpose_eight(B (&rows)[8]) {
  __m512i pairs[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm512_unpacklo_epi64(rows[i], rows[i + 1]);      // columns 0, 2, 4, 6
    pairs[i + 1] = _mm512_unpackhi_epi64(rows[i], rows[i + 1]);  // columns 1, 3, 5, 7
  }
  for (int odd = 0; odd < 2; ++odd) {
    // 128-bit parts 0 and 2, or 1 and 3, of two rows of parts.
    const __m512i low02 = _mm512_shuffle_i64x2(pairs[odd], pairs[2 + odd], 0x88);
    const __m512i low13 = _mm512_shuffle_i64x2(pairs[odd], pairs[2 + odd], 0xDD);
    const __m512i high02 = _mm512_shuffle_i64x2(pairs[4 + odd], pairs[6 + odd], 0x88);
    const __m512i high13 = _mm512_shuffle_i64x2(pairs[4 + odd], pairs[6 + odd], 0xDD);
    rows[odd] = _mm512_shuffle_i64x2(low02, high02, 0x88);
    rows[4 + odd] = _mm512_shuffle_i64x2(low02, high02, 0xDD);
    rows[2 + odd] = _mm512_shuffle_i64x2(low13, high13, 0x88);
    rows[6 + odd] = _mm512_shuffle_i64x2(low13, high13, 0xDD);
  }
}
inline F nearest(F x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// x * 2^n for whole n.
inline F times_power(F x, F n) { return _mm512_scalef_ps(x, n); }
/// a * b - c
inline F sub_product(F a, F b, F c) { return _mm512_fmsub_ps(a, b, c); }
inline float first_lane(F x) { return _mm512_cvtss_f32(x); }
/// Whether any lane of a is greater than that of b.
inline bool any_greater(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0; }
#endif

}  // namespace
}  // namespace hearth::compute::cpu
