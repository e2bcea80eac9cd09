// stablelm: StableLM: LayerNorm, partial RoPE; the 12B normalises q and k per head with weights of
// their own; without an ffn_norm the block is parallel (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_stablelm(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    if (reader.has(FamilyReader::layer_name(layer, "attn_q_norm.weight"))) {
      reader.add_qk_norm(attention, NormKind::kLayer, layer);
    }
    FeedForward feed_forward = reader.gated_feed_forward(layer, Activation::kSilu);
    if (reader.has(FamilyReader::layer_name(layer, "ffn_norm.weight"))) {
      model.stacks[0].layers.push_back(reader.sequential_layer(
          layer, NormKind::kLayer, std::move(attention), std::move(feed_forward)));
    } else {
      model.stacks[0].layers.push_back(
          parallel_layer(reader.norm(NormKind::kLayer, layer, "attn_norm"), std::move(attention),
                         std::move(feed_forward)));
    }
  }
  return model;
}

}  // namespace hearth::model
