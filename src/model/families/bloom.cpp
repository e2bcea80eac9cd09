// bloom: BLOOM: ALiBi instead of positions, the embedding normalised, LayerNorm, GELU (reference:
// classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_bloom(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  model.embedding.norm = reader.norm(NormKind::kLayer, "token_embd_norm", reader.width());
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.max_alibi_bias = 8;
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kLayer, std::move(attention),
                                reader.plain_feed_forward(layer, Activation::kGelu)));
  }
  return model;
}

}  // namespace hearth::model
