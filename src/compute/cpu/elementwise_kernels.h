// Kernels of the less common elementwise operations, written once over the primitives of simd_*.h.
//
// Included only by kernels_*.cpp, after the header of its instruction set and vector_kernels.h.
#pragma once

#include "compute/cpu/kernels.h"
#include "compute/cpu/vector_kernels.h"

namespace hearth::compute::cpu {
namespace {

inline void multiply_row(const float* a, const float* b, float* out, std::int64_t size) {
  for_lanes(size, [&](auto get, auto put) { put(out, mul(get(a), get(b))); });
}

inline float sum_squares_row(const float* x, std::int64_t size) {
  F squares = zero();
  for_lanes(size, [&](auto get, auto) { squares = fma(get(x), get(x), squares); });
  return sum(squares);
}

inline void keep_largest_row(float* x, float multiplier, std::int64_t size) {
  F total = zero();
  for_lanes(size, [&](auto get, auto) { total = add(total, get(x)); });
  const float mean = sum(total) / static_cast<float>(size);
  F squares = zero();
  std::int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    const F difference = sub(load(x + i), set(mean));
    squares = fma(difference, difference, squares);
  }
  float variance = sum(squares);
  for (; i < size; ++i) variance += (x[i] - mean) * (x[i] - mean);
  variance /= static_cast<float>(size > 1 ? size - 1 : 1);
  const F cutoff = set(mean + multiplier * __builtin_sqrtf(variance));
  for_lanes(size, [&](auto get, auto put) { put(x, max(zero(), sub(get(x), cutoff))); });
}

inline void blend_row(float* to, float a, const float* from, float b, std::int64_t size) {
  for (std::int64_t i = 0; i < size; i += 16) {
    store(to + i, add(mul(load(to + i), set(a)), mul(load(from + i), set(b))));
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
