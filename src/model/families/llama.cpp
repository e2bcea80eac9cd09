// llama: Llama 1 to 3, Mistral, SmolLM, TinyLlama, Yi and many more; mistral3: Ministral 3, newer
// Mistral Small; llama-embed: bidirectional embedders. The standard decoder layer (reference:
// llama-family.md).
#include <limits>

#include "model/families/encoders.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_llama(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const auto beta = static_cast<float>(reader.number_or("attention.temperature_scale", 0));
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    if (reader.architecture() == "mistral3" && beta != 0) {
      const std::int64_t interval =
          reader.integer_in("rope.scaling.original_context_length", 1,
                            std::numeric_limits<std::int32_t>::max(), model.context_length);
      attention.temperature = QueryTemperature{beta, 0, interval};
    }
    model.stacks[0].layers.push_back(reader.standard_layer(layer, std::move(attention)));
  }
  if (reader.architecture() == "llama-embed" &&
      !reader.boolean("attention.causal").value_or(false)) {
    make_bidirectional(model);
    model.head.linear = {};
    model.logits = 0;
  }
  return model;
}

}  // namespace hearth::model
