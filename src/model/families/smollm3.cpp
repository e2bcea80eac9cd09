// smollm3: SmolLM3: the standard layer; every fourth layer has no position encoding (reference:
// llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_smollm3(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if ((layer + 1) % 4 != 0) attention.rope = reader.rope(RopePairing::kAdjacent);
    model.stacks[0].layers.push_back(reader.standard_layer(layer, std::move(attention)));
  }
  return model;
}

}  // namespace hearth::model
