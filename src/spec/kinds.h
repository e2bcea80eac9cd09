// The kinds of arithmetic that models differ in: plain enumerations and numbers, shared by the
// description of a model (model_spec.h) and the operations that execute it (compute/backend.h).
#pragma once

#include <cstdint>

namespace hearth::spec {

/// Largest sides of the state matrix of a recurrent head (the channels of Mamba-1 are no side), and
/// most taps of a convolution: what backends size their workspaces for.
inline constexpr std::int64_t kMaxStateSize = 256;
inline constexpr std::int64_t kMaxTaps = 32;

enum class NormKind : std::uint8_t {
  kRms,    // x / sqrt(mean(x^2) + eps) * w          (Zhang & Sennrich 2019, arXiv:1910.07467)
  kLayer,  // (x - mean) / sqrt(var + eps) * w + b   (Ba et al. 2016, arXiv:1607.06450), biased
           // variance
  kL2,     // x / max(sqrt(sum x^2), eps) * w
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
  kSoftplus,  // ln(1 + e^z)
  kExp,
};

/// How the two halves of a gated feed-forward are combined, and clamped (blocks.md section 4).
enum class GateForm : std::uint8_t {
  kProduct,      // activation(gate) * up
  kOpenAi,       // g = min(gate, limit); g sigmoid(1.702 g) * (clamp(up, -limit, limit) + 1)
  kClampInputs,  // activation(min(gate, limit)) * clamp(up, -limit, limit)          (deepseek4)
  kClampGate,    // min(activation(gate), limit) * clamp(up, -limit, limit)          (step35)
};

/// `limit` is used by all forms but kProduct.
struct Gating {
  Activation activation = Activation::kSilu;
  GateForm form = GateForm::kProduct;
  float limit = 0;
  bool operator==(const Gating&) const = default;
};

/// xIELU (Huang & Schlag 2025, arXiv:2411.13010) with its final coefficients:
///   z > 0: positive z^2 + beta z;   z <= 0: (expm1(min(z, epsilon)) - z) negative + beta z.
struct Xielu {
  float positive = 0, negative = 0, beta = 0, epsilon = 0;
};

/// What a router makes of its logits before the best experts are chosen.
enum class RouterGate : std::uint8_t {
  kSoftmax,  // over all experts
  kSigmoid,
  kSoftmaxSelected,  // logits choose; softmax over the chosen ones
  kSqrtSoftplus,
};

/// Choice and weighting of experts (blocks.md section 5, steps 2 to 9).
struct Routing {
  RouterGate gate = RouterGate::kSoftmax;
  std::int32_t groups = 1, groups_used = 1;  // group-limited choice when groups > 1
  bool normalise = false;                    // weights /= max(sum of the chosen, 2^-14)
  float scale = 1;                           // of the weights
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
