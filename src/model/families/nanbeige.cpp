// nanbeige: Nanbeige: Llama whose stack of layers is run several times over, with keys and values
// of its own each time, and the final norm between the loops (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_nanbeige(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  constexpr std::int64_t kMostLoops = 16;
  const std::int64_t loops = reader.integer_in("num_loops", 1, kMostLoops, 1);
  const bool normalises = !reader.boolean("skip_loop_final_norm").value_or(false);
  for (std::int64_t loop = 0; loop < loops; ++loop) {
    for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
      Attention attention = reader.attention(layer);
      attention.rope = reader.rope(RopePairing::kAdjacent);
      model.stacks[0].layers.push_back(reader.standard_layer(layer, std::move(attention)));
    }
    if (normalises && loop + 1 < loops) model.stacks[0].layers.back().output_norm = model.head.norm;
  }
  return model;
}

}  // namespace hearth::model
