// olmo2: OLMo 2 and 3: norms only after each sublayer, q and k normalised over all heads together;
// OLMo 3 adds windows, whose layers use unscaled RoPE (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_olmo2(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::int64_t window = reader.window_size(0);
  const std::int64_t period = reader.window_period(4);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_whole_qk_norm(attention, NormKind::kRms, layer);
    if (window > 0 && is_windowed(layer, period)) {
      attention.window = {WindowKind::kSliding, window};
      attention.rope =
          reader.window_rope(RopePairing::kHalves, reader.number_or("rope.freq_base", 10000));
    } else {
      attention.rope = reader.rope(RopePairing::kHalves);
    }
    model.stacks[0].layers.push_back(reader.post_norm_layer(layer, std::move(attention)));
  }
  return model;
}

}  // namespace hearth::model
