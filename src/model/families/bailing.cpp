// bailingmoe: Ling 1 (RoPE on adjacent pairs, softmax experts); bailingmoe2: Ling 2, Ring 2 (q and
// k normalised per head, half of each head rotated, groups of sigmoid experts); dots1: dots.llm1.
// All have a shared expert (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Layer bailing_layer(const FamilyReader& reader, std::int64_t layer) {
  const bool first = reader.architecture() == "bailingmoe";
  Attention attention = reader.attention(layer);
  if (!first) reader.add_qk_norm(attention, NormKind::kRms, layer);
  attention.rope = reader.rope(first ? RopePairing::kAdjacent : RopePairing::kHalves);
  ExpertOptions options =
      reader.usual_experts(layer, first ? RouterGate::kSoftmax : RouterGate::kSigmoid);
  options.gate_from_file = !first;
  return reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                 reader.experts_or_dense(layer, options));
}

}  // namespace

ModelSpec describe_bailing(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(bailing_layer(reader, layer));
  }
  return model;
}

ModelSpec describe_bailing_draft(const FamilyReader& reader, std::int64_t head) {
  return reader.draft_model(head, NormKind::kRms, bailing_layer(reader, reader.layers() + head));
}

}  // namespace hearth::model
