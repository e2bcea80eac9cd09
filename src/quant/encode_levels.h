// Scales of values that are stored as the nearest of some fixed levels: x ≈ scale * level(code).
// Internal to the room.
//
// For a given scale the best codes are the nearest levels, and for given codes the best scale is
//   s = Σ w x q / Σ w q²          (q: level of x's code)
// so the error is a function of the scale alone, with a local minimum per assignment. The searches
// here try many scales, solve each assignment for its scale, and measure what decoders will see.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "quant/encode_block.h"

namespace hearth::quant {

/// The integers low..high; code = level - low.
template <int low, int high>
struct IntegerLevels {
  static constexpr float kLargest = -low > high ? -low : high;
  [[nodiscard]] static Float4 nearest(Float4 value) noexcept {
    return round4(clamp4(value, all4(low), all4(high)));
  }
  [[nodiscard]] static int code(float value) noexcept {
    return static_cast<int>(nearest(all4(value))[0]) - low;
  }
};

/// Levels from a table. The midpoints between neighbours must be multiples of 1 / `resolution`, so
/// that one lookup of floor(value * resolution) finds the nearest level.
template <std::size_t count, int resolution, int extent>
class LevelTable {
 public:
  constexpr explicit LevelTable(const std::array<float, count>& levels) : levels_(levels) {
    for (int i = 0; i < kBins; ++i) {
      const float middle = (static_cast<float>(i) + 0.5F) / resolution - extent;
      std::size_t best = 0;
      const auto distance = [&](std::size_t k) {
        return middle > levels[k] ? middle - levels[k] : levels[k] - middle;
      };
      for (std::size_t k = 1; k < count; ++k) {
        if (distance(k) < distance(best)) best = k;
      }
      codes_[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(best);
      nearest_[static_cast<std::size_t>(i)] = levels[best];
    }
  }

  [[nodiscard]] Float4 nearest(Float4 value) const noexcept {
    const Float4 bin = bins(value);
    Float4 result;
    for (int k = 0; k < 4; ++k) result[k] = nearest_[static_cast<std::size_t>(bin[k])];
    return result;
  }
  [[nodiscard]] int code(float value) const noexcept {
    return codes_[static_cast<std::size_t>(bins(all4(value))[0])];
  }

 private:
  static constexpr int kBins = 2 * extent * resolution;

  [[nodiscard]] static Float4 bins(Float4 value) noexcept {
    constexpr auto kLast = static_cast<float>(kBins - 1);
    return clamp4((value + static_cast<float>(extent)) * static_cast<float>(resolution), Float4{},
                  all4(kLast));
  }

  std::array<float, count> levels_;
  std::array<std::uint8_t, kBins> codes_{};
  std::array<float, kBins> nearest_{};
};

/// The 16 levels of IQ4_NL and IQ4_XS; code = index.
struct NonLinearLevels {
  static constexpr float kLargest = 127;
  static constexpr LevelTable<16, 2, 128> kTable{std::array<float, 16>{
      -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}};
  [[nodiscard]] static Float4 nearest(Float4 value) noexcept { return kTable.nearest(value); }
  [[nodiscard]] static int code(float value) noexcept { return kTable.code(value); }
};

/// 4-bit floats; code = their bits. (-0, code 8, is never the first nearest.)
struct FloatE2M1Levels {
  static constexpr float kLargest = 6;
  static constexpr LevelTable<16, 4, 8> kTable{
      std::array<float, 16>{0, 0.5F, 1, 1.5F, 2, 3, 4, 6, 0, -0.5F, -1, -1.5F, -2, -3, -4, -6}};
  [[nodiscard]] static Float4 nearest(Float4 value) noexcept { return kTable.nearest(value); }
  [[nodiscard]] static int code(float value) noexcept { return kTable.code(value); }
};

/// What a scale makes of some values: the error Σ w (x - s q)², and the sums that solve for a
/// better scale with the same codes.
struct Measured {
  float error;
  float xq;  ///< Σ w x q
  float qq;  ///< Σ w q²

  [[nodiscard]] float solved_scale() const noexcept { return qq > 0 ? xq / qq : 0.0F; }
};

/// `size` is a multiple of 4.
template <typename Levels>
[[nodiscard]] Measured measure(const float* x, const float* w, int size, float scale) noexcept {
  const float inverse = safe_inverse(scale);
  Float4 error{};
  Float4 xq{};
  Float4 qq{};
  for (int i = 0; i < size; i += 4) {
    const Float4 value = load4(x + i);
    const Float4 weight = load4(w + i);
    const Float4 level = Levels::nearest(value * inverse);
    const Float4 difference = value - level * scale;
    const Float4 weighted = weight * level;
    error += weight * difference * difference;
    xq += weighted * value;
    qq += weighted * level;
  }
  return {sum4(error), sum4(xq), sum4(qq)};
}

/// Scales to try for values of magnitude up to `largest`: those that map it to `count` numbers
/// `first`, `first` + `step`, ...
struct Trials {
  float first;
  float step;
  int count;
};

struct Choice {
  HalfScale scale{};
  float error = std::numeric_limits<float>::max();
};

/// Replaces `best` by `scale` or a neighbouring half if one of them has less error.
template <typename Levels>
void try_halves(const Block& block, HalfScale scale, int reach, Choice& best) noexcept {
  for (int step = -reach; step <= reach; ++step) {
    const HalfScale half = next_half(scale, step, block.unit);
    const float error = measure<Levels>(block.x, block.w, block.size, half.value).error;
    if (error < best.error) best = {half, error};
  }
}

/// The best half-precision scale of a whole block with one scale.
template <typename Levels>
[[nodiscard]] Choice best_half_scale(const Block& block, Trials trials) noexcept {
  constexpr int kMost = 256;
  float scales[kMost];
  float errors[kMost];
  int count = 0;
  float largest = 0;
  for (int i = 0; i < block.size; ++i) largest = std::max(largest, std::fabs(block.x[i]));
  float least = block.power;
  const auto try_steps = [&](float steps) {
    for (const float scale : {largest / steps, -largest / steps}) {
      const Measured m = measure<Levels>(block.x, block.w, block.size, scale);
      // The error of these codes with their solved scale.
      const float gain = m.qq > 0 ? m.xq * m.xq / m.qq : 0.0F;
      scales[count] = m.solved_scale();
      errors[count] = block.power - gain;
      least = std::min(least, errors[count++]);
    }
  };
  // Values of few magnitudes may be exact far from the end of the levels.
  for (float steps = 1; steps < trials.first; steps *= 2) try_steps(steps);
  for (int t = 0; t < trials.count && count + 2 <= kMost; ++t) {
    try_steps(trials.first + trials.step * static_cast<float>(t));
  }
  // Rounding the scale costs up to 2^-22 of the power, so all that are this close may win.
  const float close = least * 1.01F + block.power * 2e-7F;
  Choice best{HalfScale{0, 0}, block.power};
  // The usual recipe: the largest value on the last level.
  for (const float end : {Levels::kLargest, -Levels::kLargest}) {
    try_halves<Levels>(block, nearest_half(largest / end, block.unit), 0, best);
  }
  int last = -1;
  for (int t = 0; t < count; ++t) {
    if (errors[t] > close) continue;
    const HalfScale half = nearest_half(scales[t], block.unit);
    if (half.bits == last) continue;
    last = half.bits;
    try_halves<Levels>(block, half, 1, best);
  }
  for (int round = 0; round < 3; ++round) {  // the solved scale may change codes, and so on
    const float before = best.error;
    const Measured m = measure<Levels>(block.x, block.w, block.size, best.scale.value);
    try_halves<Levels>(block, nearest_half(m.solved_scale(), block.unit), 1, best);
    if (!(best.error < before)) break;
  }
  return best;
}

}  // namespace hearth::quant
