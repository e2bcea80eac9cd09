// minicpm3: MiniCPM 3, and plm: PLM: latent attention with unsplit up-projections around a dense
// feed-forward (reference: deepseek.md).
#include <cmath>

#include "model/families/latent.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_minicpm3(const FamilyReader& reader) {
  // The scalars are part of the architecture: no key gives them.
  constexpr float kEmbeddingScale = 12;
  constexpr float kDepthScale = 1.4F;
  constexpr float kHeadWidth = 256;
  ModelSpec model = reader.model(NormKind::kRms);
  model.embedding.scale = kEmbeddingScale;
  model.head.scale = kHeadWidth / static_cast<float>(reader.width());
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    LatentAttention attention = latent_attention(reader, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    Layer block = reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                          reader.gated_feed_forward(layer, Activation::kSilu));
    for (Sublayer& sublayer : block.sublayers) {
      sublayer.residual_scale = kDepthScale / std::sqrt(static_cast<float>(reader.layers()));
    }
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

ModelSpec describe_plm(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    LatentAttention attention = latent_attention(reader, layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                reader.plain_feed_forward(layer, Activation::kReluSquared)));
  }
  return model;
}

}  // namespace hearth::model
