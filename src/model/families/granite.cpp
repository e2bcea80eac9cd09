// granite: Granite 3 dense and vision; granitemoe: Granite MoE; minicpm: MiniCPM 1, 2 and 4: the
// standard layer with four scalars: on the embedding, on both residual branches, on attention
// scores (attention.scale) and dividing the logits (reference: llama-family.md).
#include <algorithm>
#include <cmath>

#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

struct Scales {
  double embedding = 0, residual = 0, logits = 0;  // 0: off
};

Scales scales(const FamilyReader& reader) {
  if (reader.architecture() != "minicpm") {
    return {reader.number_or("embedding_scale", 0), reader.number_or("residual_scale", 0),
            reader.required_number("logit_scale")};
  }
  // Files made before these keys hold models of one shape.
  return {reader.number_or("embedding_scale", 12),
          reader.number_or("residual_scale", 1.4 / std::sqrt(reader.layers())),
          reader.number_or("logit_scale", static_cast<double>(reader.width()) / 256)};
}

float or_one(double scale) { return static_cast<float>(scale == 0 ? 1 : scale); }

/// Vision: slice j of an image's rows is added before the layer of the value j.
void add_deepstack(const FamilyReader& reader, ModelSpec& model) {
  const std::vector<std::int64_t> mapping = reader.integers("deepstack_mapping");
  constexpr std::int64_t kMostSlices = 64;
  for (std::size_t layer = 1; layer < std::min(mapping.size(), model.stacks[0].layers.size());
       ++layer) {
    if (mapping[layer] < 0) continue;
    if (mapping[layer] >= kMostSlices) {
      throw Error("the model's metadata key 'granite.deepstack_mapping' is out of range",
                  "the file is damaged or of an unknown kind");
    }
    model.stacks[0].layers[layer - 1].add_input_slice = static_cast<std::int32_t>(mapping[layer]);
    model.embedding.input_slices = std::max(model.embedding.input_slices, mapping[layer] + 1);
  }
}

}  // namespace

ModelSpec describe_granite(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const Scales scale = scales(reader);
  model.embedding.scale = or_one(scale.embedding);
  model.head.scale = 1 / or_one(scale.logits);
  const bool rotates =
      reader.architecture() == "minicpm" || reader.boolean("rope.scaling.finetuned").value_or(true);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    if (rotates) attention.rope = reader.rope(RopePairing::kAdjacent);
    const ExpertOptions options{.width = reader.feed_forward_width(layer),
                                .normalise = true,
                                .shared_width = reader.shared_expert_width(layer)};
    Layer block = reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                          reader.experts_or_dense(layer, options));
    for (Sublayer& sublayer : block.sublayers) sublayer.residual_scale = or_one(scale.residual);
    model.stacks[0].layers.push_back(std::move(block));
  }
  add_deepstack(reader, model);
  return model;
}

}  // namespace hearth::model
