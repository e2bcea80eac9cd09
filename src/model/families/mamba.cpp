// mamba: Mamba and Falcon-Mamba (which normalises dt, B and C without weights); mamba2: Mamba-2,
// Codestral Mamba. Every layer is one mixer (reference: hybrid-ssm.md).
#include "model/families/recurrent_mixers.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Layer mixer_layer(const FamilyReader& reader, std::int64_t layer, Body mixer) {
  Layer result;
  result.sublayers.push_back(
      {reader.norm(NormKind::kRms, layer, "attn_norm"), {Branch{{}, std::move(mixer), {}}}, {}});
  return result;
}

}  // namespace

ModelSpec describe_mamba(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const bool normalised = reader.boolean("ssm.dt_b_c_rms").value_or(false);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Mamba1 mixer = mamba1(reader, layer);
    if (normalised) {
      const Norm plain{NormKind::kRms, "", "", model.head.norm->epsilon};
      mixer.dt_norm = mixer.b_norm = mixer.c_norm = plain;
    }
    model.stacks[0].layers.push_back(mixer_layer(reader, layer, std::move(mixer)));
  }
  return model;
}

ModelSpec describe_mamba2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    model.stacks[0].layers.push_back(mixer_layer(reader, layer, mamba2(reader, layer)));
  }
  return model;
}

}  // namespace hearth::model
