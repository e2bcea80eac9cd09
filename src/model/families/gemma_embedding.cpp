// gemma-embedding: EmbeddingGemma: the layers of gemma3 without the causal mask, windows on both
// sides, dense modules after pooling (reference: gemma.md).
#include <cmath>

#include "model/families/encoders.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_gemma_embedding(const FamilyReader& reader) {
  ModelSpec model = encoder_model(reader);
  model.embedding.scale = std::sqrt(static_cast<float>(reader.width()));
  model.head.norm = reader.norm(NormKind::kRms, "output_norm", reader.width());
  const std::int64_t window = reader.window_size();
  const std::int64_t period = reader.window_period(6);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    const bool windowed = window > 0 && is_windowed(layer, period);
    Attention attention = encoder_attention(reader, layer, windowed ? window : 0);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = windowed ? reader.window_rope(RopePairing::kHalves, 10000)
                              : reader.rope(RopePairing::kHalves);
    model.stacks[0].layers.push_back(
        reader.sandwich_layer(layer, std::move(attention), Activation::kGelu));
  }
  return model;
}

}  // namespace hearth::model
