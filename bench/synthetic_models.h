// Synthetic models of each kind of mixer, made in memory as GGUF files with small random weights:
// for benchmarks of what a context costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gguf/writer.h"

namespace hearth::bench {

using tensor::DType;

inline constexpr std::int64_t kTrainedContext = 65536;
inline constexpr std::int64_t kWidth = 1024, kLayers = 8, kVocabulary = 4096, kHeads = 16,
                              kKvHeads = 4, kHead = 64, kHidden = 2048, kExperts = 32, kUsed = 4,
                              kExpertWidth = 512;

/// A model of a family, its weights small random numbers of type F16.
class Image {
 public:
  explicit Image(const std::string& architecture) : prefix_(architecture + ".") {
    writer_.set("general.architecture", architecture);
    key("block_count", kLayers);
    key("context_length", kTrainedContext);
    key("embedding_length", kWidth);
    key("feed_forward_length", kHidden);
    key("attention.head_count", kHeads);
    key("attention.head_count_kv", kKvHeads);
    writer_.set(prefix_ + "attention.layer_norm_rms_epsilon", 1e-5F);
    matrix("token_embd.weight", {kWidth, kVocabulary});
    vector("output_norm.weight", kWidth);
  }
  void key(const std::string& name, std::int64_t value) {
    writer_.set(prefix_ + name, static_cast<std::uint32_t>(value));
  }
  gguf::Writer& writer() { return writer_; }
  void matrix(const std::string& name, std::vector<std::int64_t> shape) {
    add(name, std::move(shape), DType::kF16);
  }
  void vector(const std::string& name, std::int64_t size, std::int64_t rows = 1) {
    if (rows == 1) {
      add(name, {size}, DType::kF32);
    } else {
      add(name, {size, rows}, DType::kF32);
    }
  }
  /// Dense feed-forward part of a layer.
  void feed_forward(const std::string& layer) {
    matrix(layer + "ffn_gate.weight", {kWidth, kHidden});
    matrix(layer + "ffn_up.weight", {kWidth, kHidden});
    matrix(layer + "ffn_down.weight", {kHidden, kWidth});
  }
  void attention(const std::string& layer, std::int64_t query_rows = kHeads * kHead) {
    matrix(layer + "attn_q.weight", {kWidth, query_rows});
    matrix(layer + "attn_k.weight", {kWidth, kKvHeads * kHead});
    matrix(layer + "attn_v.weight", {kWidth, kKvHeads * kHead});
    matrix(layer + "attn_output.weight", {kHeads * kHead, kWidth});
  }
  [[nodiscard]] std::string bytes() const { return writer_.bytes(); }

 private:
  void add(const std::string& name, std::vector<std::int64_t> shape, DType dtype) {
    std::size_t elements = 1;
    for (const std::int64_t size : shape) elements *= static_cast<std::size_t>(size);
    std::vector<float> values(elements);
    for (float& value : values) {
      state_ = state_ * 1664525U + 1013904223U;
      value = (static_cast<float>(state_ >> 8) / 16777216.0F - 0.5F) * 0.05F;
    }
    writer_.add_floats(name, std::move(shape), values, dtype);
  }

  std::string prefix_;
  gguf::Writer writer_;
  std::uint32_t state_ = 1;
};

inline std::string layer_name(std::int64_t layer) { return "blk." + std::to_string(layer) + "."; }

inline void gemma_layer(Image& image, const std::string& name) {
  for (const char* norm : {"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"}) {
    image.vector(name + norm + ".weight", kWidth);
  }
  image.vector(name + "attn_q_norm.weight", kHead);
  image.vector(name + "attn_k_norm.weight", kHead);
  image.attention(name);
  image.feed_forward(name);
}

/// Windows of 512 in all layers (`period` large) or all but every period-th.
inline std::string windows(std::int64_t period) {
  Image image("gemma3");
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.key("attention.sliding_window", 512);
  image.key("attention.sliding_window_pattern", period);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) gemma_layer(image, layer_name(layer));
  return image.bytes();
}

inline std::string delta_net() {
  Image image("qwen35");
  constexpr std::int64_t kState = 128, kValueHeads = 8, kKeyHeads = 4;
  constexpr std::int64_t kInner = kState * kValueHeads, kMixed = kInner + 2 * kKeyHeads * kState;
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.key("ssm.conv_kernel", 4);
  image.key("ssm.state_size", kState);
  image.key("ssm.group_count", kKeyHeads);
  image.key("ssm.time_step_rank", kValueHeads);
  image.key("ssm.inner_size", kInner);
  image.key("full_attention_interval", kLayers + 1);
  image.key("rope.dimension_count", 16);
  image.writer().set_array("qwen35.rope.dimension_sections", std::vector<std::int32_t>{3, 3, 2, 0});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "post_attention_norm.weight", kWidth);
    image.matrix(name + "attn_qkv.weight", {kWidth, kMixed});
    image.matrix(name + "attn_gate.weight", {kWidth, kInner});
    image.vector(name + "ssm_conv1d.weight", 4, kMixed);
    image.vector(name + "ssm_dt.bias", kValueHeads);
    image.vector(name + "ssm_a", kValueHeads);
    image.matrix(name + "ssm_beta.weight", {kWidth, kValueHeads});
    image.matrix(name + "ssm_alpha.weight", {kWidth, kValueHeads});
    image.vector(name + "ssm_norm.weight", kState);
    image.matrix(name + "ssm_out.weight", {kInner, kWidth});
    image.feed_forward(name);
  }
  return image.bytes();
}

inline std::string mamba2() {
  Image image("mamba2");
  constexpr std::int64_t kInner = 2 * kWidth, kState = 128, kMixers = 32, kGroups = 1;
  constexpr std::int64_t kMixed = kInner + 2 * kGroups * kState;
  image.key("ssm.conv_kernel", 4);
  image.key("ssm.inner_size", kInner);
  image.key("ssm.state_size", kState);
  image.key("ssm.time_step_rank", kMixers);
  image.key("ssm.group_count", kGroups);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.matrix(name + "ssm_in.weight", {kWidth, kInner + kMixed + kMixers});
    image.vector(name + "ssm_conv1d.weight", 4, kMixed);
    image.vector(name + "ssm_conv1d.bias", kMixed);
    image.vector(name + "ssm_dt.bias", kMixers);
    image.vector(name + "ssm_a", 1, kMixers);
    image.vector(name + "ssm_d", 1, kMixers);
    image.vector(name + "ssm_norm.weight", kInner / kGroups);
    image.matrix(name + "ssm_out.weight", {kInner, kWidth});
  }
  return image.bytes();
}

/// Full attention in all layers.
inline std::string dense() {
  Image image("qwen3");
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.matrix("output.weight", {kWidth, kVocabulary});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "attn_q_norm.weight", kHead);
    image.vector(name + "attn_k_norm.weight", kHead);
    image.attention(name);
    image.feed_forward(name);
  }
  return image.bytes();
}

/// Short convolutions only: the attention layers of LFM2 are as those of any other model.
inline std::string lfm2() {
  Image image("lfm2");
  image.writer().set_array("lfm2.attention.head_count_kv", std::vector<std::int32_t>(kLayers, 0));
  image.key("shortconv.l_cache", 3);
  image.key("vocab_size", kVocabulary);
  image.vector("token_embd_norm.weight", kWidth);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "shortconv.conv.weight", 3, kWidth);
    image.matrix(name + "shortconv.in_proj.weight", {kWidth, 3 * kWidth});
    image.matrix(name + "shortconv.out_proj.weight", {kWidth, kWidth});
    image.feed_forward(name);
  }
  return image.bytes();
}

inline constexpr std::int64_t kLatent = 512, kRope = 64;

inline std::string latent() {
  Image image("deepseek2");
  constexpr std::int64_t kPlain = 64, kValue = 64;
  image.key("attention.kv_lora_rank", kLatent);
  image.key("attention.key_length", kLatent + kRope);
  image.key("attention.value_length", kLatent);
  image.key("attention.key_length_mla", kPlain + kRope);
  image.key("attention.value_length_mla", kValue);
  image.key("attention.head_count_kv", 1);
  image.key("rope.dimension_count", kRope);
  image.key("attention.q_lora_rank", 512);
  image.key("vocab_size", kVocabulary);
  image.key("leading_dense_block_count", kLayers);
  // No layer has experts, but the family asks for their numbers.
  image.key("expert_count", kExperts);
  image.key("expert_used_count", kUsed);
  image.key("expert_shared_count", 1);
  image.key("expert_feed_forward_length", kExpertWidth);
  image.matrix("output.weight", {kWidth, kVocabulary});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "attn_q_a_norm.weight", 512);
    image.vector(name + "attn_kv_a_norm.weight", kLatent);
    image.matrix(name + "attn_q_a.weight", {kWidth, 512});
    image.matrix(name + "attn_q_b.weight", {512, kHeads * (kPlain + kRope)});
    image.matrix(name + "attn_kv_a_mqa.weight", {kWidth, kLatent + kRope});
    image.matrix(name + "attn_k_b.weight", {kPlain, kLatent, kHeads});
    image.matrix(name + "attn_v_b.weight", {kLatent, kValue, kHeads});
    image.matrix(name + "attn_output.weight", {kHeads * kValue, kWidth});
    image.feed_forward(name);
  }
  return image.bytes();
}

inline std::string experts() {
  Image image("qwen3moe");
  image.key("attention.key_length", kHead);
  image.key("attention.value_length", kHead);
  image.key("expert_count", kExperts);
  image.key("expert_used_count", kUsed);
  image.key("expert_feed_forward_length", kExpertWidth);
  image.matrix("output.weight", {kWidth, kVocabulary});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = layer_name(layer);
    image.vector(name + "attn_norm.weight", kWidth);
    image.vector(name + "ffn_norm.weight", kWidth);
    image.vector(name + "attn_q_norm.weight", kHead);
    image.vector(name + "attn_k_norm.weight", kHead);
    image.attention(name);
    image.matrix(name + "ffn_gate_inp.weight", {kWidth, kExperts});
    image.matrix(name + "ffn_gate_exps.weight", {kWidth, kExpertWidth, kExperts});
    image.matrix(name + "ffn_up_exps.weight", {kWidth, kExpertWidth, kExperts});
    image.matrix(name + "ffn_down_exps.weight", {kExpertWidth, kWidth, kExperts});
  }
  return image.bytes();
}

}  // namespace hearth::bench
