// llama and its nearest relatives: mistral, mixtral, ministral3, granite, smollm3, olmo2 (and 3),
// qwen2, qwen3, phi3 (reference: llama-family.md, qwen.md, classic.md).
#include <fmt/format.h>

#include "model/convert/decoder.h"
#include "model/convert/families.h"
#include "support/error.h"

namespace hearth::model::convert {
namespace {

constexpr DecoderStyle kPermuted = {.permute_rope = true};

void add_pre_norm_layers(const Decoder& decoder) {
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    decoder.add_attention(layer);
    decoder.add_norm(layer, "ffn_norm", "post_attention_layernorm");
    decoder.add_feed_forward(layer, decoder.feed_forward);
  }
}

void warn_about_window(const Decoder& decoder, bool windowed) {
  if (!windowed) return;
  decoder.conversion().warn(fmt::format(
      "the checkpoint's sliding window is left out: models of architecture '{}' attend fully",
      decoder.conversion().architecture()));
}

/// Keys of llama files that other architectures' files do not carry.
void write_llama_keys(const Decoder& decoder) {
  decoder.write_vocabulary_size();
  decoder.write_rotated(decoder.head_size);
  if (decoder.config().has("head_dim")) decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  decoder.require_activation("silu");
}

}  // namespace

void convert_llama(Conversion& conversion) {
  conversion.set_architecture("llama");
  Decoder decoder(conversion, {.context = 2048, .epsilon = 1e-6}, kPermuted);
  write_llama_keys(decoder);
  warn_about_window(decoder, decoder.config().integer("sliding_window", 0) != 0);
  decoder.add_embeddings();
  add_pre_norm_layers(decoder);
}

void convert_mixtral(Conversion& conversion) {
  conversion.set_architecture("llama");
  Decoder decoder(conversion, {.kv_heads = 8, .rope_base = 1e6, .epsilon = 1e-5}, kPermuted);
  write_llama_keys(decoder);
  const std::int64_t experts = decoder.config().integer("num_local_experts");
  conversion.set_size("expert_count", experts);
  conversion.set_size("expert_used_count", decoder.config().integer("num_experts_per_tok"));
  decoder.add_embeddings();
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    decoder.add_attention(layer);
    decoder.add_norm(layer, "ffn_norm", "post_attention_layernorm");
    decoder.add_linear(layer, "ffn_gate_inp", "block_sparse_moe.gate", decoder.width, experts,
                       Precision::kExact);
    decoder.add_experts(layer, "block_sparse_moe.experts", experts, decoder.feed_forward,
                        {.gate = "w1", .up = "w3", .down = "w2"});
  }
}

void convert_mistral3(Conversion& conversion) {
  conversion.set_architecture("mistral3");
  Decoder decoder(conversion, {.epsilon = 1e-5}, kPermuted);
  write_llama_keys(decoder);
  const double beta = decoder.rope_parameters().number("llama_4_scaling_beta", 0);
  if (beta != 0) conversion.set_number("attention.temperature_scale", beta);
  decoder.add_embeddings();
  add_pre_norm_layers(decoder);
}

void convert_granite(Conversion& conversion) {
  conversion.set_architecture("granite");
  Decoder decoder(conversion, {.context = 2048, .epsilon = 1e-6}, kPermuted);
  write_llama_keys(decoder);
  const Config& config = decoder.config();
  conversion.set_number("attention.scale", config.number("attention_multiplier", 1));
  conversion.set_number("embedding_scale", config.number("embedding_multiplier", 1));
  conversion.set_number("residual_scale", config.number("residual_multiplier", 1));
  conversion.set_number("logit_scale", config.number("logits_scaling", 1));
  decoder.add_embeddings();
  add_pre_norm_layers(decoder);
}

void convert_smollm3(Conversion& conversion) {
  conversion.set_architecture("smollm3");
  Decoder decoder(conversion, {.kv_heads = 4, .rope_base = 2e6, .epsilon = 1e-6}, kPermuted);
  decoder.write_rope(decoder.head_size);
  decoder.require_activation("silu");
  // Readers leave every fourth layer without RoPE; a checkpoint that does otherwise is no SmolLM3.
  const std::vector<std::int64_t> rotates = decoder.config().integers("no_rope_layers");
  if (rotates.empty() && decoder.config().integer("no_rope_layer_interval", 4) != 4)
    decoder.config().fail("no_rope_layer_interval", "is not 4");
  for (std::size_t layer = 0; layer < rotates.size(); ++layer) {
    if ((rotates[layer] != 0) != ((layer + 1) % 4 != 0))
      decoder.config().fail("no_rope_layers", "does not name every fourth layer");
  }
  decoder.add_embeddings();
  add_pre_norm_layers(decoder);
}

void convert_olmo2(Conversion& conversion) {
  conversion.set_architecture("olmo2");
  Decoder decoder(conversion, {.context = 2048, .epsilon = 1e-5}, {});
  decoder.write_rope(decoder.head_size);
  decoder.write_window(4);
  decoder.require_activation("silu");
  decoder.add_embeddings();
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_attention(layer);
    decoder.add_norm(Decoder::target(layer, "attn_q_norm"),
                     decoder.source(layer, "self_attn.q_norm"), decoder.heads * decoder.head_size);
    decoder.add_norm(Decoder::target(layer, "attn_k_norm"),
                     decoder.source(layer, "self_attn.k_norm"),
                     decoder.kv_heads * decoder.head_size);
    decoder.add_norm(layer, "post_attention_norm", "post_attention_layernorm");
    decoder.add_feed_forward(layer, decoder.feed_forward);
    decoder.add_norm(layer, "post_ffw_norm", "post_feedforward_layernorm");
  }
}

void convert_qwen2(Conversion& conversion) {
  conversion.set_architecture("qwen2");
  Decoder decoder(conversion, {.context = 32768, .epsilon = 1e-6}, {});
  warn_about_window(decoder, decoder.config().boolean("use_sliding_window", false));
  if (decoder.config().has("head_dim")) decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  decoder.require_activation("silu");
  decoder.add_embeddings();
  add_pre_norm_layers(decoder);
}

void convert_qwen3(Conversion& conversion) {
  conversion.set_architecture("qwen3");
  Decoder decoder(conversion, {.head_size = 128, .context = 32768, .epsilon = 1e-6}, {});
  warn_about_window(decoder, decoder.config().boolean("use_sliding_window", false));
  decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  decoder.require_activation("silu");
  decoder.add_embeddings();
  add_pre_norm_layers(decoder);
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer)
    decoder.add_qk_norms(layer, "self_attn.q_norm", "self_attn.k_norm");
}

void convert_phi3(Conversion& conversion) {
  conversion.set_architecture("phi3");
  Decoder decoder(conversion, {.context = 4096, .epsilon = 1e-5}, {});
  const Config& config = decoder.config();
  const std::int64_t rotated = decoder.rotated_size(1);
  decoder.write_rotated(rotated);
  if (config.has("original_max_position_embeddings")) {
    conversion.set_size("rope.scaling.original_context_length",
                        config.integer("original_max_position_embeddings"));
  }
  decoder.write_rope(rotated);
  if (const std::int64_t window = config.integer("sliding_window", 0); window != 0)
    conversion.set_size("attention.sliding_window", window);
  decoder.require_activation("silu");
  decoder.add_embeddings();
  const std::int64_t attended = decoder.heads * decoder.head_size;
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    decoder.add_linear(layer, "attn_qkv", "self_attn.qkv_proj", decoder.width,
                       attended + 2 * decoder.kv_heads * decoder.head_size);
    decoder.add_linear(layer, "attn_output", "self_attn.o_proj", attended, decoder.width);
    decoder.add_norm(layer, "ffn_norm", "post_attention_layernorm");
    decoder.add_linear(layer, "ffn_up", "mlp.gate_up_proj", decoder.width,
                       2 * decoder.feed_forward);
    decoder.add_linear(layer, "ffn_down", "mlp.down_proj", decoder.feed_forward, decoder.width);
  }
}

}  // namespace hearth::model::convert
