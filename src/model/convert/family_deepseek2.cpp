// deepseek2: DeepSeek V2, V3, R1 (reference: deepseek.md). The up-projection of the latent is split
// into the part for keys, transposed so that queries can be projected into the latent, and the part
// for values. Rows are not reordered: these checkpoints pair neighbours for RoPE already.
#include <fmt/format.h>

#include "model/convert/decoder.h"
#include "model/convert/families.h"
#include "support/error.h"

namespace hearth::model::convert {
namespace {

struct Latent {
  std::int64_t query_rank;  // 0: queries are projected directly
  std::int64_t rank, plain, rotated, value;

  [[nodiscard]] std::int64_t key() const { return plain + rotated; }
};

struct Experts {
  std::int64_t count, used, inner, shared, leading_dense;
};

Latent write_attention_keys(const Decoder& decoder) {
  const Config& config = decoder.config();
  Conversion& conversion = decoder.conversion();
  const Latent latent = {config.integer("q_lora_rank", 0), config.integer("kv_lora_rank"),
                         config.integer("qk_nope_head_dim"), config.integer("qk_rope_head_dim"),
                         config.integer("v_head_dim")};
  if (latent.rank < 1 || latent.plain < 1 || latent.value < 1)
    config.fail("kv_lora_rank", "or a head size is 0");
  // With the latent as key and value, all heads share one: a key of rank + rotated values.
  conversion.set_size("attention.head_count_kv", 1);
  conversion.set_size("attention.q_lora_rank", latent.query_rank);
  conversion.set_size("attention.kv_lora_rank", latent.rank);
  conversion.set_size("attention.key_length", latent.rank + latent.rotated);
  conversion.set_size("attention.value_length", latent.rank);
  conversion.set_size("attention.key_length_mla", latent.key());
  conversion.set_size("attention.value_length_mla", latent.value);
  decoder.write_vocabulary_size();
  decoder.write_rotated(latent.rotated);
  decoder.write_rope(latent.rotated);
  return latent;
}

Experts write_expert_keys(const Decoder& decoder) {
  const Config& config = decoder.config();
  Conversion& conversion = decoder.conversion();
  const Experts experts = {
      config.integer("n_routed_experts"), config.integer("num_experts_per_tok"),
      config.integer("moe_intermediate_size"), config.integer("n_shared_experts", 0),
      config.integer("first_k_dense_replace", 0)};
  if (config.integer("moe_layer_freq", 1) != 1) config.fail("moe_layer_freq", "is not 1");
  conversion.set_size("leading_dense_block_count", experts.leading_dense);
  conversion.set_size("expert_count", experts.count);
  conversion.set_size("expert_used_count", experts.used);
  conversion.set_size("expert_feed_forward_length", experts.inner);
  conversion.set_size("expert_shared_count", experts.shared);
  if (config.has("routed_scaling_factor"))
    conversion.set_number("expert_weights_scale", config.number("routed_scaling_factor"));
  if (config.boolean("norm_topk_prob", false)) conversion.set_flag("expert_weights_norm", true);
  if (config.has("scoring_func")) {
    const std::string scoring = config.string("scoring_func");
    if (scoring != "softmax" && scoring != "sigmoid")
      config.fail("scoring_func", "is neither softmax nor sigmoid");
    conversion.set_size("expert_gating_func", scoring == "softmax" ? 1 : 2);
  }
  const std::string method = config.string("topk_method", std::string("greedy"));
  if (method != "greedy" && config.integer("n_group", 1) > 1) {
    conversion.set_size("expert_group_count", config.integer("n_group"));
    conversion.set_size("expert_group_used_count", config.integer("topk_group"));
    if (method == "group_limited_greedy") {
      conversion.warn(
          "expert groups are ranked by the sum of their two best experts, not by the best one as "
          "this checkpoint was trained with: GGUF files cannot express the difference");
    }
  }
  return experts;
}

void add_attention(const Decoder& decoder, const Latent& latent, std::int64_t layer) {
  Conversion& conversion = decoder.conversion();
  const std::int64_t queries = decoder.heads * latent.key();
  if (latent.query_rank > 0) {
    decoder.add_linear(layer, "attn_q_a", "self_attn.q_a_proj", decoder.width, latent.query_rank);
    decoder.add_norm(Decoder::target(layer, "attn_q_a_norm"),
                     decoder.source(layer, "self_attn.q_a_layernorm"), latent.query_rank);
    decoder.add_linear(layer, "attn_q_b", "self_attn.q_b_proj", latent.query_rank, queries);
  } else {
    decoder.add_linear(layer, "attn_q", "self_attn.q_proj", decoder.width, queries);
  }
  decoder.add_linear(layer, "attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa", decoder.width,
                     latent.rank + latent.rotated);
  decoder.add_norm(Decoder::target(layer, "attn_kv_a_norm"),
                   decoder.source(layer, "self_attn.kv_a_layernorm"), latent.rank);

  const std::int64_t rows_per_head = latent.plain + latent.value;
  const Matrix both = conversion.matrix(decoder.source(layer, "self_attn.kv_b_proj.weight"),
                                        decoder.heads * rows_per_head, latent.rank);
  const auto rows_of_heads = [&](std::int64_t first, std::int64_t count) {
    return with_rows(
        both, [=](std::int64_t row) { return row / count * rows_per_head + first + row % count; },
        decoder.heads * count);
  };
  conversion.add(
      Decoder::target(layer, "attn_k_b.weight"), {latent.plain, latent.rank, decoder.heads},
      transposed_blocks(rows_of_heads(0, latent.plain), latent.plain), Precision::kChosen);
  conversion.add(Decoder::target(layer, "attn_v_b.weight"),
                 {latent.rank, latent.value, decoder.heads},
                 rows_of_heads(latent.plain, latent.value), Precision::kChosen);
  decoder.add_linear(layer, "attn_output", "self_attn.o_proj", decoder.heads * latent.value,
                     decoder.width);
}

void add_experts(const Decoder& decoder, const Experts& experts, std::int64_t layer) {
  Conversion& conversion = decoder.conversion();
  decoder.add_linear(layer, "ffn_gate_inp", "mlp.gate", decoder.width, experts.count,
                     Precision::kExact);
  const std::string bias = decoder.source(layer, "mlp.gate.e_score_correction_bias");
  if (conversion.has(bias)) {
    conversion.add_vector(Decoder::target(layer, "exp_probs_b.bias"),
                          conversion.vector(bias, experts.count));
  }
  decoder.add_experts(layer, "mlp.experts", experts.count, experts.inner, {});
  if (experts.shared > 0) {
    decoder.add_feed_forward(layer, experts.inner * experts.shared, "_shexp", "mlp.shared_experts");
  }
}

void add_layer(const Decoder& decoder, const Latent& latent, const Experts& experts,
               std::int64_t layer) {
  decoder.add_norm(layer, "attn_norm", "input_layernorm");
  add_attention(decoder, latent, layer);
  decoder.add_norm(layer, "ffn_norm", "post_attention_layernorm");
  if (layer < experts.leading_dense) {
    decoder.add_feed_forward(layer, decoder.feed_forward);
  } else {
    add_experts(decoder, experts, layer);
  }
}

/// What a next-token-prediction block has besides a layer. Its copies of the embedding and output
/// matrices are left out where they are the model's own.
void add_prediction_block(const Decoder& decoder, std::int64_t layer) {
  Conversion& conversion = decoder.conversion();
  decoder.add_linear(layer, "nextn.eh_proj", "eh_proj", 2 * decoder.width, decoder.width);
  decoder.add_norm(layer, "nextn.enorm", "enorm");
  decoder.add_norm(layer, "nextn.hnorm", "hnorm");
  if (conversion.has(decoder.source(layer, "shared_head.norm.weight")))
    decoder.add_norm(layer, "nextn.shared_head_norm", "shared_head.norm");
  const auto add_copy = [&](const char* to, const char* from, const std::string& original) {
    const std::string name = decoder.source(layer, from);
    if (!conversion.has(name)) return;
    Matrix copy = conversion.matrix(name, decoder.vocabulary, decoder.width);
    if (conversion.has(original) && conversion.same(name, original)) return;
    conversion.add_matrix(Decoder::target(layer, to), std::move(copy));
  };
  add_copy("nextn.embed_tokens.weight", "embed_tokens.weight",
           decoder.prefix() + "embed_tokens.weight");
  add_copy("nextn.shared_head_head.weight", "shared_head.head.weight", "lm_head.weight");
}

}  // namespace

void convert_deepseek2(Conversion& conversion) {
  conversion.set_architecture("deepseek2");
  Decoder decoder(conversion, {.context = 2048, .epsilon = 1e-6}, {});
  decoder.require_activation("silu");
  const Latent latent = write_attention_keys(decoder);
  const Experts experts = write_expert_keys(decoder);
  decoder.add_embeddings();
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer)
    add_layer(decoder, latent, experts, layer);

  std::int64_t predictors = 0;  // configurations promise blocks that some checkpoints leave out
  while (conversion.has(decoder.source(decoder.layers + predictors, "eh_proj.weight"))) {
    const std::int64_t layer = decoder.layers + predictors++;
    add_layer(decoder, latent, experts, layer);
    add_prediction_block(decoder, layer);
  }
  if (predictors > 0) {
    conversion.set_size("block_count", decoder.layers + predictors);
    conversion.set_size("nextn_predict_layers", predictors);
  }
}

}  // namespace hearth::model::convert
