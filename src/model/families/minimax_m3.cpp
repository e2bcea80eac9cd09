// minimax-m3: MiniMax M3: block-sparse attention behind the leading dense layers, clamped SwiGLU
// everywhere (reference: moe.md).
#include <algorithm>

#include "compute/backend.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

constexpr std::int64_t kMostCells = std::int64_t{1} << 20;
constexpr float kLimit = 7;

Attention::BlockSelection selection(const FamilyReader& reader, std::int64_t layer,
                                    const Attention& attention) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, "indexer." + std::string(part));
  };
  if (reader.integer_in("attention.indexer.head_count", 1, kMostCells) != attention.kv_heads) {
    throw Error("the model's indexer has another number of heads than its keys",
                "the file is damaged or of an unknown kind");
  }
  Attention::BlockSelection s;
  s.size = reader.integer_in("attention.indexer.key_length", attention.rope->angles.rotated,
                             compute::kMaxHeadSize);
  s.block = reader.integer_in("attention.indexer.block_size", 1, kMostCells);
  s.top_k = reader.integer_in("attention.indexer.top_k", 1,
                              std::min(compute::kMaxSelected, kMostCells / s.block));
  s.local = reader.integer_in("attention.indexer.local_blocks", 0, kMostCells);
  s.q = reader.linear(name("q_proj"), reader.width(), attention.kv_heads * s.size);
  s.k = reader.linear(name("k_proj"), reader.width(), s.size);
  s.q_norm = reader.norm(NormKind::kRms, name("q_norm"), s.size);
  s.k_norm = reader.norm(NormKind::kRms, name("k_norm"), s.size);
  return s;
}

}  // namespace

ModelSpec describe_minimax_m3(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::int64_t dense_layers = reader.integer_or("leading_dense_block_count", 0);
  const Gating gating{Activation::kSilu, GateForm::kOpenAi, kLimit};
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    Body feed_forward;
    if (layer < dense_layers) {
      FeedForward dense = reader.gated_feed_forward(layer, Activation::kSilu);
      dense.gating = gating;
      feed_forward = std::move(dense);
    } else {
      attention.selection = selection(reader, layer, attention);
      ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
      options.gating = gating;
      options.shared_gating = gating;
      feed_forward = reader.experts(layer, options);
    }
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), std::move(feed_forward)));
  }
  return model;
}

}  // namespace hearth::model
