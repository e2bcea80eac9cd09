// Super-blocks whose parts have small integer scales: x ≈ d * S_part * level(code). Internal to the
// room (Q3_K, Q6_K, IQ4_XS).
//
// For a given d every part picks its S alone, and for given S and codes the best d is
//   d = Σ w x S q / Σ w S² q².
// So: find the best real-valued scales of every part, try several d that place the largest of them
// on or near the end of the range of S, let the parts choose, solve for d, and repeat.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/encode_levels.h"

namespace hearth::quant {

template <typename Levels, int parts, int part_size, int lowest, int highest>
class TwoLevelSearch {
 public:
  struct Result {
    HalfScale scale{};
    float error = std::numeric_limits<float>::max();
    int parts_scales[parts] = {};
  };

  /// `trials`: of the scale of a part (see Trials). `exact_below`: an error, relative to storing
  /// zeros, far below the usual one of the format.
  TwoLevelSearch(const Block& block, Trials trials, float exact_below) noexcept
      : block_(block), exact_below_(exact_below) {
    for (int part = 0; part < parts; ++part) find_part_scales(part, trials);
  }

  /// `ends`: values of S for the part with the largest scale, in order of preference.
  template <std::size_t count>
  [[nodiscard]] Result best(const float (&ends)[count]) noexcept {
    float largest = 0;
    for (const auto& both : ideal_) {
      const float scale = both[0];
      if (std::fabs(scale) > std::fabs(largest)) largest = scale;
    }
    Result best;  // all zero: scale 0
    best.error = block_.power;
    if (largest == 0) return best;
    for (const float end : ends) refine(nearest_half(largest / end, block_.unit), 2, best);
    // Where the error is near the rounding of halves, the neighbours of the winner.
    for (int round = 0; round < 2 && best.error < 1e-4F * block_.power; ++round) {
      const float before = best.error;
      const HalfScale middle = best.scale;
      for (const int step : {-2, -1, 1, 2}) {
        refine(next_half(middle, step, block_.unit), 1, best);
      }
      if (!(best.error < before)) break;
    }
    // Blocks of few distinct values can be exact with products d S q of small factors far from the
    // usual ones, most likely where d has few bits.
    if (best.error > 0 && best.error < exact_below_ * block_.power) {
      reach_ = highest - lowest;
      for (const float end : ends) refine(nearest_half(largest / end, block_.unit), 2, best);
      float value = 0;
      for (int i = 0; i < block_.size; ++i) value = std::max(value, std::fabs(block_.x[i]));
      for (float products = 1; products < Levels::kLargest * -lowest; products *= 2) {
        refine(nearest_half(value / products, block_.unit), 1, best);
      }
    }
    return best;
  }

 private:
  [[nodiscard]] const float* x(int part) const { return block_.x + part * part_size; }
  [[nodiscard]] const float* w(int part) const { return block_.w + part * part_size; }

  /// The best real-valued scale of either sign, the better one first.
  void find_part_scales(int part, Trials trials) noexcept {
    float largest = 0;
    for (int i = 0; i < part_size; ++i) largest = std::max(largest, std::fabs(x(part)[i]));
    float gains[2] = {0, 0};
    ideal_[part][0] = ideal_[part][1] = 0;
    if (largest == 0) return;
    for (int sign = 0; sign < 2; ++sign) {
      for (int t = 0; t < trials.count; ++t) {
        const float steps = trials.first + trials.step * static_cast<float>(t);
        const float scale = (sign == 0 ? largest : -largest) / steps;
        const Measured m = measure<Levels>(x(part), w(part), part_size, scale);
        const float gain = m.qq > 0 ? m.xq * m.xq / m.qq : 0.0F;
        if (gain > gains[sign]) {
          gains[sign] = gain;
          ideal_[part][sign] = m.solved_scale();
        }
      }
    }
    if (gains[1] > gains[0]) std::swap(ideal_[part][0], ideal_[part][1]);
  }

  /// Lets the parts choose for `scale`, then for the scale solved from their choice, up to
  /// `rounds` times; keeps what is better than `best`.
  void refine(HalfScale scale, int rounds, Result& best) noexcept {
    for (int round = 0; round < rounds && scale.value != 0; ++round) {
      Result result;
      result.scale = scale;
      result.error = 0;
      float xq = 0;
      float qq = 0;
      for (int part = 0; part < parts; ++part) {
        const auto [multiple, measured] = choose(part, scale.value);
        result.parts_scales[part] = multiple;
        result.error += measured.error;
        const auto factor = static_cast<float>(multiple);
        xq += factor * measured.xq;
        qq += factor * factor * measured.qq;
      }
      if (result.error < best.error) best = result;
      if (!(qq > 0)) return;
      const HalfScale solved = nearest_half(xq / qq, block_.unit);
      if (solved.bits == scale.bits) return;
      scale = solved;
    }
  }

  struct PartChoice {
    int multiple;
    Measured measured;
  };

  [[nodiscard]] PartChoice choose(int part, float scale) const noexcept {
    PartChoice best{0, measure<Levels>(x(part), w(part), part_size, 0.0F)};
    if (ideal_[part][0] == 0) return best;
    for (const float ideal : ideal_[part]) {
      const float quotient =
          std::clamp(ideal / scale, static_cast<float>(lowest), static_cast<float>(highest));
      const int middle = static_cast<int>(std::lround(quotient));
      const int first = std::max(lowest, middle - reach_);
      const int last = std::min(highest, middle + reach_);
      for (int multiple = first; multiple <= last; ++multiple) {
        if (multiple == 0) continue;
        const Measured m =
            measure<Levels>(x(part), w(part), part_size, scale * static_cast<float>(multiple));
        if (m.error < best.measured.error) best = {multiple, m};
      }
    }
    return best;
  }

  const Block& block_;
  float exact_below_;
  int reach_ = 1;  ///< how many whole S to either side of its own best scale a part may choose
  float ideal_[parts][2];
};

/// The codes of a part for the factor its decoder uses.
template <typename Levels>
void codes_for(const float* x, int count, float factor, int* codes) noexcept {
  const float inverse = safe_inverse(factor);
  for (int i = 0; i < count; ++i) codes[i] = Levels::code(x[i] * inverse);
}

}  // namespace hearth::quant
