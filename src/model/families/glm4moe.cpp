// glm4moe: GLM-4.5, 4.5-Air, 4.6, 4.7, GLM-4.5V: half of each head rotated, q and k normalised in
// some, sigmoid experts with a selection bias and a shared expert; the norm before the feed-forward
// is called post_attention_norm (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Layer glm4moe_layer(const FamilyReader& reader, std::int64_t layer) {
  Attention attention = reader.attention(layer);
  reader.add_optional_qk_norm(attention, NormKind::kRms, layer);
  attention.rope = reader.rope(RopePairing::kHalves);
  if (reader.has_rope_sections()) reader.add_rope_sections(*attention.rope, false);
  return reader.sequential_layer(
      layer, NormKind::kRms, std::move(attention),
      reader.experts_or_dense(layer, reader.usual_experts(layer, RouterGate::kSigmoid)),
      "post_attention_norm");
}

}  // namespace

ModelSpec describe_glm4moe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(glm4moe_layer(reader, layer));
  }
  return model;
}

ModelSpec describe_glm4moe_draft(const FamilyReader& reader, std::int64_t head) {
  return reader.draft_model(head, NormKind::kRms, glm4moe_layer(reader, reader.layers() + head));
}

}  // namespace hearth::model
