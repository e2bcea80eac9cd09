// bitnet: BitNet b1.58 3B and 2B-4T style models: ternary weights with a scale each, and norms
// before the output projections of attention and feed-forward (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_bitnet(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    attention.output_norm =
        reader.norm(NormKind::kRms, FamilyReader::layer_name(layer, "attn_sub_norm"),
                    attention.heads * attention.value_size);
    FeedForward feed_forward = reader.gated_feed_forward(layer, Activation::kSilu);
    feed_forward.hidden_norm = reader.norm(
        NormKind::kRms, FamilyReader::layer_name(layer, "ffn_sub_norm"), feed_forward.width);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), std::move(feed_forward)));
  }
  return model;
}

}  // namespace hearth::model
