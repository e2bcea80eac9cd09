// qwen3: Qwen3 dense: queries and keys are normalised per head before RoPE (reference: qwen.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_qwen3(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(reader.standard_layer(layer, std::move(attention)));
  }
  return model;
}

}  // namespace hearth::model
