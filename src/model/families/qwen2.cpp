// The standard decoder layer with RoPE on half-split pairs (reference: qwen.md, classic.md,
// llama-family.md). qwen: Qwen 1 (its feed_forward_length counts gate and up); qwen2: Qwen2,
// Qwen2.5, QwQ, R1-Distill-Qwen; qwen2vl: Qwen2-VL, Qwen2.5-VL (multi-axis RoPE); phi3: Phi-3, 3.5,
// 4 (fused q/k/v and gate/up, long-context RoPE factors, which the reader finds by their names; the
// sliding_window key is ignored); phimoe: Phi-3.5-MoE; exaone: EXAONE 3; pangu-embedded: openPangu;
// seed_oss: Seed-OSS (the second norm has another name).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_qwen2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::string_view ffn_norm =
      reader.architecture() == "seed_oss" ? "post_attention_norm" : "ffn_norm";
  const std::int64_t halves = reader.architecture() == "qwen" ? 2 : 1;
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    if (reader.architecture() == "qwen2vl") reader.add_rope_sections(*attention.rope, false);
    const std::int64_t width = reader.feed_forward_width(layer) / halves;
    Body feed_forward = reader.architecture() == "phimoe"
                            ? Body(reader.experts(layer, {.width = width, .normalise = true}))
                            : Body(reader.gated_feed_forward(layer, Activation::kSilu, width));
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), std::move(feed_forward), ffn_norm));
  }
  return model;
}

}  // namespace hearth::model
