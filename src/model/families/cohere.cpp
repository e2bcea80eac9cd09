// command-r: Command-R, Aya; cohere2: Command-R7B, Command-A: a parallel block from one LayerNorm
// without bias, logits multiplied by logit_scale. Command-R+ normalises q and k per head; cohere2
// alternates windowed layers with RoPE and full layers without (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_command_r(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  model.head.scale = static_cast<float>(reader.number_or("logit_scale", 1));
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    if (reader.layers() >= 64) reader.add_qk_norm(attention, NormKind::kLayer, layer);
    model.stacks[0].layers.push_back(
        parallel_layer(reader.norm(NormKind::kLayer, layer, "attn_norm"), std::move(attention),
                       reader.gated_feed_forward(layer, Activation::kSilu)));
  }
  return model;
}

ModelSpec describe_cohere2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  model.head.scale = static_cast<float>(reader.required_number("logit_scale"));
  const std::int64_t window = reader.window_size();
  const std::int64_t period = reader.window_period(4);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if (is_windowed(layer, period)) {
      attention.rope = reader.scaled_window_rope(RopePairing::kAdjacent);
      if (window > 0) attention.window = {WindowKind::kSliding, window};
    }
    model.stacks[0].layers.push_back(
        parallel_layer(reader.norm(NormKind::kLayer, layer, "attn_norm"), std::move(attention),
                       reader.gated_feed_forward(layer, Activation::kSilu)));
  }
  return model;
}

}  // namespace hearth::model
