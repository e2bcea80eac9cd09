// granitehybrid: Granite 4: Mamba-2 and attention layers, dense or of experts with a shared one,
// with Granite's scalars (reference: hybrid-ssm.md).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Body granite_mixer(const FamilyReader& reader, std::int64_t layer) {
  if (reader.kv_heads(layer) == 0) return mamba2(reader, layer);
  Attention attention = reader.attention(layer);
  if (reader.boolean("rope.scaling.finetuned").value_or(true)) {
    attention.rope = reader.rope(RopePairing::kAdjacent);
  }
  return attention;
}

Body granite_feed_forward(const FamilyReader& reader, std::int64_t layer) {
  if (!reader.has(FamilyReader::layer_name(layer, "ffn_gate_inp.weight"))) {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  ExpertOptions options;
  options.width = reader.feed_forward_width(layer);
  options.normalise = true;
  options.shared_width = reader.shared_expert_width(layer);
  return reader.experts(layer, options);
}

}  // namespace

ModelSpec describe_granite_hybrid(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const auto scale_or_one = [&](std::string_view key) {
    const double value = reader.number_or(key, 0);
    return static_cast<float>(value == 0 ? 1 : value);
  };
  model.embedding.scale = scale_or_one("embedding_scale");
  model.head.scale = 1 / scale_or_one("logit_scale");
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Layer block = reader.sequential_layer(layer, NormKind::kRms, granite_mixer(reader, layer),
                                          granite_feed_forward(reader, layer));
    for (Sublayer& sublayer : block.sublayers) {
      sublayer.residual_scale = scale_or_one("residual_scale");
    }
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
