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
    attention.norm_whole = true;
    attention.q_norm = reader.norm(NormKind::kRms, FamilyReader::layer_name(layer, "attn_q_norm"),
                                   attention.heads * attention.key_size);
    attention.k_norm = reader.norm(NormKind::kRms, FamilyReader::layer_name(layer, "attn_k_norm"),
                                   attention.kv_heads * attention.key_size);
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
