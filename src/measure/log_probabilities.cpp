#include "measure/log_probabilities.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace hearth::measure {
namespace {

// A vocabulary has 1e5 tokens and every scored token needs a pass over all of them, so these loops
// are written on vectors, which the compiler splits into what the machine has.
constexpr std::size_t kLanes = 8;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using Shorts = std::uint16_t __attribute__((vector_size(kLanes * sizeof(std::uint16_t))));
using Doubles = double __attribute__((vector_size(kLanes * sizeof(double))));

template <class Vector, class Element>
Vector load(const Element* from) noexcept {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

double sum_of(const Doubles& lanes) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

/// e^x for x <= 0 to about 1e-7 of its value, 0 below -87; NaN stays NaN. x = n ln 2 + r with |r|
/// <= ln 2 / 2 and a Taylor polynomial for e^r.
Floats exp_not_positive(Floats x) noexcept {
  constexpr float kLeast = -87;
  constexpr float kRounder = 12582912;  // 1.5 * 2^23: adding it rounds to an integer
  const Ints vanishes = x < kLeast;
  x = vanishes ? Floats{} + kLeast : x;
  const Floats n = (x * 1.44269504088896341F + kRounder) - kRounder;
  // ln 2 in two parts; the first has few bits, so that n times it is exact.
  const Floats r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  Floats power = r * (1.0F / 5040) + 1.0F / 720;
  power = power * r + 1.0F / 120;
  power = power * r + 1.0F / 24;
  power = power * r + 1.0F / 6;
  power = power * r + 0.5F;
  power = power * r + 1.0F;
  power = power * r + 1.0F;
  // NaN must not be converted to an integer; whatever n is then, the product is NaN.
  const Floats whole = n == n ? n : Floats{};
  const Ints exponent = __builtin_convertvector(whole, Ints);
  const Floats scale = std::bit_cast<Floats>((exponent + 127) << 23);
  const Floats result = power * scale;
  return vanishes ? Floats{} : result;
}

/// The last, unfinished vector of a row; the lanes beyond it hold `fill`.
template <class Vector, class Element>
Vector load_tail(std::span<const Element> tail, Element fill) noexcept {
  Element lanes[kLanes];
  std::fill(std::begin(lanes), std::end(lanes), fill);
  std::copy(tail.begin(), tail.end(), lanes);
  return load<Vector>(lanes);
}

}  // namespace

RowSummary summarise(std::span<const float> logits) noexcept {
  const std::size_t whole = logits.size() / kLanes * kLanes;
  Floats high = Floats{} + logits[0];
  Floats low = high;
  const auto compare = [&](Floats x) {
    high = x > high ? x : high;
    low = x < low ? x : low;
  };
  for (std::size_t i = 0; i < whole; i += kLanes) compare(load<Floats>(logits.data() + i));
  compare(load_tail<Floats>(logits.subspan(whole), logits[0]));
  RowSummary summary;
  summary.highest = summary.lowest = logits[0];
  for (std::size_t i = 0; i < kLanes; ++i) {
    summary.highest = std::max<float>(summary.highest, high[i]);
    summary.lowest = std::min<float>(summary.lowest, low[i]);
  }
  Doubles sum{};
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Floats e = exp_not_positive(load<Floats>(logits.data() + i) - summary.highest);
    sum += __builtin_convertvector(e, Doubles);
  }
  double total = sum_of(sum);
  for (const float logit : logits.subspan(whole)) {
    total += std::exp(static_cast<double>(logit) - summary.highest);
  }
  summary.log_sum = std::log(total);
  const auto best = std::find(logits.begin(), logits.end(), summary.highest);
  summary.best = static_cast<std::int32_t>(best - logits.begin());
  return summary;
}

double log_probability(const RowSummary& summary, std::span<const float> logits,
                       std::int32_t token) noexcept {
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - summary.highest -
         summary.log_sum;
}

PackedRow pack(const RowSummary& summary, std::span<const float> logits,
               std::span<std::uint16_t> depths) noexcept {
  constexpr float kMost = 65535;
  constexpr float kAllAlike = 1e-30F;  // smaller steps have no reciprocal
  const float range = std::min(kDepth, summary.highest - summary.lowest);
  const float step = range > kAllAlike ? range / kMost : 0.0F;
  const float steps = step > 0 ? 1.0F / step : 0.0F;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float depth = step > 0 ? (summary.highest - logits[i]) * steps + 0.5F : 0.0F;
    depths[i] = static_cast<std::uint16_t>(std::min(depth, kMost));
  }
  return {static_cast<float>(-summary.log_sum), step, depths.first(logits.size())};
}

double divergence(const PackedRow& p, const RowSummary& summary,
                  std::span<const float> logits) noexcept {
  // With a = step * depth and b = highest - logit: p = exp(-a) / P and q = exp(-b) / Q, so that
  // sum p (log p - log q) = (sum exp(-a) (b - a)) / P - log P + log Q.
  Doubles masses{};
  Doubles differences{};
  const auto add = [&](Floats logit, Shorts depth, Floats weight) {
    Floats b = summary.highest - logit;
    b = b > kDepth ? Floats{} + kDepth : b;
    const Floats a = __builtin_convertvector(__builtin_convertvector(depth, Ints), Floats) * p.step;
    const Floats e = exp_not_positive(-a) * weight;
    masses += __builtin_convertvector(e, Doubles);
    differences += __builtin_convertvector(e * (b - a), Doubles);
  };
  const std::size_t whole = logits.size() / kLanes * kLanes;
  const Floats one = Floats{} + 1.0F;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    add(load<Floats>(logits.data() + i), load<Shorts>(p.depths.data() + i), one);
  }
  if (whole < logits.size()) {
    const std::size_t rest = logits.size() - whole;
    constexpr float kOnes[kLanes] = {1, 1, 1, 1, 1, 1, 1, 1};
    add(load_tail<Floats>(logits.subspan(whole), summary.highest),
        load_tail<Shorts>(p.depths.subspan(whole), std::uint16_t{0}),
        load_tail<Floats>(std::span<const float>(kOnes).first(rest), 0.0F));
  }
  const double mass = sum_of(masses);
  return std::max(0.0, sum_of(differences) / mass - std::log(mass) + summary.log_sum);
}

}  // namespace hearth::measure
