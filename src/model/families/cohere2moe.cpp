// cohere2moe: Cohere's mixtures of experts: Command-R7B's parallel block with sigmoid experts; RoPE
// in windowed and in the leading dense layers; experts and shared expert are averaged (reference:
// moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

NormKind norm_kind(const FamilyReader& reader) {
  return reader.number("attention.layer_norm_rms_epsilon") ? NormKind::kRms : NormKind::kLayer;
}

Layer cohere2moe_layer(const FamilyReader& reader, std::int64_t layer, bool draft) {
  const bool windowed = reader.windowed_layers(std::nullopt, true)[static_cast<std::size_t>(layer)];
  Attention attention = reader.attention(layer);
  const std::int64_t window = reader.window_size();
  if (windowed && window > 0) attention.window = {WindowKind::kSliding, window};
  if (windowed || draft || layer < reader.integer_or("leading_dense_block_count", 0)) {
    attention.rope = reader.scaled_window_rope(RopePairing::kAdjacent);
  }
  Body feed_forward =
      reader.experts_or_dense(layer, reader.usual_experts(layer, RouterGate::kSigmoid));
  auto* experts = std::get_if<MixtureOfExperts>(&feed_forward);
  if (experts != nullptr && experts->shared) experts->output_scale = 0.5F;
  return parallel_layer(reader.norm(norm_kind(reader), layer, "attn_norm"), std::move(attention),
                        std::move(feed_forward));
}

}  // namespace

ModelSpec describe_cohere2moe(const FamilyReader& reader) {
  ModelSpec model = reader.model(norm_kind(reader));
  model.head.scale = static_cast<float>(reader.required_number("logit_scale"));
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(cohere2moe_layer(reader, layer, false));
  }
  return model;
}

ModelSpec describe_cohere2moe_draft(const FamilyReader& reader, std::int64_t head) {
  ModelSpec model = reader.draft_model(head, norm_kind(reader),
                                       cohere2moe_layer(reader, reader.layers() + head, true));
  model.head.scale = static_cast<float>(reader.required_number("logit_scale"));
  return model;
}

}  // namespace hearth::model
