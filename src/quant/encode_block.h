// What all encoders share: a block of values scaled to magnitude 1 with the weights of its squared
// errors, sums over it, and half-precision scales. Internal to the room.
//
// Every encoder minimises  E = Σ w_i (x_i - decoded_i)^2  where w_i = 1 without importance, and
//   w_i = a_i r_i + c mean(r),   r_i = sqrt(σ² + x_i²)
// with it (a_i: importance of the column relative to the others'; σ²: mean square of the row or
// block, see Spread). The factor r is empirical: reference/quant-blocks.md section 5. The constant
// adds some of the plain error, see kPlainShare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace hearth::quant {

/// Four floats for the compiler's vector arithmetic (loops over plain floats with clamping do not
/// vectorise, and sums of floats may not be reordered by it).
using Float4 __attribute__((vector_size(16))) = float;

[[nodiscard]] inline Float4 load4(const float* from) noexcept {
  Float4 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline void store4(float* to, Float4 value) noexcept { std::memcpy(to, &value, sizeof value); }
[[nodiscard]] inline Float4 all4(float value) noexcept { return Float4{} + value; }
[[nodiscard]] inline float sum4(Float4 v) noexcept { return (v[0] + v[2]) + (v[1] + v[3]); }
/// To nearest, for magnitudes below 2^22.
[[nodiscard]] inline Float4 round4(Float4 value) noexcept {
  constexpr float kNoFraction = 12582912.0F;  // 1.5 * 2^23
  return (value + kNoFraction) - kNoFraction;
}
// One instruction on x86, which compilers do not make of the conditional expression.
[[nodiscard]] inline Float4 min4(Float4 a, Float4 b) noexcept {
#ifdef __SSE__
  return __builtin_ia32_minps(a, b);
#else
  return a < b ? a : b;
#endif
}
[[nodiscard]] inline Float4 max4(Float4 a, Float4 b) noexcept {
#ifdef __SSE__
  return __builtin_ia32_maxps(a, b);
#else
  return a > b ? a : b;
#endif
}
[[nodiscard]] inline Float4 clamp4(Float4 value, Float4 low, Float4 high) noexcept {
  return min4(max4(value, low), high);
}

/// Which σ² goes into the weights: the mean square of the row, of the block, twice that of the
/// block, or none of it (the importance alone).
enum class Spread { kRow, kBlock, kTwiceBlock, kNone };

/// The importance of a row's columns, prepared for the weights of its blocks.
class RowWeights {
 public:
  /// `importance` is null for equal weights. Both have `size` values and must outlive this object.
  RowWeights(const float* values, const float* importance, std::size_t size) noexcept;

  [[nodiscard]] bool equal() const noexcept { return importance_ == nullptr; }
  [[nodiscard]] double mean_square() const noexcept { return mean_square_; }
  /// Importance of a column relative to that of the row's typical one.
  [[nodiscard]] float relative(std::size_t column) const noexcept;

 private:
  const float* importance_;
  double inverse_centre_ = 0;
  double mean_square_ = 0;
};

constexpr int kLargestBlock = 256;

/// Values and weights of one block.
struct Block {
  int size;
  float unit;   ///< a power of two: a value is x * unit, and the largest |x| is in [1, 2)
  float power;  ///< Σ w x²
  alignas(16) float x[kLargestBlock];
  alignas(16) float w[kLargestBlock];  ///< of mean 1

  /// Takes `size` (a multiple of 4) values, which begin at `column` of the row. False when all are
  /// zero, or so small that formats with half-precision scales can only store zeros.
  bool load(const float* values, int count, const RowWeights& weights, std::size_t column,
            Spread spread) noexcept;
};

/// A half-precision scale in the units of a block: decoders see value * unit.
struct HalfScale {
  std::uint16_t bits;
  float value;
};

/// The half nearest to `scale` * `unit`; the largest finite one when that is out of range.
[[nodiscard]] HalfScale nearest_half(float scale, float unit) noexcept;
/// The half `steps` further from zero (or nearer, not beyond it).
[[nodiscard]] HalfScale next_half(HalfScale scale, int steps, float unit) noexcept;

/// 1 / scale, or 0 for a scale of 0 (every code is then that of 0).
[[nodiscard]] inline float safe_inverse(float scale) noexcept {
  return scale == 0.0F ? 0.0F : 1.0F / scale;
}

}  // namespace hearth::quant
