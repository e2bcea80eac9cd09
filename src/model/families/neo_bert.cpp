// neo-bert, eurobert: encoders made of the standard decoder layer without the causal mask
// (reference: embedding.md).
#include "model/families/encoders.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

ModelSpec bidirectional_llama(const FamilyReader& reader, RopePairing pairing,
                              const std::string& final_norm) {
  ModelSpec model = encoder_model(reader);
  model.head.norm = reader.norm(NormKind::kRms, final_norm, reader.width());
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = encoder_attention(reader, layer);
    attention.rope = reader.rope(pairing);
    model.stacks[0].layers.push_back(reader.standard_layer(layer, std::move(attention)));
  }
  return model;
}

}  // namespace

ModelSpec describe_neo_bert(const FamilyReader& reader) {
  return bidirectional_llama(reader, RopePairing::kAdjacent, "enc.output_norm");
}

ModelSpec describe_eurobert(const FamilyReader& reader) {
  return bidirectional_llama(reader, RopePairing::kHalves, "output_norm");
}

}  // namespace hearth::model
