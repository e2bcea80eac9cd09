// olmo: OLMo 1: LayerNorm without weights, q, k and v clamped (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_olmo(const FamilyReader& reader) {
  const Norm norm = reader.bare_norm(NormKind::kLayer);
  ModelSpec model = reader.model(norm);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    attention.clamp_qkv = static_cast<float>(reader.number_or("attention.clamp_kqv", 0));
    Layer block;
    block.sublayers.push_back({norm, {Branch{{}, std::move(attention)}}});
    block.sublayers.push_back(
        {norm, {Branch{{}, reader.gated_feed_forward(layer, Activation::kSilu)}}});
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
