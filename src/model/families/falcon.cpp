// falcon: Falcon 7B to 180B: parallel attention and feed-forward; the larger ones have a norm for
// each, of which attn_norm_2 feeds the attention (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_falcon(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    Norm norm = reader.norm(NormKind::kLayer, layer, "attn_norm");
    FeedForward feed_forward = reader.plain_feed_forward(layer, Activation::kGelu);
    if (!reader.has(FamilyReader::layer_name(layer, "attn_norm_2.weight"))) {
      model.stacks[0].layers.push_back(
          parallel_layer(std::move(norm), std::move(attention), std::move(feed_forward)));
      continue;
    }
    Sublayer sublayer;
    sublayer.branches.push_back(
        {reader.norm(NormKind::kLayer, layer, "attn_norm_2"), std::move(attention), {}});
    sublayer.branches.push_back({std::move(norm), std::move(feed_forward), {}});
    model.stacks[0].layers.push_back({{std::move(sublayer)}});
  }
  return model;
}

}  // namespace hearth::model
