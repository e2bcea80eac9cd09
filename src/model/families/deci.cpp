// deci: Llama-Nemotron (Nemotron 51B, Super 49B, Ultra 253B), found by architecture search: layers
// of different sizes, without attention, with a matrix instead of it, or without anything
// (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_deci(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const auto sublayer = [&](std::int64_t layer, std::string_view norm, Body body) {
    return Sublayer{.pre_norm = reader.norm(NormKind::kRms, layer, norm),
                    .branches = {Branch{{}, std::move(body)}}};
  };
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Layer block;
    if (reader.feed_forward_width(layer) == 0) {  // all of the layer is left out
      model.stacks[0].layers.push_back(std::move(block));
      continue;
    }
    if (reader.heads(layer) > 0 && reader.kv_heads(layer) == 0) {
      block.sublayers.push_back(
          sublayer(layer, "attn_norm",
                   Dense{reader.linear(FamilyReader::layer_name(layer, "attn_output"),
                                       reader.width(), reader.width())}));
    } else if (reader.heads(layer) > 0) {
      Attention attention = reader.attention(layer);
      attention.rope = reader.rope(RopePairing::kAdjacent);
      block.sublayers.push_back(sublayer(layer, "attn_norm", std::move(attention)));
    }
    block.sublayers.push_back(
        sublayer(layer, "ffn_norm", reader.gated_feed_forward(layer, Activation::kSilu)));
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
