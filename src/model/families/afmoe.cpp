// afmoe: Trinity (Arcee): embeddings scaled by sqrt(width), sandwich norms, a sigmoid gate on the
// output of attention, RoPE in windowed layers only, sigmoid experts (reference: moe.md).
#include <cmath>

#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_afmoe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  model.embedding.scale = std::sqrt(static_cast<float>(reader.width()));
  constexpr std::int64_t kPeriod = 4;
  const std::int64_t window = reader.window_size(0);
  const std::vector<bool> windowed = reader.windowed_layers(kPeriod, false);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.gate =
        OutputGate{.linear = reader.linear(FamilyReader::layer_name(layer, "attn_gate"),
                                           reader.width(), attention.heads * attention.key_size)};
    if ((layer + 1) % kPeriod != 0) {
      attention.rope = reader.scaled_window_rope(RopePairing::kHalves);
    }
    if (window > 0 && windowed[static_cast<std::size_t>(layer)]) {
      attention.window = {WindowKind::kSliding, window};
    }
    Layer block = reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts_or_dense(layer, reader.usual_experts(layer, RouterGate::kSigmoid)));
    block.sublayers[0].post_norm = reader.norm(NormKind::kRms, layer, "post_attention_norm");
    block.sublayers[1].post_norm = reader.norm(NormKind::kRms, layer, "post_ffw_norm");
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
