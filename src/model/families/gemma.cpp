// gemma, gemma2, gemma3: embeddings scaled by sqrt(width), GELU-gated feed-forward; from gemma2
// sandwich norms, sliding windows and soft-caps; gemma3 adds normalised q and k and a RoPE base of
// its own for windows (reference: gemma.md).
#include <cmath>

#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

ModelSpec gemma_model(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  model.embedding.scale = std::sqrt(static_cast<float>(reader.width()));
  return model;
}

/// The 27B models scale queries by 1/sqrt(width / heads); they are recognised by their number of
/// layers.
float query_scale(const FamilyReader& reader, std::int64_t layers_of_27b) {
  const std::int64_t size =
      reader.layers() == layers_of_27b ? reader.width() / reader.heads(0) : reader.key_size();
  return 1.0F / std::sqrt(static_cast<float>(size));
}

}  // namespace

ModelSpec describe_gemma(const FamilyReader& reader) {
  ModelSpec model = gemma_model(reader);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                reader.gated_feed_forward(layer, Activation::kGelu)));
  }
  return model;
}

ModelSpec describe_gemma2(const FamilyReader& reader) {
  ModelSpec model = gemma_model(reader);
  model.head.softcap = static_cast<float>(reader.number_or("final_logit_softcapping", 30));
  const std::int64_t window = reader.window_size(4096);
  const std::int64_t period = reader.window_period(2);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    attention.scale = query_scale(reader, 46);
    attention.softcap = static_cast<float>(reader.number_or("attn_logit_softcapping", 50));
    if (window > 0 && is_windowed(layer, period)) {
      attention.window = {WindowKind::kSliding, window};
      attention.rope = reader.scaled_window_rope(RopePairing::kHalves);
    }
    model.stacks[0].layers.push_back(
        reader.sandwich_layer(layer, std::move(attention), Activation::kGelu));
  }
  return model;
}

ModelSpec describe_gemma3(const FamilyReader& reader) {
  ModelSpec model = gemma_model(reader);
  model.head.softcap = static_cast<float>(reader.number_or("final_logit_softcapping", 0));
  const std::int64_t window = reader.window_size(0);
  const std::int64_t period = reader.window_period(6);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.scale = query_scale(reader, 62);
    if (window > 0 && is_windowed(layer, period)) {
      attention.window = {WindowKind::kSliding, window};
      attention.rope = reader.window_rope(RopePairing::kHalves, 10000);
    } else {
      attention.rope = reader.rope(RopePairing::kHalves);
    }
    model.stacks[0].layers.push_back(
        reader.sandwich_layer(layer, std::move(attention), Activation::kGelu));
  }
  return model;
}

}  // namespace hearth::model
