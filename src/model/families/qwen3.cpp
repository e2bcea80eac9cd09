// qwen3: Qwen3 dense, embedders and rerankers; qwen3moe: Qwen3-30B-A3B, Qwen3-Coder; qwen3vl,
// qwen3vlmoe: Qwen3-VL, Qwen3-Omni: q and k normalised per head before RoPE; multi-axis RoPE with
// interleaved axes and deepstack slices of image rows in the VL ones (reference: qwen.md). openelm:
// OpenELM: the same with other sizes in every layer (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_qwen3(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const bool multi_axis = reader.architecture().starts_with("qwen3vl");
  const bool has_experts =
      reader.architecture().ends_with("moe") || reader.architecture() == "rnd1";
  const std::int64_t slices =
      multi_axis ? reader.integer_in("n_deepstack_layers", 0, reader.layers(), 0) : 0;
  model.embedding.input_slices = 1 + slices;
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    if (multi_axis) reader.add_rope_sections(*attention.rope, true);
    Body feed_forward =
        has_experts
            ? Body(reader.experts(layer, {.width = reader.expert_width(layer), .normalise = true}))
            : Body(reader.gated_feed_forward(layer, Activation::kSilu));
    Layer block = reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                          std::move(feed_forward));
    if (layer < slices) block.add_input_slice = static_cast<std::int32_t>(layer + 1);
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
