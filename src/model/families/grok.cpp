// grok: Grok-1, Grok-2: soft-capped attention scores, sandwich norms, GELU-gated experts; Grok-2
// adds a dense feed-forward beside them; scalars on the embedding and the logits (reference:
// moe.md).
#include <cmath>

#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_grok(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  model.embedding.scale =
      static_cast<float>(reader.number_or("embedding_scale", 78.38367176906169));
  model.head.scale = static_cast<float>(reader.number_or("logit_scale", 0.5773502691896257));
  model.head.softcap = static_cast<float>(reader.number_or("final_logit_softcapping", 0));
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    attention.scale =
        static_cast<float>(reader.number_or("attention.output_scale", 0.08838834764831845));
    attention.softcap = static_cast<float>(reader.number_or("attn_logit_softcapping", 30));
    const std::int64_t width = reader.integer_in("expert_feed_forward_length", 0, 1 << 30,
                                                 reader.feed_forward_width(layer));
    Layer block = reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts(layer, {.width = width, .gating = {Activation::kGelu}, .normalise = true}));
    block.sublayers[0].post_norm = reader.norm(NormKind::kRms, layer, "attn_output_norm");
    const bool renamed =
        reader.has(FamilyReader::layer_name(layer, "layer_output_norm.weight"));  // Grok-1
    block.sublayers[1].post_norm =
        reader.norm(NormKind::kRms, layer, renamed ? "layer_output_norm" : "post_ffw_norm");
    if (reader.has(FamilyReader::layer_name(layer, "ffn_up.weight"))) {
      block.sublayers[1].branches.push_back(
          Branch{{}, reader.gated_feed_forward(layer, Activation::kGelu)});
      block.sublayers[1].sum_scale = std::sqrt(0.5F);
    }
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
