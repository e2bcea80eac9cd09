// Activations as the dot kernels want them: int8 with a scale per block, and the sums that undo the
// offsets and minima of weights. Scale = largest magnitude / 127, round to nearest.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {
namespace {

inline void quantize_lanes(const float* x, std::int64_t vectors, float largest_magnitude,
                           std::int8_t* out, std::int32_t* sums) {
  const F inverse = set(largest_magnitude > 1e-30F ? 127.0F / largest_magnitude : 0.0F);
  for (std::int64_t i = 0; i < vectors; ++i) {
    const I q = round_to_int(mul(load(x + 16 * i), inverse));
    store_int8(out + 16 * i, q);
    sums[i] = sum_int(q);
  }
}

inline float largest_magnitude(const float* x, std::int64_t vectors) {
  F most = zero();
  for (std::int64_t i = 0; i < vectors; ++i) most = max(most, abs(load(x + 16 * i)));
  return largest(most);
}

/// The bytes plus 128 are added in four 16-bit lanes of a word, then the lanes by a multiplication.
inline int sum_eight(const std::int8_t* q) {
  std::uint64_t bytes;
  __builtin_memcpy(&bytes, q, 8);
  bytes ^= 0x8080808080808080U;
  const std::uint64_t pairs = (bytes & 0x00FF00FF00FF00FFU) + (bytes >> 8 & 0x00FF00FF00FF00FFU);
  return static_cast<int>(pairs * 0x0001000100010001U >> 48) - 8 * 128;
}

/// The smallest of 1 .. kSubScales that times `unit` is at least `most`.
inline int least_sub_scale(float most, float unit) {
  if (!(unit > 0.0F)) return 1;
  int scale = static_cast<int>(most / unit);
  if (static_cast<float>(scale) * unit < most) ++scale;
  return scale < 1 ? 1 : scale > kSubScales ? kSubScales : scale;
}

inline void quantize_row32(const float* x, std::int64_t columns, std::byte* row) {
  const Row32Layout layout(columns);
  auto* const scales = reinterpret_cast<float*>(row + layout.scales);
  auto* const minus128 = reinterpret_cast<std::int32_t*>(row + layout.minus128);
  auto* const scaled_sums = reinterpret_cast<float*>(row + layout.scaled_sums);
  auto* const half_minus128 = reinterpret_cast<std::int32_t*>(row + layout.half_minus128);
  for (std::int64_t b = 0; b < columns / 32; ++b) {
    const float most = largest_magnitude(x + 32 * b, 2);
    std::int32_t sums[2];
    quantize_lanes(x + 32 * b, 2, most, reinterpret_cast<std::int8_t*>(row) + 32 * b, sums);
    scales[b] = most / 127.0F;
    minus128[b] = -128 * (sums[0] + sums[1]);
    half_minus128[2 * b] = -128 * sums[0];
    half_minus128[2 * b + 1] = -128 * sums[1];
    scaled_sums[b] = scales[b] * static_cast<float>(sums[0] + sums[1]);
  }
}

inline void quantize_row256(const float* x, std::int64_t columns, std::byte* row) {
  const Row256Layout layout(columns);
  auto* const scales = reinterpret_cast<float*>(row + layout.scales);
  auto* const minus32 = reinterpret_cast<std::int32_t*>(row + layout.minus32);
  auto* const sub_scales = reinterpret_cast<std::int32_t*>(row + layout.sub_scales);
  auto* const half_sums = reinterpret_cast<std::int16_t*>(row + layout.half_sums);
  auto* const half_minus32 = reinterpret_cast<std::int32_t*>(row + layout.half_minus32);
  auto* const sums16 = reinterpret_cast<std::int16_t*>(row + layout.sums16);
  auto* const sums8 = reinterpret_cast<std::int16_t*>(row + layout.sums8);
  for (std::int64_t b = 0; b < columns / 256; ++b) {
    const float unit = largest_magnitude(x + 256 * b, 16) / kSubScales;
    scales[b] = unit / 127.0F;
    for (std::int64_t i = 8 * b; i < 8 * b + 8; ++i) {
      const float most = largest_magnitude(x + 32 * i, 2);
      const int sub_scale = least_sub_scale(most, unit);
      std::int32_t sums[2];
      quantize_lanes(x + 32 * i, 2, static_cast<float>(sub_scale) * unit,
                     reinterpret_cast<std::int8_t*>(row) + 32 * i, sums);
      sub_scales[i] = sub_scale;
      minus32[i] = -32 * (sums[0] + sums[1]);
      half_minus32[2 * i] = -32 * sums[0];
      half_minus32[2 * i + 1] = -32 * sums[1];
      half_sums[i] = static_cast<std::int16_t>(sub_scale * (sums[0] + sums[1]) / 2);
      sums16[2 * i] = static_cast<std::int16_t>(sub_scale * sums[0]);
      sums16[2 * i + 1] = static_cast<std::int16_t>(sub_scale * sums[1]);
      for (int half = 0; half < 2; ++half) {
        const int first = sum_eight(reinterpret_cast<const std::int8_t*>(row) + 32 * i + 16 * half);
        sums8[4 * i + 2 * half] = static_cast<std::int16_t>(first);
        sums8[4 * i + 2 * half + 1] = static_cast<std::int16_t>(sums[half] - first);
      }
    }
  }
}

/// A last odd value is paired with zero.
inline void bfloat_row([[maybe_unused]] const float* x, [[maybe_unused]] std::int64_t size,
                       [[maybe_unused]] std::byte* to) {
#ifdef __AVX512BF16__
  for (std::int64_t i = 0; i < size; i += 32) {
    const std::int64_t left = size - i;
    const F low = left >= 16 ? load(x + i) : load_first(x + i, left);
    const F high = left >= 32  ? load(x + i + 16)
                   : left > 16 ? load_first(x + i + 16, left - 16)
                               : zero();
    store_bytes(to + 2 * i, to_bf16(low, high));
  }
#endif
}

}  // namespace
}  // namespace hearth::compute::cpu
