// phi2: a parallel block with one LayerNorm, partial RoPE, plain GELU feed-forward (reference:
// classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_phi2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(
        parallel_layer(reader.norm(NormKind::kLayer, layer, "attn_norm"), std::move(attention),
                       reader.plain_feed_forward(layer, Activation::kGelu)));
  }
  return model;
}

}  // namespace hearth::model
