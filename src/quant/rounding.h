// Rounding of values to a range of integers, defined for every input (a NaN becomes the lowest).
// Internal to the room.
#pragma once

#include <cmath>

namespace hearth::quant {

[[nodiscard]] inline int truncated(float value, int low, int high) noexcept {
  if (!(value > static_cast<float>(low))) return low;
  return value < static_cast<float>(high) ? static_cast<int>(value) : high;
}

/// To nearest, halves away from zero.
[[nodiscard]] inline int rounded(float value, int low, int high) noexcept {
  return truncated(std::round(value), low, high);
}

/// 1 / scale, or 0 where that is not finite (all values of a block are then stored as 0).
[[nodiscard]] inline float inverse_or_zero(float scale) noexcept {
  const float inverse = 1.0F / scale;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

/// The first of the values with the largest magnitude.
[[nodiscard]] inline float signed_extreme(const float* values, int count) noexcept {
  float extreme = 0.0F;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  return extreme;
}

}  // namespace hearth::quant
