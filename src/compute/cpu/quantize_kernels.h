// Activations as the dot kernels want them: int8 with a scale per block, and the sums that undo the
// offsets and minima of weights. Scale = largest magnitude / 127, round to nearest.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {
namespace {

// Sixteen runs of 32 values are worked on at once: what there is one of per run is a lane.

inline constexpr std::int64_t kRunSize = 32;
inline constexpr std::int64_t kRuns = 16;

/// Lane i is the largest magnitude of run i of x, for i < count; the other lanes are zero.
inline F run_magnitudes(const float* x, std::int64_t count) {
  alignas(64) float turned[16 * kRuns];
  F runs[kRuns];
  for (std::int64_t i = 0; i < kRuns; ++i) {
    const float* const run = x + kRunSize * i;
    runs[i] = i < count ? max(abs(load(run)), abs(load(run + 16))) : zero();
  }
  store_transposed(runs, 16, turned);
  F most[4] = {load(turned), load(turned + 16), load(turned + 32), load(turned + 48)};
  for (int i = 4; i < 16; ++i) most[i % 4] = max(most[i % 4], load(turned + 16 * i));
  return max(max(most[0], most[1]), max(most[2], most[3]));
}

/// to = the values of `count` runs times 127 / magnitudes[run], as integers, and the sum of every
/// four of them.
inline void quantize_runs(const float* x, std::int64_t count, F magnitudes, std::int8_t* to,
                          std::int32_t* fours) {
  alignas(64) float inverses[kRuns];
  store(inverses, select_less(set(1e-30F), magnitudes, div(set(127.0F), magnitudes), zero()));
  for (std::int64_t i = 0; i < count; ++i) {
    const F inverse = set(inverses[i]);
    for (std::int64_t k = kRunSize * i; k < kRunSize * (i + 1); k += 16) {
      store_int8(to + k, round_to_int(mul(load(x + k), inverse)));
    }
  }
  // Two runs at a time; a last one's neighbour is not read.
  std::int64_t i = 0;
  for (; i + 2 <= count; i += 2) store_int(fours + 8 * i, sum_fours(to + kRunSize * i));
  if (i < count) {
    alignas(64) std::int8_t last[2 * kRunSize] = {};
    __builtin_memcpy(last, to + kRunSize * i, kRunSize);
    store_int(fours + 8 * i, sum_fours(last));
  }
}

template <std::size_t kCount>
inline void add_pairs(const std::int32_t (&from)[2 * kCount], std::int32_t (&to)[kCount]) {
  for (std::size_t i = 0; i < kCount; ++i) to[i] = from[2 * i] + from[2 * i + 1];
}

inline void quantize_row32(const float* x, std::int64_t columns, std::byte* row) {
  const Row32Layout layout(columns);
  auto* const scales = reinterpret_cast<float*>(row + layout.scales);
  auto* const minus128 = reinterpret_cast<std::int32_t*>(row + layout.minus128);
  auto* const scaled_sums = reinterpret_cast<float*>(row + layout.scaled_sums);
  auto* const half_minus128 = reinterpret_cast<std::int32_t*>(row + layout.half_minus128);
  alignas(64) float run_scales[kRuns];
  alignas(64) std::int32_t fours[8 * kRuns] = {};
  for (std::int64_t b = 0; b < columns / kRunSize; b += kRuns) {
    const std::int64_t count = columns / kRunSize - b < kRuns ? columns / kRunSize - b : kRuns;
    const F most = run_magnitudes(x + kRunSize * b, count);
    quantize_runs(x + kRunSize * b, count, most, reinterpret_cast<std::int8_t*>(row) + kRunSize * b,
                  fours);
    store(run_scales, div(most, set(127.0F)));
    std::int32_t eights[4 * kRuns];
    std::int32_t halves[2 * kRuns];
    std::int32_t sums[kRuns];
    add_pairs(fours, eights);
    add_pairs(eights, halves);
    add_pairs(halves, sums);
    for (std::int64_t h = 0; h < 2 * count; ++h) half_minus128[2 * b + h] = -128 * halves[h];
    for (std::int64_t i = 0; i < count; ++i) {
      scales[b + i] = run_scales[i];
      minus128[b + i] = -128 * sums[i];
      scaled_sums[b + i] = run_scales[i] * static_cast<float>(sums[i]);
    }
  }
}

/// quant::encode_kv for Q8_0, to the bit.
inline void quantize_blocks(const float* x, std::int64_t size, std::byte* blocks) {
  constexpr std::int64_t kBytes = 2 + kRunSize;
  const F largest_half = set(65504.0F);
  alignas(64) std::uint16_t halves[kRuns];
  alignas(64) float inverses[kRuns];
  for (std::int64_t b = 0; b < size / kRunSize; b += kRuns) {
    const std::int64_t count = size / kRunSize - b < kRuns ? size / kRunSize - b : kRuns;
    const F most = run_magnitudes(x + kRunSize * b, count);
    store_half(halves, min(largest_half, div(most, set(127.0F))));
    const F scales = load_half(halves);
    store(inverses, select_less(zero(), scales, div(set(1.0F), scales), zero()));
    for (std::int64_t i = 0; i < count; ++i) {
      std::byte* const block = blocks + kBytes * (b + i);
      __builtin_memcpy(block, halves + i, 2);
      for (std::int64_t k = 0; k < kRunSize; k += 16) {
        // A scale that was rounded down would make 128 of the largest.
        const F scaled = mul(load(x + kRunSize * (b + i) + k), set(inverses[i]));
        store_int8(reinterpret_cast<std::int8_t*>(block) + 2 + k,
                   round_to_int(max(set(-127.0F), min(set(127.0F), scaled))));
      }
    }
  }
}

/// In every lane the smallest of 1 .. kSubScales that times `unit` is at least `most`; 1 where the
/// unit is zero.
inline F least_sub_scales(F most, F unit) {
  const F one = set(1.0F);
  F scale = to_float(round_to_int(div(most, unit)));
  scale = select_less(mul(scale, unit), most, add(scale, one), scale);
  const F less = sub(scale, one);
  scale = select_less(mul(less, unit), most, scale, less);
  // In this order what is not a number becomes one.
  scale = min(max(scale, one), set(static_cast<float>(kSubScales)));
  return select_less(zero(), unit, scale, one);
}

/// to[0 .. kPerRun * count) = from, of the runs that there are.
template <int kPerRun, class T>
inline void put_runs(const T (&from)[kPerRun * kRuns], std::int64_t count, std::byte* to) {
  if (count == kRuns) {
    __builtin_memcpy(to, from, sizeof from);
  } else {
    __builtin_memcpy(to, from, sizeof(T) * kPerRun * static_cast<std::size_t>(count));
  }
}

/// What weights with sub-blocks of 32 want of sixteen runs from run `r` on.
inline void put_for_32(const std::int32_t (&sub_scales)[kRuns],
                       const std::int32_t (&halves)[2 * kRuns], const Row256Layout& layout,
                       std::int64_t r, std::int64_t count, std::byte* row) {
  std::int16_t scales[kRuns];
  std::int16_t half_sums[kRuns];
  std::int32_t starts[kRuns];
  std::int32_t sums[kRuns];
  add_pairs(halves, sums);
  for (int i = 0; i < kRuns; ++i) {
    scales[i] = static_cast<std::int16_t>(sub_scales[i]);
    half_sums[i] = static_cast<std::int16_t>(sub_scales[i] * sums[i] / 2);
    starts[i] = pair_rounding(kPairShift32, i) - 128 * sums[i];
  }
  put_runs<1>(scales, count, row + layout.sub_scales + 2 * r);
  put_runs<1>(half_sums, count, row + layout.half_sums + 2 * r);
  put_runs<1>(starts, count, row + layout.starts + 4 * r);
}

/// What weights with sub-blocks of 16 want of them.
inline void put_for_16(const std::int32_t (&sub_scales)[kRuns],
                       const std::int32_t (&eights)[4 * kRuns],
                       const std::int32_t (&halves)[2 * kRuns], const Row256Layout& layout,
                       std::int64_t r, std::int64_t count, std::byte* row) {
  std::int32_t twins[kRuns];
  std::int32_t starts32[2 * kRuns];
  std::int32_t starts128[2 * kRuns];
  std::int16_t sums16[2 * kRuns];
  std::int16_t sums8[4 * kRuns];
  for (int i = 0; i < kRuns; ++i) twins[i] = sub_scales[i] * 0x10001;
  for (int h = 0; h < 2 * kRuns; ++h) {
    const std::int32_t half = pair_rounding(kPairShift16, h);
    starts32[h] = half - 32 * halves[h];
    starts128[h] = half - 128 * halves[h];
    sums16[h] = static_cast<std::int16_t>(sub_scales[h / 2] * halves[h]);
  }
  for (int e = 0; e < 4 * kRuns; ++e) sums8[e] = static_cast<std::int16_t>(eights[e]);
  put_runs<1>(twins, count, row + layout.twin_sub_scales + 4 * r);
  put_runs<2>(starts32, count, row + layout.half_starts32 + 8 * r);
  put_runs<2>(starts128, count, row + layout.half_starts128 + 8 * r);
  put_runs<2>(sums16, count, row + layout.sums16 + 4 * r);
  put_runs<4>(sums8, count, row + layout.sums8 + 8 * r);
}

inline void quantize_row256(const float* x, std::int64_t columns, Row256Parts parts,
                            std::byte* row) {
  constexpr std::int64_t kBlockRuns = 256 / kRunSize;
  const Row256Layout layout(columns);
  auto* const scales = reinterpret_cast<float*>(row + layout.scales);
  alignas(64) float values[kRuns];
  alignas(64) std::int32_t run_scales[kRuns];
  alignas(64) std::int32_t fours[8 * kRuns] = {};
  for (std::int64_t r = 0; r < columns / kRunSize; r += kRuns) {
    const std::int64_t count = columns / kRunSize - r < kRuns ? columns / kRunSize - r : kRuns;
    const F most = run_magnitudes(x + kRunSize * r, count);
    store(values, most);
    for (std::int64_t first = 0; first < kRuns; first += kBlockRuns) {
      float largest_of_block = 0;
      for (std::int64_t i = first; i < first + kBlockRuns; ++i) {
        largest_of_block = values[i] > largest_of_block ? values[i] : largest_of_block;
      }
      const float unit = largest_of_block / kSubScales;
      if (first < count) scales[(r + first) / kBlockRuns] = unit / 127.0F;
      for (std::int64_t i = first; i < first + kBlockRuns; ++i) values[i] = unit;
    }
    const F units = load(values);
    const F sub_scale = least_sub_scales(most, units);
    store_int(run_scales, round_to_int(sub_scale));
    quantize_runs(x + kRunSize * r, count, mul(sub_scale, units),
                  reinterpret_cast<std::int8_t*>(row) + kRunSize * r, fours);
    std::int32_t eights[4 * kRuns];
    std::int32_t halves[2 * kRuns];
    add_pairs(fours, eights);
    add_pairs(eights, halves);
    if (parts.for_32) put_for_32(run_scales, halves, layout, r, count, row);
    if (parts.for_16) put_for_16(run_scales, eights, halves, layout, r, count, row);
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
