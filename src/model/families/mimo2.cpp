// mimo2: MiMo-V2-Flash: keys and values of different sizes, windowed layers with more key heads, a
// RoPE base of their own and attention sinks, partial RoPE, sigmoid experts (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Layer mimo2_layer(const FamilyReader& reader, std::int64_t layer) {
  const bool windowed =
      reader.windowed_layers(std::nullopt, false)[static_cast<std::size_t>(layer)];
  Attention attention = reader.attention(layer);
  const std::string sinks = FamilyReader::layer_name(layer, "attn_sinks.weight");
  if (reader.has(sinks)) attention.sinks = reader.vector(sinks, attention.heads);
  const double value_scale = reader.number_or("attention.value_scale", 0);
  if (value_scale != 0) attention.output_scale = static_cast<float>(value_scale);
  const std::int64_t window = reader.window_size();
  if (windowed && window > 0) {
    attention.window = {WindowKind::kSliding, window};
    attention.rope = reader.window_rope(RopePairing::kHalves, 10000);
  } else {
    attention.rope = reader.rope(RopePairing::kHalves);
  }
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
  options.gate_from_file = false;
  options.normalise = true;
  return reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                 reader.experts_or_dense(layer, options));
}

}  // namespace

ModelSpec describe_mimo2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  model.head.hidden = HiddenKind::kStreams;  // what its draft heads read
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(mimo2_layer(reader, layer));
  }
  return model;
}

ModelSpec describe_mimo2_draft(const FamilyReader& reader, std::int64_t head) {
  ModelSpec model =
      reader.draft_model(head, NormKind::kRms, mimo2_layer(reader, reader.layers() + head));
  model.head.hidden = HiddenKind::kStreams;
  return model;
}

}  // namespace hearth::model
