#include "measure/log_probabilities.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "compute/cpu/kernel_choice.h"

namespace hearth::measure {
namespace {

constexpr std::size_t kBlock = 256;
/// Kernels take multiples of this.
constexpr std::size_t kKernelRows = 16;
struct alignas(64) Block {
  std::array<float, kBlock> values;
};

/// body(begin, count) for the blocks of a row.
template <class Body>
void for_blocks(std::size_t size, Body body) {
  for (std::size_t begin = 0; begin < size; begin += kBlock) {
    body(begin, std::min(kBlock, size - begin));
  }
}

// Sums in double precision, written on vectors, which the compiler splits into what the machine
// has.
constexpr std::size_t kLanes = 8;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Doubles = double __attribute__((vector_size(kLanes * sizeof(double))));

Floats load(const Block& block, std::size_t i) noexcept {
  Floats vector;
  std::memcpy(&vector, block.values.data() + i, sizeof vector);
  return vector;
}

double sum_of(const Doubles& lanes) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

double sum_of(const Block& block) noexcept {
  Doubles lanes{};
  for (std::size_t i = 0; i < kBlock; i += kLanes) {
    lanes += __builtin_convertvector(load(block, i), Doubles);
  }
  return sum_of(lanes);
}

/// The sum of masses[i] * (b[i] - a[i]).
double weighted_difference(const Block& masses, const Block& b, const Block& a) noexcept {
  Doubles lanes{};
  for (std::size_t i = 0; i < kBlock; i += kLanes) {
    const Floats product = load(masses, i) * (load(b, i) - load(a, i));
    lanes += __builtin_convertvector(product, Doubles);
  }
  return sum_of(lanes);
}

/// Everything from `count` on becomes what exp() makes nothing of.
void clear_rest(Block& block, std::size_t count) noexcept {
  std::fill(block.values.begin() + static_cast<std::ptrdiff_t>(count), block.values.end(),
            -std::numeric_limits<float>::infinity());
}

}  // namespace

RowReader::RowReader(const std::string& instruction_set)
    : kernels_(&compute::cpu::choose_kernels(instruction_set)) {}

RowSummary RowReader::summarise(std::span<const float> logits) const noexcept {
  RowSummary summary;
  const std::size_t whole = logits.size() / kKernelRows * kKernelRows;
  summary.highest = logits.back();
  if (whole > 0) {
    summary.highest = kernels_->largest(logits.data(), static_cast<std::int64_t>(whole));
  }
  for (const float logit : logits.subspan(whole)) {
    summary.highest = std::max(summary.highest, logit);
  }
  double total = 0;
  Block block;
  for_blocks(logits.size(), [&](std::size_t begin, std::size_t count) {
    std::copy_n(logits.data() + begin, count, block.values.data());
    clear_rest(block, count);
    kernels_->exp_row(block.values.data(), summary.highest, kBlock);
    total += sum_of(block);
  });
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
  const float lowest = *std::min_element(logits.begin(), logits.end());
  const float range = std::min(kDepth, summary.highest - lowest);
  const float step = range > kAllAlike ? range / kMost : 0.0F;
  const float steps = step > 0 ? 1.0F / step : 0.0F;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float depth = step > 0 ? (summary.highest - logits[i]) * steps + 0.5F : 0.0F;
    depths[i] = static_cast<std::uint16_t>(std::min(depth, kMost));
  }
  return {static_cast<float>(-summary.log_sum), step, depths.first(logits.size())};
}

double RowReader::divergence(const PackedRow& p, const RowSummary& summary,
                             std::span<const float> logits) const noexcept {
  // With a = step * depth and b = highest - logit: p = exp(-a) / P and q = exp(-b) / Q, so that
  // sum p (log p - log q) = (sum exp(-a) (b - a)) / P - log P + log Q.
  double mass = 0;
  double differences = 0;
  Block masses{};
  Block a{};
  Block b{};
  for_blocks(logits.size(), [&](std::size_t begin, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      a.values[i] = static_cast<float>(p.depths[begin + i]) * p.step;
      masses.values[i] = -a.values[i];
      const float depth = summary.highest - logits[begin + i];
      b.values[i] = depth < kDepth ? depth : kDepth;
    }
    clear_rest(masses, count);
    kernels_->exp_row(masses.values.data(), 0.0F, kBlock);
    mass += sum_of(masses);
    differences += weighted_difference(masses, b, a);
  });
  return std::max(0.0, differences / mass - std::log(mass) + summary.log_sum);
}

}  // namespace hearth::measure
