// gpt-oss: gpt-oss-20b and 120b: attention sinks, windows of 128 in every other layer, biases
// everywhere, a clamped SwiGLU, softmax over the chosen experts (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_gpt_oss(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::int64_t window = reader.window_size(128);
  const std::int64_t period = reader.window_period(2);
  constexpr Gating kGating{Activation::kSilu, GateForm::kOpenAi, 7.0F};
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.sinks =
        reader.vector(FamilyReader::layer_name(layer, "attn_sinks.weight"), attention.heads);
    if (window > 0 && is_windowed(layer, period)) {
      attention.window = {WindowKind::kSliding, window};
      attention.rope = reader.scaled_window_rope(RopePairing::kHalves);
    } else {
      attention.rope = reader.rope(RopePairing::kHalves);
    }
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                reader.experts(layer, {.width = reader.expert_width(layer),
                                                       .gating = kGating,
                                                       .gate = RouterGate::kSoftmaxSelected,
                                                       .normalise = false}),
                                "post_attention_norm"));
  }
  return model;
}

}  // namespace hearth::model
