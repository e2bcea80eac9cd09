// gptneox: Pythia, GPT-NeoX-20B, Dolly 2, RedPajama: LayerNorm, partial RoPE, attention and GELU
// feed-forward side by side with a norm each, or one after the other (reference: classic.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_gptneox(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  const bool parallel = reader.boolean("use_parallel_residual").value_or(true);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    FeedForward feed_forward = reader.plain_feed_forward(layer, Activation::kGelu);
    if (!parallel) {
      model.stacks[0].layers.push_back(reader.sequential_layer(
          layer, NormKind::kLayer, std::move(attention), std::move(feed_forward)));
      continue;
    }
    Sublayer sublayer;
    sublayer.branches.push_back(
        {reader.norm(NormKind::kLayer, layer, "attn_norm"), std::move(attention)});
    sublayer.branches.push_back(
        {reader.norm(NormKind::kLayer, layer, "ffn_norm"), std::move(feed_forward)});
    model.stacks[0].layers.push_back({{std::move(sublayer)}});
  }
  return model;
}

}  // namespace hearth::model
