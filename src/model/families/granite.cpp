// granite: Granite 3 dense: the standard layer with four scalars: on the embedding, on both
// residual branches, on attention scores (attention.scale) and dividing the logits (reference:
// llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_granite(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const auto scale_or_one = [&](std::string_view key) {
    const double value = reader.number_or(key, 0);
    return static_cast<float>(value == 0 ? 1 : value);
  };
  model.embedding.scale = scale_or_one("embedding_scale");
  const double logit_scale = reader.required_number("logit_scale");
  model.head.scale = static_cast<float>(logit_scale == 0 ? 1 : 1 / logit_scale);
  const bool rotates = reader.boolean("rope.scaling.finetuned").value_or(true);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if (rotates) attention.rope = reader.rope(RopePairing::kAdjacent);
    Layer block = reader.standard_layer(layer, std::move(attention));
    for (Sublayer& sublayer : block.sublayers)
      sublayer.residual_scale = scale_or_one("residual_scale");
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
