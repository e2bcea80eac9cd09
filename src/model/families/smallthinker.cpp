// smallthinker: SmallThinker 4B-A0.6B, 21B-A3B: the router reads the layer's input, so that experts
// can be fetched during attention; ReLU-gated experts; with windows, every fourth layer, the first
// one included, is full and has no RoPE (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_smallthinker(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::int64_t window = reader.window_size(0);
  const std::vector<bool> windowed = reader.windowed_layers(4, true);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if (window == 0) {
      attention.rope = reader.rope(RopePairing::kHalves);
    } else if (windowed[static_cast<std::size_t>(layer)]) {
      attention.rope = reader.scaled_window_rope(RopePairing::kHalves);
      attention.window = {WindowKind::kSliding, window};
    }
    MixtureOfExperts experts = reader.experts(layer, {.width = reader.expert_width(layer),
                                                      .gating = {Activation::kRelu},
                                                      .gate = RouterGate::kSoftmax,
                                                      .gate_from_file = true,
                                                      .normalise = true});
    experts.router_input = RouterInput::kLayer;
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kRms, std::move(attention), std::move(experts)));
  }
  return model;
}

}  // namespace hearth::model
