// gemma3n: Gemma 3n E2B and E4B: four residual streams (AltUp), a learned augmented residual
// (Laurel), per-layer embeddings, sparse feed-forward in the first layers, and keys shared by the
// last ones (reference: gemma.md).
#include <cmath>

#include "model/families/gemma_parts.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

// What all models of the family have in common; their files' metadata is not consulted.
constexpr std::int64_t kStreams = 4, kLaurelRank = 64, kPerLayerWidth = 256;
constexpr std::int64_t kLayersWithKeys = 20, kSparseLayers = 10, kWindowPeriod = 5;
/// Keeps the largest 5 % of normally distributed values.
constexpr float kSparsity = 1.6448533535003662F;

Attention attention_of(const FamilyReader& reader, std::int64_t layer, std::int64_t window) {
  const bool windowed = is_windowed(layer, kWindowPeriod);
  const std::int64_t shares_with =
      layer < kLayersWithKeys ? -1 : kLayersWithKeys - (windowed ? 2 : 1);
  Attention attention =
      gemma_attention(reader, layer, {reader.key_size(), reader.value_size()}, shares_with);
  if (windowed && window > 0) attention.window = {WindowKind::kSliding, window};
  attention.rope = windowed ? reader.window_rope(RopePairing::kHalves, 10000)
                            : reader.rope(RopePairing::kHalves);
  return attention;
}

AltUp altup_of(const FamilyReader& reader, std::int64_t layer) {
  const std::int64_t width = reader.width();
  AltUp altup;
  altup.router = reader.linear(FamilyReader::layer_name(layer, "altup_router"), width, kStreams);
  altup.router_norm = reader.norm(NormKind::kRms, layer, "altup_router_norm");
  altup.predict = reader.linear(FamilyReader::layer_name(layer, "altup_predict_coef"), kStreams,
                                kStreams * kStreams);
  altup.correct =
      reader.linear(FamilyReader::layer_name(layer, "altup_correct_coef"), kStreams, kStreams);
  altup.correct_scale =
      reader.vector(FamilyReader::layer_name(layer, "altup_correct_scale.weight"), width);
  altup.laurel_left =
      reader.linear(FamilyReader::layer_name(layer, "laurel_l"), width, kLaurelRank);
  altup.laurel_right =
      reader.linear(FamilyReader::layer_name(layer, "laurel_r"), kLaurelRank, width);
  altup.laurel_norm = reader.norm(NormKind::kRms, layer, "laurel_post_norm");
  return altup;
}

}  // namespace

ModelSpec describe_gemma3n(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  model.streams = kStreams;
  model.embedding.scale = std::sqrt(static_cast<float>(reader.width()));
  model.embedding.per_layer = per_layer_embedding(reader, model.vocabulary, kPerLayerWidth);
  model.altup_streams =
      AltUpStreams{reader.stack("altup_proj", reader.width(), reader.width(), kStreams - 1),
                   reader.stack("altup_unembd_proj", reader.width(), reader.width(), kStreams - 1)};
  model.head.softcap = static_cast<float>(reader.number_or("final_logit_softcapping", 30));
  const std::int64_t window = reader.window_size();
  for (std::int64_t l = 0; l < reader.layers(); ++l) {
    Layer layer = reader.sandwich_layer(l, attention_of(reader, l, window), Activation::kGelu);
    auto& feed_forward = std::get<FeedForward>(layer.sublayers[1].branches[0].body);
    feed_forward.sparsity = l < kSparseLayers ? kSparsity : 0;
    layer.altup = altup_of(reader, l);
    layer.per_layer_input = per_layer_input(reader, l, kPerLayerWidth);
    model.stacks[0].layers.push_back(std::move(layer));
  }
  return model;
}

}  // namespace hearth::model
