// exaone4: EXAONE 4.0: norms only after each sublayer, q and k normalised per head; the 64-layer
// model has windows, with RoPE in the windowed layers only (reference: llama-family.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_exaone4(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const bool has_windows = reader.layers() == 64;
  const std::int64_t window = reader.window_size(4096);
  const std::int64_t period = reader.window_period(4);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    if (!has_windows) {
      attention.rope = reader.rope(RopePairing::kHalves);
    } else if (is_windowed(layer, period)) {
      attention.rope = reader.scaled_window_rope(RopePairing::kHalves);
      if (window > 0) attention.window = {WindowKind::kSliding, window};
    }
    model.stacks[0].layers.push_back(reader.post_norm_layer(layer, std::move(attention)));
  }
  return model;
}

}  // namespace hearth::model
