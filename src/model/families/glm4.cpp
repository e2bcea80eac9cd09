// glm4: GLM-4-0414, GLM-Z1: sandwich norms, partial RoPE on adjacent pairs, fused gate/up; with
// two-axis sections (GLM-4.1V) multi-axis RoPE on half-split pairs (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_glm4(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const bool multi_axis = reader.has_rope_sections();
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(multi_axis ? RopePairing::kHalves : RopePairing::kAdjacent);
    if (multi_axis) reader.add_rope_sections(*attention.rope, false);
    model.stacks[0].layers.push_back(
        reader.sandwich_layer(layer, std::move(attention), Activation::kSilu));
  }
  return model;
}

}  // namespace hearth::model
