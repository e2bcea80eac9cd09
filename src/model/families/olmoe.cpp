// olmoe: OLMoE 1B-7B: q and k normalised over all heads together, experts whose weights are not
// normalised; minimax-m2: MiniMax M2 to M2.5: the same with partial RoPE and sigmoid experts with a
// selection bias (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_olmoe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const bool minimax = reader.architecture() == "minimax-m2";
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_whole_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts(layer, {.width = reader.feed_forward_width(layer),
                               .gate = minimax ? RouterGate::kSigmoid : RouterGate::kSoftmax,
                               .gate_from_file = minimax,
                               .normalise = minimax})));
  }
  return model;
}

}  // namespace hearth::model
