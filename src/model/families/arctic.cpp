// arctic: Snowflake Arctic: a dense feed-forward and experts side by side, of which the experts
// read the layer's input (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_arctic(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    Layer block;
    block.sublayers.push_back(
        {reader.norm(NormKind::kRms, layer, "attn_norm"), {Branch{{}, std::move(attention)}}});
    Sublayer feed_forward;
    feed_forward.branches.push_back(
        {reader.norm(NormKind::kRms, layer, "ffn_norm"),
         reader.gated_feed_forward(layer, Activation::kSilu, reader.width())});
    feed_forward.branches.push_back(
        {reader.norm(NormKind::kRms, layer, "ffn_norm_exps"),
         reader.experts(layer, {.width = reader.feed_forward_width(layer), .normalise = true}),
         {},
         true});
    block.sublayers.push_back(std::move(feed_forward));
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
