// hunyuan-dense: Hunyuan 0.5B to 7B; hunyuan_vl: HunyuanOCR, HunyuanVL (multi-axis RoPE);
// hunyuan-moe: Hunyuan-A13B; maincoder: Maincoder: q and k normalised per head after RoPE
// (reference: llama-family.md).
#include <cmath>

#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Rope hunyuan_rope(const FamilyReader& reader) {
  if (reader.architecture() == "maincoder") return reader.rope(RopePairing::kAdjacent);
  Rope rope = reader.rope(RopePairing::kHalves);
  const double alpha = reader.number_or("rope.scaling.alpha", 0);
  const auto size = static_cast<double>(reader.key_size());
  if (alpha > 0 && size > 2) rope.angles.base *= std::pow(alpha, size / (size - 2));
  if (reader.architecture() == "hunyuan_vl" && reader.has_rope_sections()) {
    reader.add_rope_sections(rope, false);
  }
  return rope;
}

Body feed_forward(const FamilyReader& reader, std::int64_t layer) {
  if (reader.architecture() != "hunyuan-moe") {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  const std::int64_t shared = reader.integer_in("expert_shared_feed_forward_length", 0, 1 << 30,
                                                reader.feed_forward_width(layer));
  return reader.experts(
      layer,
      {.width = reader.feed_forward_width(layer), .normalise = true, .shared_width = shared});
}

}  // namespace

ModelSpec describe_hunyuan(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.norm_after_rope = true;
    attention.rope = hunyuan_rope(reader);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), feed_forward(reader, layer)));
  }
  return model;
}

}  // namespace hearth::model
