// jamba: Mamba-1 layers with normalised dt, B and C, and attention layers without RoPE; experts
// where the file has a router (reference: hybrid-ssm.md).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Body jamba_mixer(const FamilyReader& reader, std::int64_t layer) {
  if (reader.kv_heads(layer) > 0) return reader.attention(layer);
  Mamba1 m = mamba1(reader, layer);
  const auto norm = [&](std::string_view name, std::int64_t size) {
    return reader.norm(NormKind::kRms, FamilyReader::layer_name(layer, name), size);
  };
  m.dt_norm = norm("ssm_dt_norm", m.dt_rank);
  m.b_norm = norm("ssm_b_norm", m.state);
  m.c_norm = norm("ssm_c_norm", m.state);
  return m;
}

Body jamba_feed_forward(const FamilyReader& reader, std::int64_t layer) {
  if (!reader.has(FamilyReader::layer_name(layer, "ffn_gate_inp.weight"))) {
    return reader.gated_feed_forward(layer, Activation::kSilu);
  }
  ExpertOptions options;
  options.width = reader.feed_forward_width(layer);
  options.normalise = false;
  return reader.experts(layer, options);
}

}  // namespace

ModelSpec describe_jamba(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, jamba_mixer(reader, layer), jamba_feed_forward(reader, layer)));
  }
  return model;
}

}  // namespace hearth::model
