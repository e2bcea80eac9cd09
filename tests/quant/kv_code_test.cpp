// The codes of compressed keys and values against theory: distortion, bias and variance of random
// vectors; what happens to keys with a shared component and with outlier channels.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <vector>

#include "quant/kv_coder.h"
#include "quant/quant.h"

namespace hearth::quant {
namespace {

using Kind = KvCode::Kind;

KvCode lloyd_max(int half_bits, bool centred = false) {
  return {.kind = Kind::kLloydMax,
          .half_bits = static_cast<std::uint8_t>(half_bits),
          .centred = centred,
          .seed = 7};
}

/// More in a long run: HEARTH_KV_SAMPLES=100000.
int samples() {
  const char* const wanted = std::getenv("HEARTH_KV_SAMPLES");
  return wanted != nullptr ? std::atoi(wanted) : 4000;
}

class Source {
 public:
  explicit Source(std::uint32_t seed) : engine_(seed) {}
  float normal() { return distribution_(engine_); }
  std::vector<float> normals(std::size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = normal();
    return values;
  }
  std::vector<float> unit(std::size_t size) {
    std::vector<float> x = normals(size);
    const double norm = std::sqrt(dot(x, x));
    for (float& value : x) value = static_cast<float>(value / norm);
    return x;
  }
  static double dot(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
  }

 private:
  std::mt19937 engine_;
  std::normal_distribution<float> distribution_;
};

/// Squared error of unit vectors, kv-cache.md 3.1.
double expected_distortion(std::size_t d, int bits) {
  constexpr double kGaussian[] = {0.363380, 0.117482, 0.034548, 0.009501};
  constexpr double k64[] = {0.363380, 0.11453, 0.03342, 0.00915};
  constexpr double k128[] = {0.363380, 0.11602, 0.03397, 0.00935};
  const auto at = static_cast<std::size_t>(bits - 1);
  return d == 64 ? k64[at] : d == 128 ? k128[at] : kGaussian[at];
}

TEST(KvCode, DistortionOfUnitVectors) {
  for (const std::size_t d : {64U, 128U, 256U}) {
    for (int bits = 1; bits <= 4; ++bits) {
      const KvCoder coder(lloyd_max(2 * bits), static_cast<std::int64_t>(d));
      Source source(static_cast<std::uint32_t>(d) + static_cast<std::uint32_t>(bits));
      double error = 0;
      std::vector<float> out(d);
      for (int i = 0; i < samples(); ++i) {
        const std::vector<float> x = source.unit(d);
        coder.approximate(x, VectorScale::kNorm, out);
        for (std::size_t j = 0; j < d; ++j) {
          error += (static_cast<double>(out[j]) - x[j]) * (static_cast<double>(out[j]) - x[j]);
        }
      }
      error /= samples();
      const double expected = expected_distortion(d, bits);
      std::printf("d %3zu, %d bits: distortion %.5f, table %.5f, %+.2f %%\n", d, bits, error,
                  expected, 100 * (error / expected - 1));
      EXPECT_NEAR(error / expected, 1, 0.02);
    }
  }
}

// <y, x^> with the correcting factor, over rotations and vectors of cosine 1/2.
TEST(KvCode, ProductsAreUnbiased) {
  constexpr double kCosine = 0.5;
  for (const std::size_t d : {64U, 128U, 256U}) {
    for (int bits = 1; bits <= 4; ++bits) {
      Source source(static_cast<std::uint32_t>(100 * d) + static_cast<std::uint32_t>(bits));
      double sum = 0;
      double square = 0;
      std::vector<float> out(d);
      std::uint64_t seed = 1;
      KvCode code = lloyd_max(2 * bits);
      std::optional<KvCoder> coder;
      const int count = samples() * 4;
      for (int i = 0; i < count; ++i) {
        if (i % 64 == 0) {
          code.seed = seed++;
          coder.emplace(code, static_cast<std::int64_t>(d));
        }
        const std::vector<float> x = source.unit(d);
        std::vector<float> y = source.unit(d);
        const double along = Source::dot(x, y);
        for (std::size_t j = 0; j < d; ++j) y[j] -= static_cast<float>(along) * x[j];
        const double norm = std::sqrt(Source::dot(y, y));
        for (std::size_t j = 0; j < d; ++j) {
          y[j] =
              static_cast<float>(y[j] / norm * std::sqrt(1 - kCosine * kCosine) + kCosine * x[j]);
        }
        coder->approximate(x, VectorScale::kUnbiased, out);
        const double error = Source::dot(out, y) - kCosine;
        sum += error;
        square += error * error;
      }
      const double bias = sum / count;
      const double variance = square / count - bias * bias;
      const double distortion = expected_distortion(d, bits);
      const double expected =
          distortion / (1 - distortion) * (1 - kCosine * kCosine) / static_cast<double>(d);
      std::printf("d %3zu, %d bits: bias %+.5f, d * variance %.5f, formula %.5f, %+.1f %%\n", d,
                  bits, bias, variance * static_cast<double>(d), expected * static_cast<double>(d),
                  100 * (variance / expected - 1));
      EXPECT_LT(std::abs(bias), 0.002);
      EXPECT_NEAR(variance / expected, 1, 0.1);
    }
  }
}

}  // namespace
}  // namespace hearth::quant
