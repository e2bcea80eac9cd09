// Formats of keys and values on made vectors: their distortion against theory, and what it does to
// attention over keys like those that are known to be hard (reference: kv-cache.md sections 3.1,
// 3.2 and 3.6).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::measure {

/// Of random unit vectors, coded one by one. Theory is 0 where there is none.
struct KvDistortion {
  double mse = 0, mse_theory = 0;  // squared error of a vector, its square being 1
  /// Products of coded vectors u with exact ones y at a cosine of 1/2: mean error, and variance
  /// times the size.
  double bias = 0, variance = 0, variance_theory = 0;
};
[[nodiscard]] KvDistortion kv_distortion(std::string_view format, std::int64_t size,
                                         std::int64_t samples, std::uint64_t seed);

/// What keys are like.
enum class KvCase : std::uint8_t {
  kGaussian,  // every channel alike
  kOutliers,  // one channel in sixteen is eight times as large
  kShared,    // outliers, and a component common to all keys, ten times as long as the rest
};
[[nodiscard]] std::string_view name(KvCase which) noexcept;

/// Attention over keys and values of a format against the exact one.
struct KvAttention {
  double output_error = 0;  // squared, relative to the output's square
  double divergence = 0;    // mean KL(exact || coded) of the weights, in nats
  double same_best = 0;     // share of queries whose likeliest cell is the same
  double needles = 0;       // share of planted cells that still get the largest weight
};
struct KvAttentionSize {
  std::int64_t size = 128, cells = 4096, queries = 64;
};
[[nodiscard]] KvAttention kv_attention(std::string_view format, KvCase which,
                                       const KvAttentionSize& size, std::uint64_t seed);

}  // namespace hearth::measure
