// nemotron_h, nemotron_h_moe: Nemotron-H, Nemotron Nano 2 and Nemotron 3. Every layer is exactly
// one mixer: Mamba-2, attention without RoPE, or a feed-forward with squared ReLU, dense or of
// experts (reference: hybrid-ssm.md).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

// Larger than any model.

MixtureOfExperts nemotron_experts(const FamilyReader& reader, std::int64_t layer) {
  const std::int64_t latent = reader.integer_in("moe_latent_size", 0, kMostFeatures, 0);
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
  options.input = latent;
  options.gated = false;
  options.gating.activation = Activation::kReluSquared;
  MixtureOfExperts experts = reader.experts(layer, options);
  if (latent > 0) {  // Nemotron 3 Super: experts work on a narrower stream
    experts.latent_down =
        reader.linear(FamilyReader::layer_name(layer, "ffn_latent_down"), reader.width(), latent);
    experts.latent_up =
        reader.linear(FamilyReader::layer_name(layer, "ffn_latent_up"), latent, reader.width());
  }
  return experts;
}

Body nemotron_mixer(const FamilyReader& reader, std::int64_t layer) {
  if (reader.feed_forward_width(layer) == 0) {
    if (reader.kv_heads(layer) > 0) return reader.attention(layer);
    return mamba2(reader, layer);
  }
  if (reader.has(FamilyReader::layer_name(layer, "ffn_gate_inp.weight"))) {
    return nemotron_experts(reader, layer);
  }
  return reader.plain_feed_forward(layer, Activation::kReluSquared);
}

}  // namespace

ModelSpec describe_nemotron_h(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Layer block;
    block.sublayers.push_back({reader.norm(NormKind::kRms, layer, "attn_norm"),
                               {Branch{{}, nemotron_mixer(reader, layer), {}}},
                               {}});
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
