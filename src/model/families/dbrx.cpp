// dbrx: DBRX: LayerNorm without bias, q, k and v clamped, softmax experts; the norm before the
// experts is called attn_output_norm (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_dbrx(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    attention.clamp_qkv = static_cast<float>(reader.required_number("attention.clamp_kqv"));
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kLayer, std::move(attention),
        reader.experts(layer, {.width = reader.feed_forward_width(layer), .normalise = true}),
        "attn_output_norm"));
  }
  return model;
}

}  // namespace hearth::model
