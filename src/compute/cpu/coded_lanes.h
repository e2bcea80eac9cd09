// What the kernels on coded pages need of an instruction set beyond its header simd_*.h, which must
// be included before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace hearth::compute::cpu {
namespace {

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
    return {_mm256_permute2x128_si256(x, y, which), _mm256_permute2x128_si256(z, w, which)};
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
