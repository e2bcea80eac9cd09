// arcee: AFM-4.5B: Llama's attention with a plain squared-ReLU feed-forward (reference:
// llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_arcee(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                reader.plain_feed_forward(layer, Activation::kReluSquared)));
  }
  return model;
}

}  // namespace hearth::model
