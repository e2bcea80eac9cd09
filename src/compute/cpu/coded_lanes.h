// What the kernels on coded pages need of an instruction set beyond its header simd_*.h, which must
// be included before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "quant/kv_code.h"

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kVector = 64;  // bytes
constexpr std::int64_t kCells = quant::kCodedCells;

/// body<i>() for 0 .. kCount - 1. Of arrays that are indexed by constants alone compilers make
/// registers; what loops of theirs touch they also write to memory, every time around the loop that
/// matters.
template <int kCount, int kIndex = 0, class Body>
[[gnu::always_inline]] inline void for_each(Body body) {
  if constexpr (kIndex < kCount) {
    body.template operator()<kIndex>();
    for_each<kCount, kIndex + 1>(body);
  }
}

/// 2^r for |r| <= 1/2, to 4e-6 of it: the polynomial of degree 4 that meets it at
/// Chebyshev's nodes.
inline F power_of_fraction(F r) {
  static constexpr float kFactors[] = {9.66636852e-03F, 5.59219758e-02F, 2.40223490e-01F,
                                       6.93121045e-01F, 1.00000000e+00F};
  F power = set(kFactors[0]);
  for (int i = 1; i < 5; ++i) power = fma(power, r, set(kFactors[i]));
  return power;
}

#if defined(__AVX512F__)

/// Hadamard transform of the sixteen lanes.
inline F hadamard_lanes(F x) {
  const auto step = [](F same, F other, __mmask16 upper) {
    // other + same in the lower lanes of a pair, other - same in the upper ones
    return _mm512_mask_sub_ps(_mm512_add_ps(other, same), upper, other, same);
  };
  x = step(x, _mm512_permute_ps(x, 0xB1), 0xAAAA);
  x = step(x, _mm512_permute_ps(x, 0x4E), 0xCCCC);
  x = step(x, _mm512_shuffle_f32x4(x, x, 0xB1), 0xF0F0);
  return step(x, _mm512_shuffle_f32x4(x, x, 0x4E), 0xFF00);
}

/// Factors (quant::factor_steps) by their bytes: one of 32 steps, and halved for every 32.
inline F factor_lanes(const std::byte* bytes, const float* steps) {
  const __m512i codes = widen_u8(bytes);
  const __m512i step = _mm512_castps_si512(
      _mm512_permutex2var_ps(_mm512_loadu_ps(steps), codes, _mm512_loadu_ps(steps + 16)));
  const __m512i halved = _mm512_sub_epi32(step, _mm512_slli_epi32(_mm512_srli_epi32(codes, 5), 23));
  const __mmask16 nonzero = _mm512_cmpneq_epi32_mask(codes, _mm512_set1_epi32(255));
  return _mm512_maskz_mov_ps(nonzero, _mm512_castsi512_ps(halved));
}

/// 2^x for x <= 126, to 4e-6 of it; 0 below x = -126.
inline F power_of_two(F x) {
  const F rounder = set(12582912.0F);  // 1.5 * 2^23
  const __mmask16 seen = _mm512_cmp_ps_mask(x, set(-126.0F), _CMP_GT_OQ);
  const F shifted = add(x, rounder);
  const F power = power_of_fraction(sub(x, sub(shifted, rounder)));
  return float_of(_mm512_maskz_add_epi32(seen, bits_of(power), shift_left<23>(bits_of(shifted))));
}

/// The lanes of each of four vectors made one by `fold`, in the same order wherever they are.
template <class Fold>
[[gnu::always_inline]] inline void fold_lanes(const F (&x)[4], Fold fold, float* to) {
  const F ab = fold(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
  const F cd = fold(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
  const __m512d first = _mm512_castps_pd(ab);
  const __m512d second = _mm512_castps_pd(cd);
  F all = fold(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
               _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
  all = fold(all, _mm512_shuffle_f32x4(all, all, 0x4E));
  all = fold(all, _mm512_shuffle_f32x4(all, all, 0xB1));
  _mm_storeu_ps(to, _mm512_castps512_ps128(all));
}
inline void sums_of(const F (&x)[4], float* to) {
  fold_lanes(
      x, [](F a, F b) { return add(a, b); }, to);
}
inline void largest_of(const F (&x)[4], float* to) {
  fold_lanes(
      x, [](F a, F b) { return max(a, b); }, to);
}
inline void int_sums_of(const I (&x)[4], std::int32_t* to) {
  const I ab = add_int(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
  const I cd = add_int(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
  I all = add_int(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  all = add_int(all, _mm512_shuffle_i32x4(all, all, 0x4E));
  all = add_int(all, _mm512_shuffle_i32x4(all, all, 0xB1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_castsi512_si128(all));
}

/// Numbers 0 .. 127 of 64 cells as bytes; returns lanes whose sum is theirs.
inline I store_numbers(const I (&numbers)[4], std::int8_t* to) {
  const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(numbers[0], numbers[1]),
                                            _mm512_packs_epi32(numbers[2], numbers[3]));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, packed));
  return _mm512_dpbusd_epi32(_mm512_setzero_si512(), packed, _mm512_set1_epi8(1));
}

/// dot_byte() with the four bytes taken from memory by the product itself: that costs nothing,
/// while compilers keep them in registers, which the sums and tables then lack.
inline I dot_from(I sum, B w, const std::int8_t* y) {
  using Four = const std::int8_t[4];
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*reinterpret_cast<Four*>(y)));
  return sum;
}

/// Every four bytes of 4 x 4 bytes are transposed, and then the 4 x 4 quarters of the vectors.
inline void turn_quads(B (&rows)[4]) {
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (B& row : rows) row = _mm512_shuffle_epi8(row, order);
  const B low01 = _mm512_shuffle_i32x4(rows[0], rows[1], 0x44);
  const B low23 = _mm512_shuffle_i32x4(rows[2], rows[3], 0x44);
  const B high01 = _mm512_shuffle_i32x4(rows[0], rows[1], 0xEE);
  const B high23 = _mm512_shuffle_i32x4(rows[2], rows[3], 0xEE);
  rows[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
  rows[1] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
  rows[2] = _mm512_shuffle_i32x4(high01, high23, 0x88);
  rows[3] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
}

#else

inline F factor_lanes(const std::byte* bytes, const float* steps) {
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = steps[static_cast<std::uint8_t>(bytes[i])];
  return load(lanes);
}

inline F power_of_two(F x) {
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23
  const F least = set(-126.0F);
  const F cut = max(x, least);
  const F shifted = add(cut, set(kRounder));
  const F power = power_of_fraction(sub(cut, sub(shifted, set(kRounder))));
  const F result = float_of(add_int(bits_of(power), shift_left<23>(bits_of(shifted))));
  return select_less(x, least, zero(), result);
}

inline void sums_of(const F (&x)[4], float* to) {
  for (int i = 0; i < 4; ++i) to[i] = sum(x[i]);
}
inline void largest_of(const F (&x)[4], float* to) {
  for (int i = 0; i < 4; ++i) to[i] = largest(x[i]);
}
inline void int_sums_of(const I (&x)[4], std::int32_t* to) {
  for (int i = 0; i < 4; ++i) to[i] = sum_int(x[i]);
}

inline I dot_from(I sum, B w, const std::int8_t* y) { return dot_byte(sum, w, y); }

inline I store_numbers(const I (&numbers)[4], std::int8_t* to) {
  I total = zero_int();
  for (int i = 0; i < 4; ++i) {
    store_int8(to + 16 * i, numbers[i]);
    total = add_int(total, numbers[i]);
  }
  return total;
}

inline F hadamard_lanes(F x) {
  float lanes[16];
  store(lanes, x);
  for (int half = 1; half < 16; half *= 2) {
    for (int i = 0; i < 16; ++i) {
      if ((i & half) != 0) continue;
      const float a = lanes[i];
      lanes[i] = a + lanes[i + half];
      lanes[i + half] = a - lanes[i + half];
    }
  }
  return load(lanes);
}

#if defined(__AVX2__)

inline void turn_quads(B (&rows)[4]) {
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (B& row : rows) {
    row = {_mm256_shuffle_epi8(row.a, order), _mm256_shuffle_epi8(row.b, order)};
  }
  const auto pair = [](__m256i x, __m256i y, __m256i z, __m256i w, auto which) -> B {
    constexpr int kWhich = decltype(which)::value;  // also a constant where nothing is inlined
    return {_mm256_permute2x128_si256(x, y, kWhich), _mm256_permute2x128_si256(z, w, kWhich)};
  };
  constexpr std::integral_constant<int, 0x20> kLow;
  constexpr std::integral_constant<int, 0x31> kHigh;
  const B first = pair(rows[0].a, rows[1].a, rows[2].a, rows[3].a, kLow);
  const B second = pair(rows[0].a, rows[1].a, rows[2].a, rows[3].a, kHigh);
  const B third = pair(rows[0].b, rows[1].b, rows[2].b, rows[3].b, kLow);
  const B fourth = pair(rows[0].b, rows[1].b, rows[2].b, rows[3].b, kHigh);
  rows[0] = first;
  rows[1] = second;
  rows[2] = third;
  rows[3] = fourth;
}

#else

inline void turn_quads(B (&rows)[4]) {
  std::uint8_t from[4][64];
  std::uint8_t to[64];
  for (int i = 0; i < 4; ++i) store_bytes(from[i], rows[i]);
  for (int quarter = 0; quarter < 4; ++quarter) {
    for (int i = 0; i < 64; ++i) to[i] = from[i / 16][16 * quarter + i % 4 * 4 + i / 4 % 4];
    rows[quarter] = load_bytes(to);
  }
}

#endif
#endif

}  // namespace
}  // namespace hearth::compute::cpu
