// gpt2: GPT-2; starcoder: StarCoder 1, SantaCoder (one key head): learned positions, LayerNorm,
// fused q/k/v, plain GELU feed-forward (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_gpt2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  reader.add_positions(model);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kLayer, reader.attention(layer),
                                reader.plain_feed_forward(layer, Activation::kGelu)));
  }
  return model;
}

}  // namespace hearth::model
