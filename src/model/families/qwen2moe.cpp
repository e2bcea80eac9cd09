// qwen2moe: Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B: Qwen2's attention, experts whose weights are not
// normalised, and a shared expert behind a gate (reference: qwen.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_qwen2moe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    const std::int64_t shared = reader.integer_in("expert_shared_feed_forward_length", 0, 1 << 30,
                                                  reader.feed_forward_width(layer));
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts(
            layer,
            {.width = reader.expert_width(layer), .normalise = false, .shared_width = shared})));
  }
  return model;
}

}  // namespace hearth::model
