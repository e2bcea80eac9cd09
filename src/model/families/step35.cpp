// step35: Step-3.5-Flash: per-layer head counts, windows, a sigmoid gate per head on the output of
// attention, RoPE of half as many dimensions in full layers, SwiGLU clamped in some layers
// (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

/// Full layers rotate half of the dimensions, by the first of the frequency factors.
Rope full_rope(const FamilyReader& reader) {
  Rope rope = reader.rope(RopePairing::kHalves);
  rope.angles.rotated /= 2;
  rope.angles.rotated -= rope.angles.rotated % 2;
  return rope;
}

Gating gating(const FamilyReader& reader, std::string_view key, std::int64_t layer) {
  const double limit = reader.layer_number(key, layer, 0);
  if (!(limit > 1e-6)) return {};
  return {Activation::kSilu, GateForm::kClampGate, static_cast<float>(limit)};
}

Layer step35_layer(const FamilyReader& reader, std::int64_t layer) {
  const bool windowed =
      reader.windowed_layers(std::nullopt, false)[static_cast<std::size_t>(layer)];
  Attention attention = reader.attention(layer);
  reader.add_optional_qk_norm(attention, NormKind::kRms, layer);
  const std::int64_t window = reader.window_size();
  if (windowed && window > 0) {
    attention.window = {WindowKind::kSliding, window};
    attention.rope = reader.window_rope(RopePairing::kHalves, 10000);
  } else {
    attention.rope = full_rope(reader);
  }
  const std::string gate = FamilyReader::layer_name(layer, "attn_gate");
  if (reader.has(gate + ".weight")) {
    attention.gate = OutputGate{.linear = reader.linear(gate, reader.width(), attention.heads),
                                .per_head = true};
  }
  ExpertOptions options = reader.usual_experts(layer, RouterGate::kSigmoid);
  options.gating = gating(reader, "swiglu_clamp_exp", layer);
  options.shared_gating = gating(reader, "swiglu_clamp_shexp", layer);
  return reader.sequential_layer(layer, NormKind::kRms, std::move(attention),
                                 reader.experts_or_dense(layer, options));
}

}  // namespace

ModelSpec describe_step35(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  model.head.hidden = HiddenKind::kStreams;  // what its draft heads read
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(step35_layer(reader, layer));
  }
  return model;
}

ModelSpec describe_step35_draft(const FamilyReader& reader, std::int64_t head) {
  ModelSpec model =
      reader.draft_model(head, NormKind::kRms, step35_layer(reader, reader.layers() + head));
  model.head.hidden = HiddenKind::kStreams;
  return model;
}

}  // namespace hearth::model
