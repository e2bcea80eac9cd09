// glm4: GLM-4-0414, GLM-Z1: sandwich norms, partial RoPE on adjacent pairs, fused gate/up; with
// two-axis sections (GLM-4.1V) multi-axis RoPE on half-split pairs (reference: moe.md).
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_glm4(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::vector<std::int64_t> sections = reader.integers("rope.dimension_sections");
  const bool multi_axis = sections.size() >= 2 && sections[0] > 0 && sections[1] > 0;
  for (const std::int64_t section : sections) {
    if (section >= 0 && section <= reader.key_size()) continue;
    throw Error("the model's metadata key 'glm4.rope.dimension_sections' contains " +
                    std::to_string(section) + ", which is out of range",
                "the file is damaged or of an unknown kind");
  }
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(multi_axis ? RopePairing::kHalves : RopePairing::kAdjacent);
    for (std::size_t axis = 0; multi_axis && axis < 4 && axis < sections.size(); ++axis) {
      attention.rope->angles.sections[axis] = static_cast<std::int32_t>(sections[axis]);
    }
    model.stacks[0].layers.push_back(
        reader.sandwich_layer(layer, std::move(attention), Activation::kSilu));
  }
  return model;
}

}  // namespace hearth::model
