#include "quant/codebook_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::quant {
namespace {

constexpr float kHuge = std::numeric_limits<float>::max();

struct Lowest {
  int index;
  float value;
};

Lowest lowest_line(const float* twice_a, const float* b, int count, float factor) {
  Float4 least = all4(kHuge);
  Float4 where{};
  Float4 index{0, 1, 2, 3};
  for (int i = 0; i < count; i += 4) {
    const Float4 value = load4(b + i) * factor - load4(twice_a + i);
    const auto lower = value < least;
    least = lower ? value : least;
    where = lower ? index : where;
    index += 4.0F;
  }
  Lowest best{static_cast<int>(where[0]), least[0]};
  for (int k = 1; k < 4; ++k) {
    const int at = static_cast<int>(where[k]);
    if (least[k] < best.value || (least[k] == best.value && at < best.index)) {
      best = {at, least[k]};
    }
  }
  return best;
}

}  // namespace

Envelope lower_envelope(const float* twice_a, const float* b, int count,
                        FactorRange range) noexcept {
  Envelope envelope;
  const auto add = [&](int i) {
    const auto n = static_cast<std::size_t>(envelope.count++);
    envelope.a[n] = 0.5F * twice_a[i];
    envelope.b[n] = b[i];
    envelope.point[n] = static_cast<std::uint16_t>(i);
  };
  const int left = lowest_line(twice_a, b, count, range.low).index;
  const int right = lowest_line(twice_a, b, count, range.high).index;
  add(left);
  if (right != left) add(right);
  // Between two lines of the envelope, the lowest line where they cross is either one of them (no
  // line lies between) or a third one, which splits the interval.
  struct Pair {
    int left;
    int right;
  };
  Pair open[Envelope::kMost + 2];
  int opened = 0;
  open[opened++] = {left, right};
  while (opened > 0 && envelope.count < Envelope::kMost) {
    const Pair pair = open[--opened];
    const float slope = b[pair.left] - b[pair.right];
    const float height = twice_a[pair.left] - twice_a[pair.right];
    if (!(slope > 0) || !(height > 0)) continue;
    const float factor = height / slope;
    const Lowest lowest = lowest_line(twice_a, b, count, factor);
    const float value = b[pair.left] * factor - twice_a[pair.left];
    if (lowest.index == pair.left || lowest.index == pair.right) continue;
    if (!(lowest.value < value - 1e-6F * std::fabs(value))) continue;
    add(lowest.index);
    if (opened + 2 > Envelope::kMost) continue;
    open[opened++] = {pair.left, lowest.index};
    open[opened++] = {lowest.index, pair.right};
  }
  for (; envelope.count % 4 != 0; ++envelope.count) {  // copies, for vector loops
    const auto n = static_cast<std::size_t>(envelope.count);
    envelope.a[n] = envelope.a[0];
    envelope.b[n] = envelope.b[0];
    envelope.point[n] = envelope.point[0];
  }
  return envelope;
}

float Envelope::at(float factor) const noexcept {
  Float4 least = all4(kHuge);
  for (int i = 0; i < count; i += 4) {
    const Float4 value = load4(b + i) * factor - 2.0F * load4(a + i);
    least = value < least ? value : least;
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

CodebookSearch::PartChoice CodebookSearch::choose(int part, float scale) const noexcept {
  PartChoice best{0, kHuge};
  for (std::size_t s = 0; s < factors_.size(); ++s) {
    const float error = part_error(part, scale * factors_[s]);
    if (error < best.error) best = {static_cast<int>(s), error};
  }
  return best;
}

/// Fills alternative and point from scale and part_scale.
void CodebookSearch::decide(Result& result) const noexcept {
  const int cells = cell_count_ / parts_;
  for (int c = 0; c < cell_count_; ++c) {
    const Cell& cell = cells_[static_cast<std::size_t>(c)];
    const int scale = result.part_scale[static_cast<std::size_t>(c / cells)];
    const float factor = result.scale.value * factors_[static_cast<std::size_t>(scale)];
    float least = kHuge;
    int at = cell.first;
    for (int alternative = 0; alternative < cell.alternatives; ++alternative) {
      float sum = 0;
      for (int e = 0; e < cell.envelopes; ++e, ++at) {
        const Envelope& envelope = envelopes_[static_cast<std::size_t>(at)];
        const int line = envelope.line_at(factor);
        result.point[static_cast<std::size_t>(at)] = envelope.point[line];
        sum += factor * (envelope.b[line] * factor - 2.0F * envelope.a[line]);
      }
      if (sum < least) {
        least = sum;
        result.alternative[static_cast<std::size_t>(c)] = alternative;
      }
    }
  }
}

/// d = Σ factor a / Σ factor² b over the lines that `result` uses.
float CodebookSearch::solved_scale(const Result& result) const noexcept {
  const int cells = cell_count_ / parts_;
  float a = 0;
  float b = 0;
  for (int c = 0; c < cell_count_; ++c) {
    const Cell& cell = cells_[static_cast<std::size_t>(c)];
    const int scale = result.part_scale[static_cast<std::size_t>(c / cells)];
    const float factor = factors_[static_cast<std::size_t>(scale)];
    const int first = cell.first + cell.envelopes * result.alternative[static_cast<std::size_t>(c)];
    for (int e = first; e < first + cell.envelopes; ++e) {
      const Envelope& envelope = envelopes_[static_cast<std::size_t>(e)];
      const int line = envelope.line_at(result.scale.value * factor);
      a += factor * envelope.a[line];
      b += factor * factor * envelope.b[line];
    }
  }
  return b > 0 ? a / b : 0.0F;
}

void CodebookSearch::refine(HalfScale scale, int rounds, const Block& block,
                            Result& best) const noexcept {
  for (int round = 0; round < rounds && scale.value > 0; ++round) {
    Result result;
    result.scale = scale;
    for (int part = 0; part < parts_; ++part) {
      const PartChoice choice = choose(part, scale.value);
      result.part_scale[static_cast<std::size_t>(part)] = choice.scale;
      result.error += choice.error;
    }
    const bool better = result.error < best.error;
    if (better || round + 1 < rounds) decide(result);
    if (better) best = result;
    if (round + 1 == rounds) return;
    const HalfScale solved = nearest_half(solved_scale(result), block.unit);
    if (solved.bits == scale.bits) return;
    scale = solved;
  }
}

CodebookSearch::Result CodebookSearch::best(const Block& block) const noexcept {
  // Errors of all parts at factors that grow by a constant ratio.
  const float ratio = std::pow(range_.high / range_.low, 1.0F / (kSteps - 1));
  float curves[kMostParts][kSteps];
  float factor = range_.low;
  for (int step = 0; step < kSteps; ++step, factor *= ratio) {
    for (int part = 0; part < parts_; ++part) curves[part][step] = part_error(part, factor);
  }
  // Scales in the same ratio (of which the smallest sub-scale may leave the range below and the
  // largest above): every part takes its best sub-scale from its curve.
  int offsets[16];
  for (std::size_t s = 0; s < factors_.size(); ++s) {
    offsets[s] =
        static_cast<int>(std::lround(std::log(factors_[s] / factors_[0]) / std::log(ratio)));
  }
  const int first = -offsets[factors_.size() - 1];
  constexpr int kMostScales = 2 * kSteps;
  float totals[kMostScales];
  const int scales = std::min(kMostScales, kSteps - first);
  for (int i = 0; i < scales; ++i) {
    totals[i] = 0;
    for (int part = 0; part < parts_; ++part) {
      float least = 0;
      for (std::size_t s = 0; s < factors_.size(); ++s) {
        const int step = first + i + offsets[s];
        if (step < 0 || step >= kSteps) continue;
        least = std::min(least, curves[part][step]);
      }
      totals[i] += least;
    }
  }
  Result best;
  constexpr int kRefined = 4;
  for (int n = 0; n < kRefined; ++n) {
    const int i = static_cast<int>(std::min_element(totals, totals + scales) - totals);
    if (!(totals[i] < 0)) break;
    const float scale = range_.low * std::pow(ratio, static_cast<float>(first + i)) / factors_[0];
    refine(nearest_half(scale, block.unit), 4, block, best);
    totals[i] = 0;
  }
  for (int round = 0; round < 2 && best.scale.bits != 0; ++round) {
    const HalfScale middle = best.scale;
    for (const int step : {-2, -1, 1, 2})
      refine(next_half(middle, step, block.unit), 1, block, best);
    if (best.scale.bits == middle.bits) break;
  }
  return best;
}

}  // namespace hearth::quant
