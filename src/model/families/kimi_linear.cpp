// kimi-linear: Kimi Linear: delta attention with a decay per channel, and latent attention without
// RoPE every few layers; experts after the leading dense layers (reference: deepseek.md,
// blocks-recurrent.md section 3).

#include "compute/backend.h"
#include "model/families/latent.h"
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

// Larger than any model.

KimiDeltaAttention delta_attention(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  KimiDeltaAttention k;
  k.conv_taps = conv_taps(reader, "ssm.conv_kernel");
  k.size = reader.integer_in("kda.head_dim", 1, kMaxStateSize);
  k.heads = reader.heads(layer);
  if (k.heads < 1 || k.heads > kMostFeatures / k.size) {
    throw Error("this 'kimi-linear' model gives layer " + std::to_string(layer) +
                    " an impossible number of heads",
                "the file is damaged or of an unknown kind");
  }
  const std::int64_t inner = k.heads * k.size;
  const std::int64_t width = reader.width();
  k.q = reader.linear(name("attn_q"), width, inner);
  k.k = reader.linear(name("attn_k"), width, inner);
  k.v = reader.linear(name("attn_v"), width, inner);
  k.conv_q = reader.vector(name("ssm_conv1d_q.weight"), k.conv_taps, inner);
  k.conv_k = reader.vector(name("ssm_conv1d_k.weight"), k.conv_taps, inner);
  k.conv_v = reader.vector(name("ssm_conv1d_v.weight"), k.conv_taps, inner);
  k.decay_a = reader.linear(name("ssm_f_a"), width, k.size);
  k.decay_b = reader.linear(name("ssm_f_b"), k.size, inner);
  k.beta = reader.linear(name("ssm_beta"), width, k.heads);
  k.gate_a = reader.linear(name("ssm_g_a"), width, k.size);
  k.gate_b = reader.linear(name("ssm_g_b"), k.size, inner);
  k.dt_bias = any_vector(reader, name("ssm_dt.bias"), inner);
  k.a = any_vector(reader, name("ssm_a"), k.heads);
  k.output_norm = reader.norm(NormKind::kRms, name("ssm_norm"), k.size);
  k.l2_epsilon = k.output_norm.epsilon;
  k.output = reader.linear(name("attn_output"), inner, width);
  return k;
}

Body kimi_feed_forward(const FamilyReader& reader, std::int64_t layer) {
  if (layer < reader.integer_or("leading_dense_block_count", 0)) {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
  options.normalise = true;
  return reader.experts(layer, options);
}

}  // namespace

ModelSpec describe_kimi_linear(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Body mixer = reader.kv_heads(layer) == 0 ? Body(delta_attention(reader, layer))
                                             : Body(latent_attention(reader, layer));
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(mixer), kimi_feed_forward(reader, layer)));
  }
  return model;
}

}  // namespace hearth::model
