// mellum: Mellum 2 (JetBrains): Qwen3-MoE with windowed layers, whose RoPE is not scaled
// (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_mellum(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::int64_t window = reader.window_size(0);
  const std::vector<bool> windowed =
      window > 0 ? reader.windowed_layers(std::nullopt, false) : reader.windowed_layers(1, false);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    if (window > 0 && windowed[static_cast<std::size_t>(layer)]) {
      attention.window = {WindowKind::kSliding, window};
      attention.rope =
          reader.window_rope(RopePairing::kHalves, reader.number_or("rope.freq_base", 10000));
    } else {
      attention.rope = reader.rope(RopePairing::kHalves);
    }
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts(layer, {.width = reader.expert_width(layer), .normalise = true})));
  }
  return model;
}

}  // namespace hearth::model
