// The kinds of arithmetic that models differ in: plain enumerations and numbers, shared by the
// description of a model (model_spec.h) and the operations that execute it (compute/backend.h).
#pragma once

#include <cstdint>

namespace hearth::spec {

enum class NormKind : std::uint8_t {
  kRms,    // x / sqrt(mean(x^2) + eps) * w          (Zhang & Sennrich 2019, arXiv:1910.07467)
  kLayer,  // (x - mean) / sqrt(var + eps) * w + b   (Ba et al. 2016, arXiv:1607.06450), biased
           // variance
};

enum class Activation : std::uint8_t {
  kSilu,       // z sigmoid(z)
  kGelu,       // 0.5 z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))
  kGeluErf,    // 0.5 z (1 + erf(z / sqrt 2))
  kGeluQuick,  // z sigmoid(1.702 z)
  kRelu,
  kReluSquared,
  kTanh,
  kSigmoid,
};

enum class RopePairing : std::uint8_t {
  kAdjacent,  // (2i, 2i+1): "NORM"
  kHalves,    // (i, i + rotated/2): "NEOX"
};

/// How the angles of rotary embedding are made (Su et al. 2021, arXiv:2104.09864; YaRN: Peng et al.
/// 2023, arXiv:2309.00071). For pair i and position p: theta = p * base^(-2i/rotated) / factor_i,
/// then
///   interpolated = frequency_scale * theta
///   yarn off: angle = interpolated, m = magnitude
///   yarn on:  r = 1 - clamp((i - yarn_low) / max(0.001, yarn_high - yarn_low), 0, 1);
///             angle = interpolated (1 - r) + theta r, m = magnitude (YaRN's gain is already in it)
struct RopeAngles {
  std::int32_t rotated = 0;  // dimensions per head that are rotated; even
  double base = 10000;
  float frequency_scale = 1;
  float magnitude = 1;
  bool yarn = false;
  float yarn_low = 0, yarn_high = 0;
  /// Pairs per position axis (multi-axis RoPE); all zero: one axis. `interleaved_sections` is the
  /// IMROPE order of axes.
  std::int32_t sections[4] = {0, 0, 0, 0};
  bool interleaved_sections = false;

  bool operator==(const RopeAngles&) const = default;
};

}  // namespace hearth::spec
