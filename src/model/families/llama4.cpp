// llama4: Llama 4 Scout and Maverick: three of four layers see chunks of 8192 rows and have RoPE
// followed by a weightless norm of q and k; every fourth sees everything, without RoPE, its queries
// scaled by their position; one expert per row, weighted at its input (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

constexpr std::int64_t kChunk = 8192;
constexpr std::int64_t kPeriod = 4;
constexpr std::int64_t kExpertsOfMaverick = 128;  // which does not normalise q and k

}  // namespace

ModelSpec describe_llama4(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const bool chunked = reader.window_size(kChunk) != 0;
  const std::int64_t period = reader.window_period(kPeriod);
  const bool normalises = reader.integer_or("expert_count", 0) != kExpertsOfMaverick;
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if (chunked && is_windowed(layer, period)) attention.window = {WindowKind::kChunked, kChunk};
    if (!chunked || (layer + 1) % kPeriod != 0) {
      attention.rope = reader.scaled_window_rope(RopePairing::kAdjacent);
      if (normalises) {
        attention.q_norm = attention.k_norm = reader.bare_norm(NormKind::kRms);
        attention.norm_after_rope = true;
      }
    } else {
      attention.temperature = QueryTemperature{0.1F, 1, kChunk};
    }
    const std::int64_t width = reader.expert_width(layer);
    Body feed_forward = reader.experts_or_dense(
        layer,
        {.width = width, .gate = RouterGate::kSigmoid, .normalise = false, .shared_width = width});
    if (auto* experts = std::get_if<MixtureOfExperts>(&feed_forward)) {
      experts->weight_on_input = true;
    }
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), std::move(feed_forward)));
  }
  return model;
}

}  // namespace hearth::model
