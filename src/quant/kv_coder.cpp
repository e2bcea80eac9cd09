#include "quant/kv_coder.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/bytes.h"
#include "tensor/dtype.h"

namespace hearth::quant {
namespace {

constexpr double kHalfPi = 1.57079632679489661923;

/// Positive centroids of Lloyd-Max quantizers of one coordinate, of variance 1, of a random unit
/// vector: computed by Lloyd's iteration on the density c (1 - t^2)^((d - 3) / 2); d = 0: Gaussian.
struct Levels {
  std::int64_t d;
  int bits;
  std::array<float, 8> positive;
};
constexpr Levels kLevels[] = {
    {64, 2, {0.4521F, 1.5000F}},
    {64, 3, {0.2437F, 0.7506F, 1.3292F, 2.1112F}},
    {64, 4, {0.1273F, 0.3845F, 0.6501F, 0.9314F, 1.2389F, 1.5904F, 2.0228F, 2.6460F}},
    {128, 2, {0.4524F, 1.5052F}},
    {128, 3, {0.2444F, 0.7532F, 1.3365F, 2.1314F}},
    {128, 4, {0.1278F, 0.3861F, 0.6533F, 0.9367F, 1.2473F, 1.6039F, 2.0455F, 2.6885F}},
    {256, 2, {0.4526F, 1.5078F}},
    {256, 3, {0.2447F, 0.7546F, 1.3401F, 2.1416F}},
    {256, 4, {0.1281F, 0.3870F, 0.6549F, 0.9394F, 1.2516F, 1.6107F, 2.0570F, 2.7102F}},
    {0, 1, {0.797885F}},
    {0, 2, {0.452780F, 1.510418F}},
    {0, 3, {0.245094F, 0.756005F, 1.343909F, 2.151946F}},
    {0,
     4,
     {0.128395F, 0.388048F, 0.656759F, 0.942340F, 1.256231F, 1.618046F, 2.069017F, 2.732590F}},
};

/// Exact for the sizes that there are, else Gaussian.
const Levels& levels_of(int bits, std::int64_t d) noexcept {
  const Levels* gaussian = nullptr;
  for (const Levels& levels : kLevels) {
    if (levels.bits != bits) continue;
    if (levels.d == d) return levels;
    if (levels.d == 0) gaussian = &levels;
  }
  return *gaussian;
}

/// The unit in which the centroids are nearest to whole numbers; the largest is at most 127.
float best_unit(const Levels& levels) noexcept {
  const auto count = static_cast<std::size_t>(1 << (levels.bits - 1));
  const double most = levels.positive[count - 1];
  double best = std::numeric_limits<double>::infinity();
  double unit = 0;
  for (double largest = 127; largest > 112; largest -= 0.03125) {
    double error = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double x = levels.positive[i] / most * largest;
      const double off = (std::round(x) - x) * most / largest;
      error += off * off * std::exp(-0.5 * levels.positive[i] * levels.positive[i]);
    }
    if (error < best) {
      best = error;
      unit = most / largest;
    }
  }
  return static_cast<float>(unit);
}

CodeTable make_table(int bits, std::int64_t d, float unit) noexcept {
  CodeTable table;
  table.bits = bits;
  table.unit = unit;
  const Levels& levels = levels_of(bits, d);
  const auto half = static_cast<std::size_t>(1 << (bits - 1));
  for (std::size_t i = 0; i < half; ++i) {
    const auto number = static_cast<std::int8_t>(std::lround(levels.positive[i] / unit));
    table.numbers[half + i] = number;
    table.numbers[half - 1 - i] = static_cast<std::int8_t>(-number);
  }
  for (std::size_t i = 2 * half; i < 16; ++i) table.numbers[i] = table.numbers[i - 2 * half];
  for (std::size_t i = 0; i + 1 < 2 * half; ++i) {
    table.boundaries[i] = 0.5F * unit * static_cast<float>(table.numbers[i] + table.numbers[i + 1]);
  }
  return table;
}

/// Steele, Lea & Flood 2014: splitmix64.
std::uint64_t next_random(std::uint64_t& state) noexcept {
  std::uint64_t z = state += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

/// Butterflies without the factor.
void hadamard(float* x, std::int64_t size) noexcept {
  for (std::int64_t half = 1; half < size; half *= 2) {
    for (std::int64_t i = 0; i < size; i += 2 * half) {
      for (std::int64_t j = i; j < i + half; ++j) {
        const float a = x[j];
        const float b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
    }
  }
}

double squares(const float* x, std::int64_t count) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace

const std::array<float, 256>& factor_steps() noexcept {
  static const std::array<float, 256> kSteps = [] {
    std::array<float, 256> steps{};
    for (int i = 0; i < 255; ++i) {
      // Each 32 are exactly halves of the 32 before.
      steps[static_cast<std::size_t>(i)] =
          std::ldexp(std::exp2(-static_cast<float>(i % 32) / 32.0F), -(i / 32));
    }
    return steps;
  }();
  return kSteps;
}

std::uint8_t factor_byte(float ratio) noexcept {
  if (!(ratio > 0)) return 255;
  const float steps = -32 * std::log2(std::min(ratio, 1.0F));
  // Between the smallest factor, 2^(-254 / 32), and zero: the nearer one.
  if (steps > 254) return steps < 254 + 32 ? 254 : 255;
  return static_cast<std::uint8_t>(std::lround(steps));
}

IntegerScale integer_scale(KvCode::Kind kind, const float* x, std::int64_t count) noexcept {
  const float largest =
      *std::max_element(x, x + count, [](float a, float b) { return std::abs(a) < std::abs(b); });
  if (kind == KvCode::Kind::kInt8) return {std::abs(largest) / 127, -127, 127};
  constexpr float kMost = 65504;  // of a half
  const float scale = std::clamp(largest / -8, -kMost, kMost);
  return {tensor::float_from_half(tensor::half_from_float(scale)), -8, 7};
}

float made_finite(float x) noexcept {
  constexpr float kMost = 1e17F;  // squares of 1024 of them can be summed
  return std::isnan(x) ? 0.0F : std::clamp(x, -kMost, kMost);
}

int nearest_number(float x, float f, int low, int high) noexcept {
  if (f == 0) return 0;
  return static_cast<int>(
      std::lround(std::clamp(x / f, static_cast<float>(low), static_cast<float>(high))));
}

void Rotation::add(std::int64_t first, std::int64_t size, std::uint64_t seed) {
  std::int64_t part = 1;
  while (2 * part <= size) part *= 2;
  const auto add_stage = [&](std::int64_t begin) {
    Stage stage{begin, part, std::vector<float>(static_cast<std::size_t>(part))};
    const float factor = 1.0F / std::sqrt(static_cast<float>(part));
    for (float& f : stage.factors) f = (next_random(seed) >> 63) != 0 ? -factor : factor;
    stages_.push_back(std::move(stage));
  };
  add_stage(first);
  if (part == size) return;
  add_stage(first + size - part);
  add_stage(first);
}

void Rotation::turn(float* x) const noexcept {
  for (const Stage& stage : stages_) {
    float* const part = x + stage.first;
    for (std::size_t i = 0; i < stage.factors.size(); ++i) part[i] *= stage.factors[i];
    hadamard(part, stage.size);
  }
}

void Rotation::turn_back(float* x) const noexcept {
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
    float* const part = x + stage->first;
    hadamard(part, stage->size);
    for (std::size_t i = 0; i < stage->factors.size(); ++i) part[i] *= stage->factors[i];
  }
}

KvCoder::KvCoder(const KvCode& code, std::int64_t size)
    : code_(code), layout_(coded_page_layout(code, size)) {
  const bool levels = code.kind == KvCode::Kind::kLloydMax || code.kind == KvCode::Kind::kResidual;
  for (int part = 0; part < layout_.parts; ++part) {
    const std::int64_t first = layout_.part_begin[static_cast<std::size_t>(part)];
    const std::int64_t count =
        std::min(layout_.part_begin[static_cast<std::size_t>(part) + 1], size) - first;
    rotation_.add(first, count, code.seed + static_cast<std::uint64_t>(part));
    if (code.kind == KvCode::Kind::kResidual) {
      residual_rotation_.add(first, count, ~code.seed + static_cast<std::uint64_t>(part));
    }
    if (!levels) continue;
    // The richer half and the poorer one have the same unit, so that they share a factor.
    const bool residual = code.kind == KvCode::Kind::kResidual;
    const int poorer = code.half_bits / 2 - (residual ? 1 : 0);
    const int richer = poorer + code.half_bits % 2;
    const float unit = best_unit(levels_of(richer, count));
    const auto at = static_cast<std::size_t>(2 * part);
    tables_[at] = make_table(richer, count, unit);
    tables_[at + 1] = make_table(poorer, count, unit);
  }
}

const CodeTable& KvCoder::table(const CodeRun& run) const noexcept {
  const std::size_t part = run.first >= layout_.part_begin[1] ? 2 : 0;
  return tables_[part].bits == run.bits ? tables_[part] : tables_[part + 1];
}

float KvCoder::code_part(int part, const float* x, VectorScale scale,
                         std::uint8_t* codes) const noexcept {
  const std::int64_t first = layout_.part_begin[static_cast<std::size_t>(part)];
  const std::int64_t count = std::min(part_end(part), layout_.size) - first;
  const double norm = std::sqrt(squares(x + first, count));
  const auto to_unit =
      static_cast<float>(norm > 0 ? std::sqrt(static_cast<double>(count)) / norm : 0.0);
  double product = 0;
  float unit = 0;
  for (const CodeRun& run : layout_.all_runs()) {
    if (run.first < first || run.first >= part_end(part)) continue;
    const CodeTable& levels = table(run);
    unit = levels.unit;
    for (std::int64_t i = run.first; i < run.first + run.count; ++i) {
      std::uint8_t code = 0;
      for (std::size_t b = 0; b + 1 < (std::size_t{1} << run.bits); ++b) {
        code = static_cast<std::uint8_t>(code + (x[i] * to_unit > levels.boundaries[b] ? 1 : 0));
      }
      codes[i] = code;
      product += static_cast<double>(x[i]) * levels.numbers[code];
    }
  }
  if (norm == 0) return 0;
  if (scale == VectorScale::kNorm) return unit / to_unit;
  return static_cast<float>(norm * norm / product);
}

void KvCoder::numbers_of(int part, const std::uint8_t* codes, float factor,
                         float* out) const noexcept {
  for (const CodeRun& run : layout_.all_runs()) {
    if ((run.first >= layout_.part_begin[1] ? 1 : 0) != part) continue;
    const CodeTable& levels = table(run);
    for (std::int64_t i = run.first; i < run.first + run.count; ++i) {
      out[i] = factor * static_cast<float>(levels.numbers[codes[i]]);
    }
  }
}

float KvCoder::project(int part, const float* residual, float* projected) const noexcept {
  const std::int64_t first = layout_.part_begin[static_cast<std::size_t>(part)];
  const std::int64_t end = std::min(part_end(part), layout_.size);
  std::fill_n(projected, layout_.padded, 0.0F);
  std::copy(residual + first, residual + end, projected + first);
  residual_rotation_.turn(projected);
  return static_cast<float>(std::sqrt(kHalfPi / static_cast<double>(end - first) *
                                      squares(residual + first, end - first)));
}

void KvCoder::add_signs(int part, const float* signs, float length, float* out) const noexcept {
  const std::int64_t first = layout_.part_begin[static_cast<std::size_t>(part)];
  const std::int64_t end = std::min(part_end(part), layout_.size);
  float back[kMostCodedSize] = {};
  for (std::int64_t i = first; i < end; ++i) back[i] = signs[i] > 0 ? length : -length;
  residual_rotation_.turn_back(back);
  for (std::int64_t i = first; i < end; ++i) out[i] += back[i];
}

void KvCoder::approximate(std::span<const float> x, VectorScale scale,
                          std::span<float> out) const noexcept {
  assert(static_cast<std::int64_t>(x.size()) == layout_.size && out.size() == x.size());
  float turned[kMostCodedSize] = {};
  float decoded[kMostCodedSize] = {};
  float projected[kMostCodedSize];
  std::uint8_t codes[kMostCodedSize];
  std::transform(x.begin(), x.end(), turned, made_finite);
  rotation_.turn(turned);
  if (code_.kind == KvCode::Kind::kInt4 || code_.kind == KvCode::Kind::kInt8) {
    for (const CodeRun& run : layout_.all_runs()) {
      const IntegerScale integers = integer_scale(code_.kind, turned + run.first, run.count);
      for (std::int64_t i = run.first; i < run.first + run.count; ++i) {
        decoded[i] =
            integers.factor * static_cast<float>(nearest_number(turned[i], integers.factor,
                                                                integers.low, integers.high));
      }
    }
  } else {
    const bool residual = code_.kind == KvCode::Kind::kResidual;
    for (int part = 0; part < layout_.parts; ++part) {
      const float factor = code_part(part, turned, residual ? VectorScale::kNorm : scale, codes);
      numbers_of(part, codes, factor, decoded);
      if (!residual) continue;
      for (std::int64_t i = 0; i < layout_.size; ++i) turned[i] -= decoded[i];
      const float length = project(part, turned, projected);
      add_signs(part, projected, length, decoded);
    }
  }
  rotation_.turn_back(decoded);
  std::copy_n(decoded, x.size(), out.begin());
}

}  // namespace hearth::quant
