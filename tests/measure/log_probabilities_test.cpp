#include "measure/log_probabilities.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "compute/cpu/cpu_backend.h"

namespace hearth::measure {
namespace {

const RowReader kReader;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(std::size_t size, float spread, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(3, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

/// log softmax in the plainest way.
std::vector<double> plain(const std::vector<float>& logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  long double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<long double>(logit) - highest);
  std::vector<double> result;
  for (const float logit : logits) {
    result.push_back(static_cast<double>(logit - highest - std::log(sum)));
  }
  return result;
}

/// Sizes with and without a rest behind whole vectors and blocks, on every instruction set.
class LogProbabilities : public ::testing::TestWithParam<std::tuple<std::size_t, std::string>> {
 protected:
  [[nodiscard]] static std::size_t size() { return std::get<0>(GetParam()); }
  const RowReader rows_{std::get<1>(GetParam())};
};

TEST_P(LogProbabilities, EqualThePlainSoftmax) {
  for (const float spread : {0.1F, 2.0F, 30.0F}) {
    const std::vector<float> logits = random_logits(size(), spread, 1);
    const RowSummary summary = rows_.summarise(logits);
    const std::vector<double> expected = plain(logits);
    EXPECT_EQ(summary.best, std::max_element(logits.begin(), logits.end()) - logits.begin());
    EXPECT_EQ(summary.highest, *std::max_element(logits.begin(), logits.end()));
    for (std::size_t i = 0; i < logits.size(); ++i) {
      EXPECT_NEAR(log_probability(summary, logits, static_cast<std::int32_t>(i)), expected[i],
                  2e-7);
    }
  }
}

TEST_P(LogProbabilities, PackedRowsAreExactToHalfAStep) {
  const std::vector<float> logits = random_logits(size(), 4, 2);
  const std::vector<double> expected = plain(logits);
  std::vector<std::uint16_t> depths(logits.size());
  const RowSummary summary = rows_.summarise(logits);
  const PackedRow row = pack(summary, logits, depths);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double stored = row.top - static_cast<double>(row.step) * row.depths[i];
    EXPECT_NEAR(stored, expected[i], row.step * 0.51 + 1e-6);
  }
  EXPECT_EQ(row.depths[static_cast<std::size_t>(summary.best)], 0);
}

TEST_P(LogProbabilities, DivergenceEqualsThePlainSum) {
  const std::vector<float> base = random_logits(size(), 3, 3);
  std::vector<float> other = base;
  const std::vector<float> noise = random_logits(size(), 0.5F, 4);
  for (std::size_t i = 0; i < other.size(); ++i) other[i] += noise[i];
  std::vector<std::uint16_t> depths(base.size());
  const PackedRow row = pack(rows_.summarise(base), base, depths);
  const std::vector<double> p = plain(base);
  const std::vector<double> q = plain(other);
  double expected = 0;
  for (std::size_t i = 0; i < p.size(); ++i) expected += std::exp(p[i]) * (p[i] - q[i]);
  EXPECT_NEAR(rows_.divergence(row, rows_.summarise(other), other), expected,
              1e-3 * expected + 1e-7);
  const double same = rows_.divergence(row, rows_.summarise(base), base);
  EXPECT_GE(same, 0);
  EXPECT_LT(same, 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Sizes, LogProbabilities,
                         ::testing::Combine(::testing::Values(1, 15, 16, 17, 256, 1003),
                                            ::testing::ValuesIn(compute::cpu_instruction_sets())));

TEST(LogProbabilitiesOfOddRows, SuppressedTokensAreFarDown) {
  std::vector<float> logits = random_logits(100, 1, 5);
  logits[7] = -kInfinity;
  logits[99] = -kInfinity;
  const RowSummary summary = kReader.summarise(logits);
  EXPECT_TRUE(std::isfinite(summary.log_sum));
  std::vector<std::uint16_t> depths(logits.size());
  const PackedRow row = pack(summary, logits, depths);
  EXPECT_EQ(row.depths[7], 65535);
  EXPECT_LT(kReader.divergence(row, summary, logits), 1e-7);
}

TEST(LogProbabilitiesOfOddRows, RowsOfEqualLogits) {
  const std::vector<float> logits(50, -2.5F);
  const RowSummary summary = kReader.summarise(logits);
  EXPECT_EQ(summary.best, 0);
  EXPECT_NEAR(log_probability(summary, logits, 49), -std::log(50.0), 1e-9);
  std::vector<std::uint16_t> depths(logits.size());
  EXPECT_EQ(kReader.divergence(pack(summary, logits, depths), summary, logits), 0);
}

TEST(LogProbabilitiesOfOddRows, WhatIsNotFiniteShows) {
  for (const std::size_t place : {std::size_t{0}, std::size_t{3}, std::size_t{16}}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
      std::vector<float> logits = random_logits(17, 1, 6);
      logits[place] = bad;
      EXPECT_FALSE(std::isfinite(kReader.summarise(logits).log_sum)) << bad << " at " << place;
    }
  }
  const std::vector<float> nothing(9, -kInfinity);
  EXPECT_FALSE(std::isfinite(kReader.summarise(nothing).log_sum));
}

}  // namespace
}  // namespace hearth::measure
