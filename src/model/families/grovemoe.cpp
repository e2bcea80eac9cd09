// grovemoe: GroveMoE: Qwen3-MoE with "adjugate" experts, each shared by a group of experts
// (reference: moe.md).
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

MixtureOfExperts::Chunks chunks(const FamilyReader& reader, std::int64_t layer,
                                std::int64_t experts) {
  MixtureOfExperts::Chunks result;
  result.per_chunk = reader.integer_in("experts_per_group", 1, experts);
  if (experts % result.per_chunk != 0) {
    throw Error(
        "the model's metadata key 'grovemoe.experts_per_group' does not divide the number "
        "of experts",
        "the file is damaged or of an unknown kind");
  }
  result.width = reader.integer_in("expert_chunk_feed_forward_length", 1, 1 << 30);
  result.scale = static_cast<float>(reader.required_number("expert_group_scale"));
  const auto stack = [&](std::string_view name, std::int64_t in, std::int64_t out) {
    return reader.stack(FamilyReader::layer_name(layer, name), in, out, experts / result.per_chunk);
  };
  result.gate = stack("ffn_gate_chexps", reader.width(), result.width);
  result.up = stack("ffn_up_chexps", reader.width(), result.width);
  result.down = stack("ffn_down_chexps", result.width, reader.width());
  return result;
}

}  // namespace

ModelSpec describe_grovemoe(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    MixtureOfExperts experts =
        reader.experts(layer, {.width = reader.expert_width(layer), .normalise = true});
    experts.chunks = chunks(reader, layer, experts.experts);
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kRms, std::move(attention), std::move(experts)));
  }
  return model;
}

}  // namespace hearth::model
