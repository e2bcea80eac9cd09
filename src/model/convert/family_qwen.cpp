// qwen3moe (Qwen3 mixtures of experts) and qwen35 (Qwen3.5 dense: gated delta nets with full
// attention in every fourth layer, and a next-token-prediction block) (reference: qwen.md,
// blocks-recurrent.md section 2).
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "model/convert/decoder.h"
#include "model/convert/families.h"
#include "support/error.h"

namespace hearth::model::convert {

void convert_qwen3moe(Conversion& conversion) {
  conversion.set_architecture("qwen3moe");
  Decoder decoder(conversion, {.kv_heads = 4, .context = 32768, .epsilon = 1e-6}, {});
  const Config& config = decoder.config();
  decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  decoder.require_activation("silu");
  if (!config.boolean("norm_topk_prob", false))
    config.fail("norm_topk_prob", "is not true, but readers renormalise the experts' weights");
  if (config.integer("decoder_sparse_step", 1) != 1 || !config.integers("mlp_only_layers").empty())
    config.fail("decoder_sparse_step", "or mlp_only_layers leave layers without experts");
  const std::int64_t experts = config.integer("num_experts");
  const std::int64_t inner = config.integer("moe_intermediate_size");
  conversion.set_size("expert_count", experts);
  conversion.set_size("expert_used_count", config.integer("num_experts_per_tok"));
  conversion.set_size("expert_feed_forward_length", inner);
  decoder.add_embeddings();
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    decoder.add_attention(layer);
    decoder.add_qk_norms(layer, "self_attn.q_norm", "self_attn.k_norm");
    decoder.add_norm(layer, "ffn_norm", "post_attention_layernorm");
    decoder.add_linear(layer, "ffn_gate_inp", "mlp.gate", decoder.width, experts,
                       Precision::kExact);
    decoder.add_experts(layer, "mlp.experts", experts, inner, {});
  }
}

namespace {

float minus_exp(float value) { return -std::exp(value); }

/// The sizes of a gated delta net. Checkpoints hold the value heads of one key head together, GGUF
/// files the first value heads of all key heads, then the second ones ("tiled").
struct DeltaNet {
  std::int64_t key_heads, value_heads, head_size, kernel;

  [[nodiscard]] std::int64_t key_channels() const { return key_heads * head_size; }
  [[nodiscard]] std::int64_t value_channels() const { return value_heads * head_size; }
  [[nodiscard]] std::int64_t channels() const { return 2 * key_channels() + value_channels(); }

  /// Where tiled value head `head` is in the checkpoint.
  [[nodiscard]] std::int64_t source_head(std::int64_t head) const {
    return head % key_heads * (value_heads / key_heads) + head / key_heads;
  }
  [[nodiscard]] std::int64_t source_value(std::int64_t channel) const {
    return source_head(channel / head_size) * head_size + channel % head_size;
  }
  /// The same for channels of q, k and v together.
  [[nodiscard]] std::int64_t source_channel(std::int64_t channel) const {
    const std::int64_t first = 2 * key_channels();
    return channel < first ? channel : first + source_value(channel - first);
  }
};

DeltaNet read_delta_net(const Config& config) {
  const DeltaNet net = {
      config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads"),
      config.integer("linear_value_head_dim"), config.integer("linear_conv_kernel_dim", 4)};
  if (net.key_heads < 1 || net.head_size < 1 || net.value_heads % net.key_heads != 0)
    config.fail("linear_num_value_heads", "is no multiple of linear_num_key_heads");
  if (config.integer("linear_key_head_dim") != net.head_size)
    config.fail("linear_key_head_dim", "differs from linear_value_head_dim");
  return net;
}

void add_delta_net(const Decoder& decoder, const DeltaNet& net, std::int64_t layer) {
  Conversion& conversion = decoder.conversion();
  const auto source = [&](const char* name) {
    return decoder.source(layer, std::string("linear_attn.") + name);
  };
  const auto target = [&](const char* name) { return Decoder::target(layer, name); };
  const auto heads = [net](std::int64_t head) { return net.source_head(head); };
  const auto values = [net](std::int64_t channel) { return net.source_value(channel); };
  const auto channels = [net](std::int64_t channel) { return net.source_channel(channel); };

  conversion.add_matrix(
      target("attn_qkv.weight"),
      with_rows(conversion.matrix(source("in_proj_qkv.weight"), net.channels(), decoder.width),
                channels));
  conversion.add_matrix(
      target("attn_gate.weight"),
      with_rows(conversion.matrix(source("in_proj_z.weight"), net.value_channels(), decoder.width),
                values));
  conversion.add_matrix(
      target("ssm_conv1d.weight"),
      with_rows(conversion.matrix(source("conv1d.weight"), net.channels(), net.kernel), channels),
      Precision::kExact);
  conversion.add_vector(target("ssm_dt.bias"),
                        with_rows(conversion.vector(source("dt_bias"), net.value_heads), heads));
  conversion.add_vector(
      target("ssm_a"),
      with_rows(mapped(conversion.vector(source("A_log"), net.value_heads), minus_exp), heads));
  for (const auto& [to, from] : {std::pair("ssm_beta.weight", "in_proj_b.weight"),
                                 std::pair("ssm_alpha.weight", "in_proj_a.weight")}) {
    conversion.add_matrix(
        target(to),
        with_rows(conversion.matrix(source(from), net.value_heads, decoder.width), heads));
  }
  conversion.add_vector(target("ssm_norm.weight"),
                        conversion.vector(source("norm.weight"), net.head_size));
  conversion.add_matrix(target("ssm_out.weight"),
                        with_columns(conversion.matrix(source("out_proj.weight"), decoder.width,
                                                       net.value_channels()),
                                     values));
}

/// Full attention with a gate for every query value: q_proj holds both, per head.
void add_gated_attention(const Decoder& decoder, std::int64_t layer) {
  const std::int64_t attended = decoder.heads * decoder.head_size;
  const std::int64_t kept = decoder.kv_heads * decoder.head_size;
  decoder.add_linear(layer, "attn_q", "self_attn.q_proj", decoder.width, 2 * attended);
  decoder.add_linear(layer, "attn_k", "self_attn.k_proj", decoder.width, kept);
  decoder.add_linear(layer, "attn_v", "self_attn.v_proj", decoder.width, kept);
  decoder.add_linear(layer, "attn_output", "self_attn.o_proj", attended, decoder.width);
  decoder.add_qk_norms(layer, "self_attn.q_norm", "self_attn.k_norm");
}

/// The next-token-prediction block, stored as one more layer.
void add_prediction_block(Decoder& decoder) {
  Conversion& conversion = decoder.conversion();
  const std::int64_t layer = decoder.layers;
  const std::int64_t blocks = decoder.config().integer("mtp_num_hidden_layers", 1);
  if (blocks != 1) decoder.config().fail("mtp_num_hidden_layers", "is not 1");
  conversion.set_size("block_count", layer + 1);
  conversion.set_size("nextn_predict_layers", 1);
  decoder.place_extra_layers("mtp.layers.");
  decoder.add_norm(layer, "attn_norm", "input_layernorm");
  add_gated_attention(decoder, layer);
  decoder.add_norm(layer, "post_attention_norm", "post_attention_layernorm");
  decoder.add_feed_forward(layer, decoder.feed_forward);
  conversion.add_matrix(Decoder::target(layer, "nextn.eh_proj.weight"),
                        conversion.matrix("mtp.fc.weight", decoder.width, 2 * decoder.width));
  const auto norm = [&](const char* to, const char* from) {
    decoder.add_norm(Decoder::target(layer, to), from, decoder.width);
  };
  norm("nextn.enorm", "mtp.pre_fc_norm_embedding");
  norm("nextn.hnorm", "mtp.pre_fc_norm_hidden");
  norm("nextn.shared_head_norm", "mtp.norm");
}

std::vector<bool> qwen35_attention_layers(const Decoder& decoder) {
  const std::vector<std::string> types = decoder.config().strings("layer_types");
  const std::int64_t interval = decoder.config().integer("full_attention_interval", 4);
  if (interval < 1) decoder.config().fail("full_attention_interval", "is not positive");
  std::vector<bool> full;
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    full.push_back((layer + 1) % interval == 0);
    const auto index = static_cast<std::size_t>(layer);
    if (types.empty()) continue;
    if (index >= types.size() || (types[index] == "full_attention") != full.back())
      decoder.config().fail("layer_types", "does not fit full_attention_interval");
  }
  return full;
}

}  // namespace

void convert_qwen35(Conversion& conversion) {
  conversion.set_architecture("qwen35");
  Decoder decoder(conversion, {.head_size = 256, .context = 32768, .epsilon = 1e-6},
                  {.shifted_norms = true});
  const Config& config = decoder.config();
  const DeltaNet net = read_delta_net(config);
  const Config rope = decoder.rope_parameters();
  const std::int64_t rotated = decoder.rotated_size(0.25);
  std::vector<std::int64_t> sections = rope.integers("mrope_section");
  if (sections.empty() || sections.size() > 4) rope.fail("mrope_section", "is missing or too long");
  sections.resize(4, 0);
  decoder.write_head_sizes();
  decoder.write_rope(rotated);
  decoder.require_activation("silu");
  conversion.set_size("ssm.conv_kernel", net.kernel);
  conversion.set_size("ssm.state_size", net.head_size);
  conversion.set_size("ssm.group_count", net.key_heads);
  conversion.set_size("ssm.time_step_rank", net.value_heads);
  conversion.set_size("ssm.inner_size", net.value_channels());
  conversion.set_size("full_attention_interval", config.integer("full_attention_interval", 4));
  decoder.write_rotated(rotated);
  conversion.set_integers("rope.dimension_sections", sections);

  decoder.add_embeddings();
  const std::vector<bool> full = qwen35_attention_layers(decoder);
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    if (full[static_cast<std::size_t>(layer)]) {
      add_gated_attention(decoder, layer);
    } else {
      add_delta_net(decoder, net, layer);
    }
    decoder.add_norm(layer, "post_attention_norm", "post_attention_layernorm");
    decoder.add_feed_forward(layer, decoder.feed_forward);
  }
  if (conversion.has("mtp.fc.weight")) add_prediction_block(decoder);
}

}  // namespace hearth::model::convert
