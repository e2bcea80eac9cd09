// What gemma3n and gemma4 share (reference: gemma.md).
#pragma once

#include "model/families/reader.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// Sizes of a layer's heads.
struct HeadSizes {
  std::int64_t key = 0, value = 0;
};

/// Attention with normalised queries, keys and (without a weight) values, and scale 1. Without
/// attn_v the values are the keys before their norm. `shares_with` >= 0: the keys and values are
/// those of that layer. No RoPE, full window.
[[nodiscard]] spec::Attention gemma_attention(const FamilyReader& reader, std::int64_t layer,
                                              HeadSizes sizes, std::int64_t shares_with);

/// Embeddings of `width` numbers for every layer.
[[nodiscard]] spec::PerLayerEmbedding per_layer_embedding(const FamilyReader& reader,
                                                          std::int64_t vocabulary,
                                                          std::int64_t width);
[[nodiscard]] spec::PerLayerInput per_layer_input(const FamilyReader& reader, std::int64_t layer,
                                                  std::int64_t width);

}  // namespace hearth::model
