// What most decoder families share: sizes, common keys, RoPE scaling, embeddings, attention and
// feed-forward tensors under the names that Hugging Face models use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "model/convert/conversion.h"

namespace hearth::model::convert {

/// What a family's configuration class assumes when config.json leaves a key out. Negative and 0:
/// nothing, the key is required (heads and head sizes: derived from the others).
struct DecoderDefaults {
  std::int64_t heads = -1, kv_heads = -1, head_size = -1, context = -1;
  double rope_base = 10000;
  double epsilon = -1;
};

/// The prefix of the language model's tensors ("model.", "model.language_model.", …), found by its
/// embedding table.
[[nodiscard]] std::string find_prefix(const Conversion& conversion);

/// Where row `row` of q or k in a GGUF file that pairs dimensions 2i and 2i + 1 of a head of `size`
/// is in a checkpoint that pairs i and i + size/2.
[[nodiscard]] constexpr std::int64_t rope_source_row(std::int64_t row, std::int64_t size) noexcept {
  const std::int64_t in_head = row % size;
  return row - in_head + in_head % 2 * (size / 2) + in_head / 2;
}

/// How rows of q and k, or norms, are stored by a family.
struct DecoderStyle {
  /// The checkpoint pairs dimensions i and i + n/2 for RoPE, GGUF files of this architecture 2i and
  /// 2i + 1: rows of q and k are reordered (reference: architectures.md section 3).
  bool permute_rope = false;
  /// Norms are stored less one.
  bool shifted_norms = false;
};

/// A decoder being converted: its sizes, and the parts that families put together.
class Decoder {
 public:
  /// Reads the sizes and writes the keys that all architectures have. The architecture is set.
  Decoder(Conversion& conversion, const DecoderDefaults& defaults, DecoderStyle style);

  std::int64_t width, layers, heads, kv_heads, head_size, feed_forward, vocabulary;

  [[nodiscard]] Conversion& conversion() const noexcept { return *conversion_; }
  [[nodiscard]] const Config& config() const noexcept { return conversion_->config(); }

  // Keys.
  /// attention.key_length and value_length.
  void write_head_sizes() const;
  /// vocab_size and rope.dimension_count, which files of some architectures carry.
  void write_vocabulary_size() const;
  void write_rotated(std::int64_t rotated) const;
  /// How many dimensions of a head RoPE turns: head_size times partial_rotary_factor.
  [[nodiscard]] std::int64_t rotated_size(double default_factor) const;
  /// rope.freq_base, rope.scaling.* and factor tensors from the configuration's rope_parameters, or
  /// rope_theta and rope_scaling. `rotated`: dimensions per head that RoPE turns.
  void write_rope(std::int64_t rotated) const;
  /// rope_parameters, or rope_scaling, of layers that attend fully where kinds of layers have their
  /// own; empty when there is none.
  [[nodiscard]] Config rope_parameters() const;
  /// attention.sliding_window, and its period where layer_types or sliding_window_pattern give
  /// another than `period`, the architecture's own.
  void write_window(std::int64_t period) const;
  /// Throws Error when hidden_act (or hidden_activation) is another than `name`.
  void require_activation(std::string_view name) const;

  // Tensors. `from` is the name in the checkpoint after the prefix of the layer, without ".weight".
  [[nodiscard]] std::string source(std::int64_t layer, std::string_view from) const;
  [[nodiscard]] static std::string target(std::int64_t layer, std::string_view to);
  /// Layers behind the last one are PREFIX0, PREFIX1, … in the checkpoint.
  void place_extra_layers(std::string prefix) { extra_prefix_ = std::move(prefix); }
  /// token_embd, output_norm and output.
  void add_embeddings(std::string_view norm = "norm", std::string_view norm_target = "output_norm");
  void add_norm(const std::string& to, const std::string& from, std::int64_t size) const;
  void add_norm(std::int64_t layer, std::string_view to, std::string_view from) const {
    add_norm(target(layer, to), source(layer, from), width);
  }
  /// NAME.weight [out, in] and, if it is there, NAME.bias.
  void add_linear(std::int64_t layer, std::string_view to, std::string_view from, std::int64_t in,
                  std::int64_t out, Precision precision = Precision::kChosen) const;
  /// q, k and v; rows of q and k in the order of the style.
  void add_qkv(std::int64_t layer, std::string_view attention = "self_attn") const;
  /// attn_q_norm and attn_k_norm, one value per dimension of a head.
  void add_qk_norms(std::int64_t layer, std::string_view q, std::string_view k) const;
  /// add_qkv and attn_output from o_proj.
  void add_attention(std::int64_t layer) const;
  /// ffn_gate, ffn_up, ffn_down of width `inner`.
  void add_feed_forward(std::int64_t layer, std::int64_t inner, std::string_view suffix = "",
                        std::string_view from = "mlp") const;
  /// ffn_gate_exps, ffn_up_exps, ffn_down_exps: `count` experts, FROM.NUMBER.{gate,up,down}.
  struct ExpertNames {
    std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";
  };
  void add_experts(std::int64_t layer, std::string_view from, std::int64_t count,
                   std::int64_t inner, const ExpertNames& names) const;

  /// `matrix`, whose rows are `heads` heads, in the order of the style.
  [[nodiscard]] Matrix in_rope_order(Matrix matrix, std::int64_t heads) const;
  [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }

 private:
  void add_rope_factors(const Config& parameters, std::int64_t rotated) const;
  void write_yarn(const Config& parameters, double factor) const;

  Conversion* conversion_;
  DecoderDefaults defaults_;
  DecoderStyle style_;
  std::string prefix_;
  std::string extra_prefix_;
};

}  // namespace hearth::model::convert
