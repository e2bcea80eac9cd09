// gemma4: Gemma 4 in all sizes: heads of two sizes, values normalised without a weight or taken
// from the keys, keys shared by the last layers, per-layer embeddings, and layers with experts
// beside the feed-forward (reference: gemma.md).
#include <cmath>

#include "compute/backend.h"
#include "model/families/gemma_parts.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// The metadata of the whole model that its layers need.
struct Gemma4 {
  const FamilyReader& reader;
  std::vector<std::int64_t> windowed;  // by layer, 1: yes
  std::int64_t window = 0;
  std::int64_t layers_with_keys = 0;
  HeadSizes window_sizes;
  std::int64_t window_rotated = 0;

  explicit Gemma4(const FamilyReader& file) : reader(file) {
    windowed = reader.integers("attention.sliding_window_pattern");
    if (static_cast<std::int64_t>(windowed.size()) < reader.layers()) {
      throw Error("the model does not say which of its layers have a sliding window",
                  "the file is damaged or of an unknown kind");
    }
    window = reader.window_size();
    layers_with_keys =
        reader.layers() - reader.integer_in("attention.shared_kv_layers", 0, reader.layers(), 0);
    constexpr std::int64_t kMost = compute::kMaxHeadSize;
    window_sizes = {reader.integer_in("attention.key_length_swa", 1, kMost, reader.key_size()),
                    reader.integer_in("attention.value_length_swa", 1, kMost, reader.value_size())};
    window_rotated =
        reader.integer_in("rope.dimension_count_swa", 2, window_sizes.key, window_sizes.key);
    if (window_rotated % 2 != 0) {
      throw Error("the model rotates " + std::to_string(window_rotated) +
                      " dimensions of its heads, which is odd",
                  "the file is damaged or of an unknown kind");
    }
  }

  [[nodiscard]] bool is_windowed(std::int64_t layer) const {
    return windowed[static_cast<std::size_t>(layer)] != 0;
  }
  /// The layer whose keys a layer reads: the last of its kind that has any; -1: its own.
  [[nodiscard]] std::int64_t shares_with(std::int64_t layer) const {
    if (layer < layers_with_keys) return -1;
    for (std::int64_t other = layers_with_keys - 1; other >= 0; --other) {
      if (is_windowed(other) == is_windowed(layer)) return other;
    }
    throw Error(
        "layer " + std::to_string(layer) + " of the model shares keys, and no layer has any",
        "the file is damaged or of an unknown kind");
  }
};

Attention attention_of(const Gemma4& model, std::int64_t layer) {
  const FamilyReader& reader = model.reader;
  const std::int64_t shares_with = model.shares_with(layer);
  if (!model.is_windowed(layer)) {
    Attention attention =
        gemma_attention(reader, layer, {reader.key_size(), reader.value_size()}, shares_with);
    attention.rope = reader.rope(RopePairing::kHalves);
    return attention;
  }
  Attention attention = gemma_attention(reader, layer, model.window_sizes, shares_with);
  if (model.window > 0) attention.window = {WindowKind::kSliding, model.window};
  attention.rope = reader.window_rope(RopePairing::kHalves, 10000);
  attention.rope->angles.rotated = static_cast<std::int32_t>(model.window_rotated);
  return attention;
}

MixtureOfExperts gemma4_experts(const FamilyReader& reader, std::int64_t layer) {
  constexpr std::int64_t kWidest = 1 << 30;
  const std::int64_t width = reader.width();
  MixtureOfExperts moe;
  moe.experts = reader.integer_in("expert_count", 1, compute::kMaxExperts);
  moe.used = reader.integer_in("expert_used_count", 1, moe.experts);
  moe.width = reader.integer_in("expert_feed_forward_length", 1, kWidest);
  moe.gating.activation = Activation::kGelu;
  moe.routing.normalise = true;
  // The router reads the stream, not what the experts read; its ".scale" is the weight of its own
  // norm, so that it is not a scale of the matrix.
  const std::string router = FamilyReader::layer_name(layer, "ffn_gate_inp");
  moe.router = Linear{.weight = reader.vector(router + ".weight", width, moe.experts),
                      .in = width,
                      .out = moe.experts};
  moe.router_input = RouterInput::kSublayer;
  moe.router_norm = reader.norm(NormKind::kRms, layer, "pre_ffw_norm_2");  // for its epsilon
  moe.router_norm->weight = reader.vector(router + ".scale", width);
  moe.router_norm->bias.clear();
  moe.router_scale = 1.0F / std::sqrt(static_cast<float>(width));
  if (reader.has(FamilyReader::layer_name(layer, "ffn_gate_up_exps.weight"))) {
    moe.gate_up = reader.stack(FamilyReader::layer_name(layer, "ffn_gate_up_exps"), width,
                               2 * moe.width, moe.experts);
  } else {
    moe.gate = reader.stack(FamilyReader::layer_name(layer, "ffn_gate_exps"), width, moe.width,
                            moe.experts);
    moe.up =
        reader.stack(FamilyReader::layer_name(layer, "ffn_up_exps"), width, moe.width, moe.experts);
  }
  moe.down =
      reader.stack(FamilyReader::layer_name(layer, "ffn_down_exps"), moe.width, width, moe.experts);
  return moe;
}

/// stream += post_ffw_norm(post_ffw_norm_1(F(ffn_norm(x))) +
/// post_ffw_norm_2(E(pre_ffw_norm_2(x)))).
void add_experts(const FamilyReader& reader, std::int64_t layer, Sublayer& feed_forward) {
  const auto norm = [&](std::string_view tensor) {
    return reader.norm(NormKind::kRms, layer, tensor);
  };
  Branch& dense = feed_forward.branches.front();
  dense.pre_norm = std::move(feed_forward.pre_norm);
  feed_forward.pre_norm.reset();
  dense.post_norm = norm("post_ffw_norm_1");
  feed_forward.branches.push_back(
      {norm("pre_ffw_norm_2"), gemma4_experts(reader, layer), norm("post_ffw_norm_2")});
}

}  // namespace

ModelSpec describe_gemma4(const FamilyReader& reader) {
  constexpr std::int64_t kWidestInput = 1 << 20;
  ModelSpec model = reader.model(NormKind::kRms);
  model.embedding.scale = std::sqrt(static_cast<float>(reader.width()));
  model.head.softcap = static_cast<float>(reader.number_or("final_logit_softcapping", 0));
  const std::int64_t input_width =
      reader.integer_in("embedding_length_per_layer_input", 0, kWidestInput, 0);
  if (input_width > 0) {
    model.embedding.per_layer = per_layer_embedding(reader, model.vocabulary, input_width);
  }
  const Gemma4 gemma(reader);
  for (std::int64_t l = 0; l < reader.layers(); ++l) {
    Layer layer = reader.sandwich_layer(l, attention_of(gemma, l), Activation::kGelu);
    if (reader.has(FamilyReader::layer_name(l, "ffn_gate_inp.weight")))
      add_experts(reader, l, layer.sublayers[1]);
    if (input_width > 0) layer.per_layer_input = per_layer_input(reader, l, input_width);
    if (reader.has(FamilyReader::layer_name(l, "layer_output_scale.weight"))) {
      layer.output_scale =
          reader.vector(FamilyReader::layer_name(l, "layer_output_scale.weight"), 1);
    }
    model.stacks[0].layers.push_back(std::move(layer));
  }
  return model;
}

}  // namespace hearth::model
