#include "quant/codebook_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::quant {

/// Errors of all parts at factors that grow by a constant ratio.
struct CodebookSearch::Curves {
  static constexpr int kSteps = 160;

  float log_low;
  float steps_per_log;
  int offsets[kMostScales];  ///< of factor(s) from factor(0), in steps
  float factors[kSteps];
  alignas(16) float error[kMostParts][3 * kSteps];  ///< step 0 at kSteps; zeros around the steps

  [[nodiscard]] int step_of(float factor) const noexcept {
    return static_cast<int>(std::lround((std::log(factor) - log_low) * steps_per_log));
  }
  /// Also of steps outside the curves.
  [[nodiscard]] float factor(int step) const noexcept {
    return std::exp(log_low + static_cast<float>(step) / steps_per_log);
  }
};

namespace {

constexpr float kHuge = std::numeric_limits<float>::max();

/// Index of the line that is lowest at `factor`.
int lowest_line(const float* twice_a, const float* b, int count, float factor) {
  Float4 least = all4(kHuge);
  Float4 where{};
  Float4 index{0, 1, 2, 3};
  for (int i = 0; i < count; i += 4) {
    const Float4 value = load4(b + i) * factor - load4(twice_a + i);
    const auto lower = value < least;
    least = min4(value, least);
    where = lower ? index : where;
    index += 4.0F;
  }
  int best = 0;
  for (int k = 1; k < 4; ++k) {
    if (least[k] < least[best] || (least[k] == least[best] && where[k] < where[best])) best = k;
  }
  return static_cast<int>(where[best]);
}

/// Quickhull: between two lines of the envelope, only lines below the point where they cross can
/// belong to it; the lowest of them there does, and splits the interval and the candidates.
class EnvelopeBuilder {
 public:
  EnvelopeBuilder(const float* twice_a, const float* b, int count) noexcept
      : twice_a_(twice_a), b_(b), count_(count) {}

  [[nodiscard]] Envelope build(FactorRange range) noexcept {
    const int left = lowest_line(twice_a_, b_, count_, range.low);
    const int right = lowest_line(twice_a_, b_, count_, range.high);
    add(left);
    if (right != left) {
      add(right);
      split(left, right, {nullptr, count_}, 0);
    }
    sort();
    for (; envelope_.count % 4 != 0; ++envelope_.count) {  // copies of the last, for vector loops
      const auto n = static_cast<std::size_t>(envelope_.count);
      envelope_.a[n] = envelope_.a[n - 1];
      envelope_.b[n] = envelope_.b[n - 1];
      envelope_.point[n] = envelope_.point[n - 1];
    }
    return envelope_;
  }

 private:
  /// Null indices: all lines.
  struct Candidates {
    const std::uint16_t* indices;
    int count;
  };

  void add(int i) noexcept {
    const auto n = static_cast<std::size_t>(envelope_.count++);
    envelope_.a[n] = 0.5F * twice_a_[i];
    envelope_.b[n] = b_[i];
    envelope_.point[n] = static_cast<std::uint16_t>(i);
  }

  /// By falling slope: in the order in which they are lowest as the factor grows.
  void sort() noexcept {
    Envelope& e = envelope_;
    for (int i = 1; i < e.count; ++i) {
      for (int k = i; k > 0 && e.b[k] > e.b[k - 1]; --k) {
        std::swap(e.a[k], e.a[k - 1]);
        std::swap(e.b[k], e.b[k - 1]);
        std::swap(e.point[k], e.point[k - 1]);
      }
    }
  }

  /// `used`: how much of the pool the callers hold. Every call adds a line, which bounds the depth.
  void split(int left, int right, Candidates from, int used) noexcept {
    const float slope = b_[left] - b_[right];
    const float height = twice_a_[left] - twice_a_[right];
    if (envelope_.count == Envelope::kMost || !(slope > 0) || !(height > 0)) return;
    const float factor = height / slope;
    const float crossing = b_[left] * factor - twice_a_[left];
    const float limit = crossing - 1e-6F * std::fabs(crossing);
    // Without branches: about half of the lines are below, in no order.
    std::uint16_t* kept = pool_.data() + used;
    const bool room = from.count <= static_cast<int>(pool_.size()) - used;
    int below = 0;
    int lowest = -1;
    float least = limit;
    const auto consider = [&](int i, float value) {
      kept[below] = static_cast<std::uint16_t>(i);
      below += room && value < limit ? 1 : 0;
      lowest = value < least ? i : lowest;
      least = value < least ? value : least;
    };
    if (from.indices != nullptr) {
      for (int n = 0; n < from.count; ++n) {
        const int i = from.indices[n];
        consider(i, b_[i] * factor - twice_a_[i]);
      }
    } else {
      for (int i = 0; i < count_; i += 4) {
        const Float4 value = load4(b_ + i) * factor - load4(twice_a_ + i);
        for (int k = 0; k < 4; ++k) consider(i + k, value[k]);
      }
    }
    if (lowest < 0) return;
    add(lowest);
    Candidates next = from;
    if (room) {
      next = {kept, below};
      used += below;
    }
    split(left, lowest, next, used);
    split(lowest, right, next, used);
  }

  const float* twice_a_;
  const float* b_;
  int count_;
  Envelope envelope_;
  std::array<std::uint16_t, 8192 + 1> pool_;  // one to spare: for what is not kept
};

}  // namespace

Envelope lower_envelope(const float* twice_a, const float* b, int count,
                        FactorRange range) noexcept {
  return EnvelopeBuilder(twice_a, b, count).build(range);
}

float Envelope::at(float factor) const noexcept {
  Float4 least = all4(kHuge);
  for (int i = 0; i < count; i += 4) {
    const Float4 value = load4(b + i) * factor - 2.0F * load4(a + i);
    least = min4(value, least);
  }
  return factor * std::min(std::min(least[0], least[1]), std::min(least[2], least[3]));
}

int Envelope::line_at(float factor) const noexcept {
  int best = 0;
  for (int i = 1; i < count; ++i) {
    if (b[i] * factor - 2.0F * a[i] < b[best] * factor - 2.0F * a[best]) best = i;
  }
  return best;
}

Envelope* CodebookSearch::add_cell(int envelopes, int alternatives) noexcept {
  const int first = envelope_count_;
  cells_[static_cast<std::size_t>(cell_count_++)] = {first, envelopes, alternatives};
  envelope_count_ += envelopes * alternatives;
  return &envelopes_[static_cast<std::size_t>(first)];
}

/// Relative to storing zeros (negative: better).
float CodebookSearch::part_error(int part, float factor) const noexcept {
  const int cells = cell_count_ / parts_;
  float error = 0;
  for (int c = part * cells; c < (part + 1) * cells; ++c) {
    const Cell& cell = cells_[static_cast<std::size_t>(c)];
    const Envelope* envelope = &envelopes_[static_cast<std::size_t>(cell.first)];
    float least = kHuge;
    for (int alternative = 0; alternative < cell.alternatives; ++alternative) {
      float sum = 0;
      for (int e = 0; e < cell.envelopes; ++e) sum += (envelope++)->at(factor);
      least = std::min(least, sum);
    }
    error += least;
  }
  return error;
}

CodebookSearch::PartChoice CodebookSearch::choose(const Curves& curves, int part,
                                                  float scale) const noexcept {
  // Only sub-scales whose error on the curve is close to the least are worth computing.
  float estimates[kMostScales];
  float least = kHuge;
  const int first = curves.step_of(scale * factors_[0]);
  for (std::size_t s = 0; s < factors_.size(); ++s) {
    const int step = std::clamp(first + curves.offsets[s], 0, Curves::kSteps - 1);
    estimates[s] = curves.error[part][Curves::kSteps + step];
    least = std::min(least, estimates[s]);
  }
  PartChoice best{0, kHuge};
  for (std::size_t s = 0; s < factors_.size(); ++s) {
    if (estimates[s] > least + 0.015F * std::fabs(least)) continue;
    const float error = part_error(part, scale * factors_[s]);
    if (error < best.error) best = {static_cast<int>(s), error};
  }
  return best;
}

/// Fills alternative and point from scale and part_scale. Returns the scale that suits these lines
/// best, d = Σ factor a / Σ factor² b.
float CodebookSearch::decide(Result& result) const noexcept {
  const int cells = cell_count_ / parts_;
  float sum_a = 0;
  float sum_b = 0;
  for (int c = 0; c < cell_count_; ++c) {
    const Cell& cell = cells_[static_cast<std::size_t>(c)];
    const int scale = result.part_scale[static_cast<std::size_t>(c / cells)];
    const float multiple = factors_[static_cast<std::size_t>(scale)];
    const float factor = result.scale.value * multiple;
    float least = kHuge;
    float chosen_a = 0;
    float chosen_b = 0;
    int at = cell.first;
    for (int alternative = 0; alternative < cell.alternatives; ++alternative) {
      float a = 0;
      float b = 0;
      for (int e = 0; e < cell.envelopes; ++e, ++at) {
        const Envelope& envelope = envelopes_[static_cast<std::size_t>(at)];
        const int line = envelope.line_at(factor);
        result.point[static_cast<std::size_t>(at)] = envelope.point[line];
        a += envelope.a[line];
        b += envelope.b[line];
      }
      const float error = b * factor - 2.0F * a;
      if (error < least) {
        least = error;
        chosen_a = a;
        chosen_b = b;
        result.alternative[static_cast<std::size_t>(c)] = alternative;
      }
    }
    sum_a += multiple * chosen_a;
    sum_b += multiple * multiple * chosen_b;
  }
  return sum_b > 0 ? sum_a / sum_b : 0.0F;
}

void CodebookSearch::refine(const Curves& curves, HalfScale scale, const Block& block,
                            Result& best) const noexcept {
  for (int round = 0; round < 4 && scale.value > 0; ++round) {
    Result result;
    result.scale = scale;
    for (int part = 0; part < parts_; ++part) {
      const PartChoice choice = choose(curves, part, scale.value);
      result.part_scale[static_cast<std::size_t>(part)] = choice.scale;
      result.error += choice.error;
    }
    const HalfScale solved = nearest_half(decide(result), block.unit);
    if (result.error < best.error) best = result;
    if (solved.bits == scale.bits) return;
    scale = solved;
  }
}

/// Adds the least errors of `envelope` at all steps. As the factor grows, its lines are lowest one
/// after the other.
void CodebookSearch::add_curve(const Envelope& envelope, const float* factors,
                               float* sums) noexcept {
  int line = 0;
  for (int step = 0; step < Curves::kSteps; ++step) {
    const float factor = factors[step];
    float value = envelope.b[line] * factor - 2.0F * envelope.a[line];
    while (line + 1 < envelope.count) {
      const float next = envelope.b[line + 1] * factor - 2.0F * envelope.a[line + 1];
      if (!(next < value)) break;
      value = next;
      ++line;
    }
    sums[step] += factor * value;
  }
}

void CodebookSearch::draw(Curves& curves) const noexcept {
  const float log_ratio = std::log(range_.high / range_.low) / (Curves::kSteps - 1);
  curves.log_low = std::log(range_.low);
  curves.steps_per_log = 1.0F / log_ratio;
  for (int step = 0; step < Curves::kSteps; ++step) curves.factors[step] = curves.factor(step);
  const int cells = cell_count_ / parts_;
  for (int part = 0; part < parts_; ++part) {
    std::fill_n(curves.error[part], 3 * Curves::kSteps, 0.0F);
    float* error = curves.error[part] + Curves::kSteps;
    for (int c = part * cells; c < (part + 1) * cells; ++c) {
      const Cell& cell = cells_[static_cast<std::size_t>(c)];
      const Envelope* envelope = &envelopes_[static_cast<std::size_t>(cell.first)];
      float least[Curves::kSteps];
      for (int alternative = 0; alternative < cell.alternatives; ++alternative) {
        float sums[Curves::kSteps] = {};
        for (int e = 0; e < cell.envelopes; ++e) add_curve(*envelope++, curves.factors, sums);
        for (int step = 0; step < Curves::kSteps; ++step) {
          least[step] = alternative == 0 ? sums[step] : std::min(least[step], sums[step]);
        }
      }
      for (int step = 0; step < Curves::kSteps; ++step) error[step] += least[step];
    }
  }
  for (std::size_t s = 0; s < factors_.size(); ++s) {
    curves.offsets[s] =
        static_cast<int>(std::lround(std::log(factors_[s] / factors_[0]) / log_ratio));
  }
}

/// Errors for all scales on the steps of the curves, from one whose largest sub-scale gives the
/// lowest factor (step `first` of the curves is then below them) to one whose smallest gives the
/// highest; every part takes its best sub-scale from its curve.
void CodebookSearch::scan(const Curves& curves, int first, std::span<float> totals) const noexcept {
  std::fill(totals.begin(), totals.end(), 0.0F);
  const int count = static_cast<int>(totals.size());
  for (int part = 0; part < parts_; ++part) {
    alignas(16) float least[2 * Curves::kSteps] = {};
    for (std::size_t s = 0; s < factors_.size(); ++s) {
      const float* error = curves.error[part] + Curves::kSteps + first + curves.offsets[s];
      for (int i = 0; i < count; i += 4) {
        store4(least + i, min4(load4(error + i), load4(least + i)));
      }
    }
    for (int i = 0; i < count; ++i) totals[static_cast<std::size_t>(i)] += least[i];
  }
}

CodebookSearch::Result CodebookSearch::best(const Block& block) const noexcept {
  Curves curves;
  draw(curves);
  const int first = -std::min(curves.offsets[factors_.size() - 1], Curves::kSteps);
  float totals[2 * Curves::kSteps];
  const int scales = (Curves::kSteps - first) / 4 * 4;
  scan(curves, first, std::span(totals, static_cast<std::size_t>(scales)));
  Result best;
  constexpr int kRefined = 4;
  for (int n = 0; n < kRefined; ++n) {
    const int i = static_cast<int>(std::min_element(totals, totals + scales) - totals);
    if (!(totals[i] < 0)) break;
    const float scale = curves.factor(first + i) / factors_[0];
    refine(curves, nearest_half(scale, block.unit), block, best);
    totals[i] = 0;
  }
  return best;
}

}  // namespace hearth::quant
