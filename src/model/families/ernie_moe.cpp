// ernie4_5-moe: ERNIE 4.5 21B-A3B, 300B-A47B: softmax experts with a selection bias and a shared
// expert; the first layers are dense (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_ernie_moe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    const ExpertOptions options{.width = reader.expert_width(layer),
                                .normalise = true,
                                .shared_width = reader.shared_expert_width(layer)};
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), reader.experts_or_dense(layer, options)));
  }
  return model;
}

}  // namespace hearth::model
