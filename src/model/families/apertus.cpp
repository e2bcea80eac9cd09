// apertus: Apertus 8B and 70B: q and k normalised per head, a plain feed-forward with the trained
// activation xIELU, whose parameters are metadata (reference: llama-family.md).
#include <cmath>
#include <string>

#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// The key `name`, without the architecture in front of it: one number, or one per layer.
double parameter(const FamilyReader& reader, const std::string& name, std::int64_t layer) {
  const auto values = reader.file().metadata().get_floats(name);
  const auto index = static_cast<std::size_t>(layer);
  if (!values || values->empty() || (values->size() > 1 && index >= values->size())) {
    throw Error("the model's metadata key '" + name + "' is missing or too short",
                "the file is damaged or of an unknown kind");
  }
  const double value = values->size() == 1 ? (*values)[0] : (*values)[index];
  if (!std::isfinite(value)) {
    throw Error("the model's metadata key '" + name + "' is not finite",
                "the file is damaged or of an unknown kind");
  }
  return value;
}

double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

Xielu xielu(const FamilyReader& reader, std::int64_t layer) {
  const double beta = parameter(reader, "xielu.beta", layer);
  return {
      .positive = static_cast<float>(softplus(parameter(reader, "xielu.alpha_p", layer))),
      .negative = static_cast<float>(beta + softplus(parameter(reader, "xielu.alpha_n", layer))),
      .beta = static_cast<float>(beta),
      .epsilon = static_cast<float>(parameter(reader, "xielu.eps", layer))};
}

}  // namespace

ModelSpec describe_apertus(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.rope = reader.rope(RopePairing::kHalves);
    FeedForward feed_forward = reader.plain_feed_forward(layer, Activation::kSilu);
    feed_forward.xielu = xielu(reader, layer);
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention), std::move(feed_forward)));
  }
  return model;
}

}  // namespace hearth::model
