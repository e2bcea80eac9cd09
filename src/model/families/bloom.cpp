// ALiBi instead of positions, LayerNorm, fused q/k/v (reference: classic.md). bloom: BLOOM, which
// normalises the embedding; mpt: MPT, which clamps q, k and v (or has learned positions, or
// normalises q and k); jais: Jais, with a gated feed-forward and scores divided by the head size.
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

ModelSpec describe_bloom(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  model.embedding.norm = reader.norm(NormKind::kLayer, "token_embd_norm", reader.width());
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.max_alibi_bias = 8;
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kLayer, std::move(attention),
                                reader.plain_feed_forward(layer, Activation::kGelu)));
  }
  return model;
}

ModelSpec describe_mpt(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  if (reader.has("position_embd.weight")) reader.add_positions(model);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    if (reader.has(FamilyReader::layer_name(layer, "ffn.act.scales"))) {
      throw Error(
          "this MPT model was quantized with activation scales (AWQ), which are unsupported",
          "use a GGUF file of the same model in another quantization");
    }
    Attention attention = reader.attention(layer);
    attention.max_alibi_bias = static_cast<float>(reader.number_or("attention.max_alibi_bias", 0));
    attention.clamp_qkv = static_cast<float>(reader.number_or("attention.clamp_kqv", 0));
    if (reader.has(FamilyReader::layer_name(layer, "attn_q_norm.weight"))) {
      reader.add_whole_qk_norm(attention, NormKind::kLayer, layer);
    }
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kLayer, std::move(attention),
                                reader.plain_feed_forward(layer, Activation::kGelu)));
  }
  return model;
}

ModelSpec describe_jais(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kLayer);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    attention.max_alibi_bias = static_cast<float>(reader.number_or("attention.max_alibi_bias", 8));
    // Maximal update parametrisation (Sengupta et al. 2023, arXiv:2308.16149).
    attention.scale = 1.0F / static_cast<float>(attention.key_size);
    model.stacks[0].layers.push_back(
        reader.sequential_layer(layer, NormKind::kLayer, std::move(attention),
                                reader.gated_feed_forward(layer, Activation::kSilu)));
  }
  return model;
}

}  // namespace hearth::model
