// hy_v3: Hunyuan 3: q and k normalised per head, sigmoid experts with a selection bias whose tensor
// has no suffix (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Layer hy_v3_layer(const FamilyReader& reader, std::int64_t layer) {
  Attention attention = reader.attention(layer);
  reader.add_qk_norm(attention, NormKind::kRms, layer);
  attention.rope = reader.rope(RopePairing::kHalves);
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
  options.selection_bias = "exp_probs_b";
  return reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                 reader.experts_or_dense(layer, options));
}

}  // namespace

ModelSpec describe_hy_v3(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(hy_v3_layer(reader, layer));
  }
  return model;
}

ModelSpec describe_hy_v3_draft(const FamilyReader& reader, std::int64_t head) {
  return reader.draft_model(head, NormKind::kRms, hy_v3_layer(reader, reader.layers() + head));
}

}  // namespace hearth::model
