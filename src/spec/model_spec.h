// ModelSpec: what a model computes, as plain data built from a GGUF header alone. Families write
// it, the runner executes it, the planner costs it. Tensors are named, not held; an empty name
// means "absent".
//
// A model is an embedding, stacks of layers, and a head. A layer is a list of sublayers; a sublayer
// is
//
//   stream += residual_scale * post_norm( sum over branches of branch(pre_norm(stream)) )
//   branch(y) = branch_post_norm( body( branch_pre_norm(y) ) )
//
// so that sequential, parallel, sandwich-norm and post-norm blocks are all the same thing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "spec/kinds.h"

namespace hearth::spec {

/// y = scale * (W x) + b. `weight` [out, in]; `bias` [out]; `scale` a sidecar tensor of one number.
struct Linear {
  std::string weight, bias, scale;
  std::int64_t in = 0, out = 0;
  [[nodiscard]] bool present() const noexcept { return !weight.empty(); }
};

/// weight and bias may be absent.
struct Norm {
  NormKind kind = NormKind::kRms;
  std::string weight, bias;
  float epsilon = 0;
};

struct Rope {
  RopePairing pairing = RopePairing::kAdjacent;
  RopeAngles angles;
  std::string factors;  // frequency factors [rotated/2]
};

enum class WindowKind : std::uint8_t {
  kFull,       // causal: c <= q
  kSliding,    // causal and q - c < size
  kChunked,    // causal and c >= floor(q / size) * size
  kSymmetric,  // encoders: |q - c| <= size / 2
  kEverything  // encoders: always
};

struct Window {
  WindowKind kind = WindowKind::kFull;
  std::int64_t size = 0;
  bool operator==(const Window&) const = default;
};

/// q *= 1 + beta ln(1 + floor((position + offset) / interval)).
struct QueryTemperature {
  float beta = 0;
  std::int64_t offset = 0;
  std::int64_t interval = 1;
  bool operator==(const QueryTemperature&) const = default;
};

/// Softmax attention with grouped heads. Either `qkv` (rows in the order Q, K, V) or `q`, `k` and
/// `v`.
struct Attention {
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t key_size = 0, value_size = 0;
  Linear qkv, q, k, v, output;
  float clamp_qkv = 0;  // 0: off
  /// Normalisation of queries and keys: over each head, or over all heads together (`norm_whole`),
  /// before RoPE unless `norm_after_rope`.
  std::optional<Norm> q_norm, k_norm;
  bool norm_whole = false;
  bool norm_after_rope = false;
  std::optional<Rope> rope;
  std::optional<QueryTemperature> temperature;
  float scale = 1;
  float softcap = 0;         // 0: off
  float max_alibi_bias = 0;  // 0: off
  std::string sinks;         // one logit per head
  Window window;
};

/// down(activation(gate x) * up x) when gated, else down(activation(up x)). `gate_up` holds both,
/// gate rows first.
struct FeedForward {
  std::int64_t width = 0;
  bool gated = true;
  Activation activation = Activation::kSilu;
  Linear gate, up, gate_up, down;
};

/// What a branch can be. Mixtures of experts, latent attention and recurrent mixers join this list.
using Body = std::variant<Attention, FeedForward>;

struct Branch {
  std::optional<Norm> pre_norm;
  Body body;
  std::optional<Norm> post_norm;
};

struct Sublayer {
  std::optional<Norm> pre_norm;
  std::vector<Branch> branches;
  std::optional<Norm> post_norm;
  float residual_scale = 1;
};

struct Layer {
  std::vector<Sublayer> sublayers;
};

struct Stack {
  std::string name;  // "decoder"
  std::vector<Layer> layers;
};

struct Embedding {
  std::string tokens;
  float scale = 1;
  std::string positions;  // learned position embeddings [positions, width]
  std::optional<Norm> norm;
};

/// logits = softcap(scale * linear(norm(stream))).
struct Head {
  std::optional<Norm> norm;
  Linear linear;
  float scale = 1;
  float softcap = 0;
};

struct ModelSpec {
  std::string architecture;
  std::string name;  // general.name
  std::int64_t vocabulary = 0;
  std::int64_t width = 0;
  std::int64_t context_length = 0;  // the model was trained for
  std::int64_t position_limit = 0;  // rows of learned position embeddings; 0: no hard limit
  Embedding embedding;
  std::vector<Stack> stacks;
  Head head;
};

}  // namespace hearth::spec
