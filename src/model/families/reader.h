// What every family page is written with: typed access to a file's hyperparameters and tensors, and
// the ways in which layers are put together. Key and tensor names: reference/architectures.md.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "spec/model_spec.h"
#include "spec/rope_scaling.h"

namespace hearth::model {

/// Settings that a description may depend on.
struct SpecOptions {
  /// Cells per sequence that will be allocated (0: the model's own context length). Long-context
  /// variants of RoPE choose their factors by it.
  std::int64_t context = 0;
  /// In place of the file's rope.scaling.* keys.
  std::optional<spec::RopeScaling> rope_scaling{};
};

/// How an architecture's mixture of experts differs from the plainest one (blocks.md section 5).
struct ExpertOptions {
  std::int64_t width = 0;  // of one expert
  std::int64_t input = 0;  // of what experts read and write; 0: the model's width
  bool gated = true;
  spec::Gating gating{};
  spec::RouterGate gate = spec::RouterGate::kSoftmax;  // what the architecture means by default
  bool gate_from_file = false;                         // expert_gating_func, when not 0
  /// Whether weights are normalised; absent: the key expert_weights_norm (false).
  std::optional<bool> normalise{};
  /// The tensor of the selection bias, used where the file has it.
  std::string_view selection_bias = "exp_probs_b.bias";
  std::int64_t shared_width = 0;  // of the shared expert (all shared ones together); 0: none
  /// Of the shared expert and of dense layers; absent: as the experts'.
  std::optional<spec::Gating> shared_gating{};
};

/// More than any model has.
inline constexpr std::int64_t kMostFeatures = std::int64_t{1} << 24, kMostHeads = 1024,
                              kMostRank = std::int64_t{1} << 20;

class FamilyReader {
 public:
  /// Throws Error when a key that every architecture needs is missing or absurd.
  FamilyReader(const gguf::File& file, const SpecOptions& options);

  // Hyperparameters of every architecture.
  [[nodiscard]] const std::string& architecture() const noexcept { return architecture_; }
  [[nodiscard]] std::int64_t width() const noexcept { return width_; }
  /// Layers to execute: block_count less the next-token-prediction blocks at the end.
  [[nodiscard]] std::int64_t layers() const noexcept { return layers_; }
  /// Next-token-prediction blocks, stored after the layers: blk.L, blk.L+1, ..
  [[nodiscard]] std::int64_t draft_layers() const noexcept { return draft_layers_; }
  [[nodiscard]] std::int64_t context() const noexcept { return context_; }  // the allocated one
  [[nodiscard]] std::int64_t heads(std::int64_t layer) const { return at(heads_, layer); }
  [[nodiscard]] std::int64_t kv_heads(std::int64_t layer) const { return at(kv_heads_, layer); }
  [[nodiscard]] std::int64_t feed_forward_width(std::int64_t layer) const {
    return at(feed_forward_, layer);
  }
  [[nodiscard]] std::int64_t key_size() const noexcept { return key_size_; }
  [[nodiscard]] std::int64_t value_size() const noexcept { return value_size_; }
  [[nodiscard]] std::int64_t rotated() const noexcept { return rotated_; }

  // Keys `A.key`, where A is the architecture. Absent keys give nothing; a key of another type than
  // asked for throws Error, and so do the required forms when the key is absent.
  [[nodiscard]] std::optional<double> number(std::string_view key) const;
  [[nodiscard]] double number_or(std::string_view key, double fallback) const {
    return number(key).value_or(fallback);
  }
  [[nodiscard]] double required_number(std::string_view key) const;
  [[nodiscard]] std::optional<std::int64_t> integer(
      std::string_view key) const;  // scalars only: an array is ignored
  [[nodiscard]] std::int64_t integer_or(std::string_view key, std::int64_t fallback) const {
    return integer(key).value_or(fallback);
  }
  /// An integer that must be in [low, high]; without a fallback it is required.
  [[nodiscard]] std::int64_t integer_in(std::string_view key, std::int64_t low, std::int64_t high,
                                        std::optional<std::int64_t> fallback = {}) const;
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
  [[nodiscard]] std::optional<std::string_view> string(std::string_view key) const;
  [[nodiscard]] std::vector<std::int64_t> integers(
      std::string_view key) const;  // empty when absent
  /// Cells that sliding-window layers see (attention.sliding_window); 0: all. Without a fallback
  /// the key is required.
  [[nodiscard]] std::int64_t window_size(std::optional<std::int64_t> fallback = {}) const;
  /// Every how many layers one attends fully (attention.sliding_window_pattern): see is_windowed().
  [[nodiscard]] std::int64_t window_period(std::int64_t fallback) const;
  /// Which blocks, draft blocks included, are windowed by attention.sliding_window_pattern: an
  /// array says so for every layer, a number is a period, of which the last layer (or the first,
  /// `dense_first`) attends fully. Without a fallback the key is required.
  [[nodiscard]] std::vector<bool> windowed_layers(std::optional<std::int64_t> fallback_period,
                                                  bool dense_first) const;
  /// One number per layer, or one for all of them; `fallback` when the key is absent.
  [[nodiscard]] double layer_number(std::string_view key, std::int64_t layer,
                                    double fallback) const;

  // Tensors. `layer_name(3, "attn_q")` is "blk.3.attn_q".
  [[nodiscard]] static std::string layer_name(std::int64_t layer, std::string_view name);
  [[nodiscard]] bool has(std::string_view tensor) const noexcept {
    return file_->find_tensor(tensor) != nullptr;
  }
  /// NAME.weight [in, out] with NAME.bias and NAME.scale where the file has them. Throws Error when
  /// the weight is missing or has another shape.
  [[nodiscard]] spec::Linear linear(const std::string& name, std::int64_t in,
                                    std::int64_t out) const;
  /// NAME.weight [in, out, matrices] (or the same as one tall matrix) with NAME.bias [out,
  /// matrices] and NAME.scale [matrices] where the file has them.
  [[nodiscard]] spec::LinearStack stack(const std::string& name, std::int64_t in, std::int64_t out,
                                        std::int64_t matrices) const;
  /// NAME.weight [size], or [heads, size] when heads > 1, and NAME.bias of the same shape where the
  /// file has it. Its epsilon is the key of the kind.
  [[nodiscard]] spec::Norm norm(spec::NormKind kind, const std::string& name, std::int64_t size,
                                std::int64_t heads = 1) const;
  [[nodiscard]] spec::Norm norm(spec::NormKind kind, std::int64_t layer,
                                std::string_view name) const {
    return norm(kind, layer_name(layer, name), width_);
  }
  /// Without weight and bias.
  [[nodiscard]] spec::Norm bare_norm(spec::NormKind kind) const;
  /// The name of a tensor, which must be a vector of `size` numbers, or `heads` of them.
  [[nodiscard]] std::string vector(const std::string& name, std::int64_t size,
                                   std::int64_t heads = 1) const;

  // Parts of a layer.
  /// q/k/v (or fused attn_qkv), output and biases; scale attention.scale or 1/sqrt(key_size); full
  /// causal window; no RoPE. `input` is the width of what it reads (0: the model's width).
  [[nodiscard]] spec::Attention attention(std::int64_t layer, std::int64_t input = 0) const;
  /// Adds per-head normalisation of q and k (attn_q_norm, attn_k_norm): weights [key_size], or
  /// [heads, key_size].
  void add_qk_norm(spec::Attention& attention, spec::NormKind kind, std::int64_t layer) const;
  /// The same where the file has the tensors.
  void add_optional_qk_norm(spec::Attention& attention, spec::NormKind kind,
                            std::int64_t layer) const;
  /// Normalisation of q and k over all heads together: weights [heads * key_size].
  void add_whole_qk_norm(spec::Attention& attention, spec::NormKind kind, std::int64_t layer) const;
  /// RoPE with the file's base, scaling and factor tensors (full-attention settings).
  [[nodiscard]] spec::Rope rope(spec::RopePairing pairing) const;
  /// RoPE of sliding-window layers: its own base, no scaling, no factors.
  [[nodiscard]] spec::Rope window_rope(spec::RopePairing pairing, double default_base) const;
  /// RoPE of sliding-window layers that differ from the full ones in nothing but the base, if at
  /// all.
  [[nodiscard]] spec::Rope scaled_window_rope(spec::RopePairing pairing) const;
  /// Whether rope.dimension_sections asks for multi-axis RoPE: its first two entries are not 0.
  [[nodiscard]] bool has_rope_sections() const;
  /// Makes RoPE multi-axis: rope.dimension_sections, pairs per axis. Throws Error when they are
  /// missing or absurd.
  void add_rope_sections(spec::Rope& rope, bool interleaved) const;
  /// ffn_gate, ffn_up, ffn_down; or the gate and up rows fused in ffn_up ([D, 2F]) when ffn_gate is
  /// absent. `width` 0: feed_forward_length.
  [[nodiscard]] spec::FeedForward gated_feed_forward(std::int64_t layer,
                                                     spec::Activation activation,
                                                     std::int64_t width = 0) const;
  /// ffn_up, ffn_down.
  [[nodiscard]] spec::FeedForward plain_feed_forward(std::int64_t layer,
                                                     spec::Activation activation) const;
  /// ffn_gate_inp, ffn_{gate,up,down}_exps (or ffn_gate_up_exps), the shared expert ffn_*_shexp and
  /// its gate ffn_gate_inp_shexp where the file has it; expert_count, expert_used_count,
  /// expert_group_*, expert_weights_scale. Throws Error when the model has no experts.
  [[nodiscard]] spec::MixtureOfExperts experts(std::int64_t layer,
                                               const ExpertOptions& options) const;
  /// expert_feed_forward_length, or feed_forward_length / expert_used_count when it is absent.
  [[nodiscard]] std::int64_t expert_width(std::int64_t layer) const;
  /// Of the shared expert of a layer as the file holds it (ffn_up_shexp); 0: none. Throws Error
  /// when the file says that it has one, and does not hold it.
  [[nodiscard]] std::int64_t shared_expert_width(std::int64_t layer) const;
  /// What the newer mixtures of experts have in common: width expert_width(), the gate
  /// expert_gating_func or else `gate`, normalisation by expert_weights_norm, a shared expert where
  /// the file has one.
  [[nodiscard]] ExpertOptions usual_experts(std::int64_t layer, spec::RouterGate gate) const;
  /// experts() in layers with a router, else a dense SwiGLU.
  [[nodiscard]] spec::Body experts_or_dense(std::int64_t layer, const ExpertOptions& options) const;

  // Whole layers around an attention, with the usual tensor names (blocks.md section 6).
  /// x += A(attn_norm(x)); x += F(ffn_norm(x)). Some files name the second norm otherwise.
  [[nodiscard]] spec::Layer sequential_layer(std::int64_t layer, spec::NormKind kind,
                                             spec::Body mixer, spec::Body feed_forward,
                                             std::string_view ffn_norm = "ffn_norm") const;
  /// The standard decoder layer: sequential, RMSNorm, SwiGLU.
  [[nodiscard]] spec::Layer standard_layer(std::int64_t layer, spec::Attention attention) const;
  /// x += post_attention_norm(A(attn_norm(x))); x += post_ffw_norm(F(ffn_norm(x))), RMSNorm.
  [[nodiscard]] spec::Layer sandwich_layer(std::int64_t layer, spec::Attention attention,
                                           spec::Activation activation) const;
  /// x += post_attention_norm(A(x)); x += post_ffw_norm(F(x)), RMSNorm, SwiGLU.
  [[nodiscard]] spec::Layer post_norm_layer(std::int64_t layer, spec::Attention attention) const;

  /// The model without layers: names, sizes, embedding, and a head that normalises by output_norm
  /// and uses output.weight or the embedding table.
  [[nodiscard]] spec::ModelSpec model(spec::NormKind head_norm) const {
    return model(norm(head_norm, "output_norm", width_));
  }
  [[nodiscard]] spec::ModelSpec model(spec::Norm head_norm) const;
  /// Adds learned positions (position_embd) to the embedding.
  void add_positions(spec::ModelSpec& model) const;
  /// Next-token-prediction block `head` as a model of its own (blocks-speculative.md section 1):
  /// token and hidden state, normed, side by side, through eh_proj; `block`; its own head where the
  /// file has one, else the model's.
  [[nodiscard]] spec::ModelSpec draft_model(std::int64_t head, spec::NormKind kind,
                                            spec::Layer block) const;

  [[nodiscard]] const gguf::File& file() const noexcept { return *file_; }

 private:
  [[nodiscard]] std::string key(std::string_view name) const {
    return architecture_ + "." + std::string(name);
  }
  [[nodiscard]] std::vector<std::int64_t> per_layer(std::string_view name,
                                                    std::int64_t fallback) const;
  [[nodiscard]] std::int64_t at(const std::vector<std::int64_t>& values, std::int64_t layer) const;
  [[nodiscard]] const gguf::TensorInfo& required_tensor(const std::string& name) const;
  [[nodiscard]] spec::Rope unscaled_rope(spec::RopePairing pairing, std::string_view base_key,
                                         double default_base) const;
  void choose_factors(spec::Rope& rope) const;
  void apply_scaling(spec::RopeAngles& angles) const;

  [[nodiscard]] bool overrides(std::string_view name) const noexcept;
  [[nodiscard]] std::optional<double> scaling_number(std::string_view name) const noexcept;

  const gguf::File* file_;
  std::optional<spec::RopeScaling> rope_scaling_;
  std::string architecture_;
  std::int64_t width_ = 0, layers_ = 0, draft_layers_ = 0, context_ = 0, trained_context_ = 0;
  std::vector<std::int64_t> heads_, kv_heads_, feed_forward_;
  std::int64_t key_size_ = 0, value_size_ = 0, rotated_ = 0;
};

/// y = norm(x); x += A(y) + F(y).
[[nodiscard]] spec::Layer parallel_layer(spec::Norm norm, spec::Body attention,
                                         spec::Body feed_forward);

/// Whether layer `layer` is windowed when every `period`-th layer (counting from 1) attends fully.
/// Period 0: all, 1: none.
[[nodiscard]] bool is_windowed(std::int64_t layer, std::int64_t period) noexcept;

}  // namespace hearth::model
