#include "quant/encode_block.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::quant {
namespace {

/// NaN counts as 0, infinities as the largest finite float.
float finite(float value) noexcept {
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (std::isnan(value)) return 0.0F;
  return std::clamp(value, -kLargest, kLargest);
}

/// How much of the plain squared error is mixed in. Importance is measured on some text and may be
/// far off for other text; this much brings the plain error of every golden row down to that of the
/// reference encoder (within 0.1 %) while the weighted error hardly changes.
constexpr double kPlainShare = 0.5;

/// Far below what any half-precision scale times a sub-scale can reach (2^-24 at least), yet large
/// enough for the inverses of units to be finite.
constexpr float kSmallest = 0x1p-120F;

}  // namespace

RowWeights::RowWeights(const float* values, const float* importance, std::size_t size) noexcept
    : importance_(importance) {
  if (importance == nullptr || size == 0) return;
  double roots = 0;
  double squares = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (importance[i] > 0) roots += std::sqrt(static_cast<double>(finite(importance[i])));
    const auto value = static_cast<double>(finite(values[i]));
    squares += value * value;
  }
  const auto count = static_cast<double>(size);
  // The square of the mean root: a mean that a few huge columns do not dominate.
  inverse_centre_ = roots > 0 ? (count / roots) * (count / roots) : 0;
  mean_square_ = squares / count;
}

float RowWeights::relative(std::size_t column) const noexcept {
  const float given = importance_[column];
  if (!(given > 0)) return 0;
  return static_cast<float>(std::min(static_cast<double>(finite(given)) * inverse_centre_, 1e12));
}

bool Block::load(const float* values, int count, const RowWeights& weights, std::size_t column,
                 Spread spread) noexcept {
  size = count;
  float largest = 0;
  for (int i = 0; i < size; ++i) {
    x[i] = finite(values[i]);
    largest = std::max(largest, std::fabs(x[i]));
  }
  if (largest < kSmallest) return false;
  unit = std::ldexp(1.0F, std::ilogb(largest));
  const float inverse = 1.0F / unit;
  for (int i = 0; i < size; ++i) x[i] *= inverse;
  if (weights.equal()) {
    std::fill_n(w, size, 1.0F);
  } else {
    float squares = 0;
    for (int i = 0; i < size; ++i) squares += x[i] * x[i];
    squares /= static_cast<float>(size);
    if (spread == Spread::kTwiceBlock) squares *= 2;
    if (spread == Spread::kRow) {
      const double row = weights.mean_square() / unit / unit;
      squares = static_cast<float>(std::min(row, 1e20));
    }
    float roots[kLargestBlock];
    double mean_root = 0;
    for (int i = 0; i < size; ++i) {
      roots[i] = spread == Spread::kNone ? 1.0F : std::sqrt(squares + x[i] * x[i]);
      mean_root += static_cast<double>(roots[i]) / size;
    }
    const auto plain = static_cast<float>(kPlainShare * mean_root);
    double sum = 0;
    for (int i = 0; i < size; ++i) {
      w[i] = weights.relative(column + static_cast<std::size_t>(i)) * roots[i] + plain;
      sum += static_cast<double>(w[i]);
    }
    const auto scale = static_cast<float>(size / sum);
    for (int i = 0; i < size; ++i) w[i] *= scale;
  }
  Float4 total{};
  for (int i = 0; i < size; i += 4) total += load4(w + i) * load4(x + i) * load4(x + i);
  power = sum4(total);
  return true;
}

HalfScale nearest_half(float scale, float unit) noexcept {
  const float wanted = scale * unit;
  std::uint16_t bits = std::isnan(wanted) ? std::uint16_t{0} : tensor::half_from_float(wanted);
  if ((bits & 0x7FFF) >= 0x7C00) bits = static_cast<std::uint16_t>((bits & 0x8000) | 0x7BFF);
  return {bits, tensor::float_from_half(bits) * (1.0F / unit)};
}

HalfScale next_half(HalfScale scale, int steps, float unit) noexcept {
  const int magnitude = std::clamp((scale.bits & 0x7FFF) + steps, 0, 0x7BFF);
  const auto bits = static_cast<std::uint16_t>((scale.bits & 0x8000) | magnitude);
  return {bits, tensor::float_from_half(bits) * (1.0F / unit)};
}

}  // namespace hearth::quant
