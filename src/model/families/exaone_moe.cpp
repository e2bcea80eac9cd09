// exaone-moe: K-EXAONE: windows of 128 with RoPE in three of four layers, full attention without
// RoPE in the fourth, sigmoid experts with a shared one (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Layer exaone_moe_layer(const FamilyReader& reader, std::int64_t layer, bool windowed) {
  Attention attention = reader.attention(layer);
  reader.add_qk_norm(attention, NormKind::kRms, layer);
  const std::int64_t window = reader.window_size();
  if (windowed) {
    attention.rope = reader.scaled_window_rope(RopePairing::kHalves);
    if (window > 0) attention.window = {WindowKind::kSliding, window};
  }
  return reader.sequential_layer(
      layer, NormKind::kRms, std::move(attention),
      reader.experts_or_dense(layer, reader.usual_experts(layer, RouterGate::kSigmoid)));
}

}  // namespace

ModelSpec describe_exaone_moe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::vector<bool> windowed = reader.windowed_layers(4, false);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(
        exaone_moe_layer(reader, layer, windowed[static_cast<std::size_t>(layer)]));
  }
  return model;
}

ModelSpec describe_exaone_moe_draft(const FamilyReader& reader, std::int64_t head) {
  return reader.draft_model(head, NormKind::kRms,
                            exaone_moe_layer(reader, reader.layers() + head, false));
}

}  // namespace hearth::model
