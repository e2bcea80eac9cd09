// qwen2: Qwen2, Qwen2.5, QwQ, R1-Distill-Qwen: the standard layer with biases on q, k and v
// (reference: qwen.md). phi3: Phi-3, 3.5, 4: the same with fused q/k/v and gate/up and long-context
// RoPE factors, which the reader finds by their names; its sliding_window key is ignored
// (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_qwen2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(reader.standard_layer(layer, std::move(attention)));
  }
  return model;
}

}  // namespace hearth::model
