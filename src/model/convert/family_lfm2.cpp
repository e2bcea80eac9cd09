// lfm2: short convolutions with attention in between (reference: hybrid-ssm.md).
#include <fmt/format.h>

#include <algorithm>

#include "model/convert/decoder.h"
#include "model/convert/families.h"
#include "support/error.h"

namespace hearth::model::convert {
namespace {

std::vector<bool> lfm2_attention_layers(const Decoder& decoder) {
  const std::vector<std::string> types = decoder.config().strings("layer_types");
  const std::vector<std::int64_t> indices = decoder.config().integers("full_attn_idxs");
  if (types.empty() && indices.empty()) decoder.config().fail("layer_types", "is missing");
  if (!types.empty() && static_cast<std::int64_t>(types.size()) < decoder.layers)
    decoder.config().fail("layer_types", "has fewer entries than the model has layers");
  std::vector<bool> attends;
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    attends.push_back(types.empty()
                          ? std::find(indices.begin(), indices.end(), layer) != indices.end()
                          : types[static_cast<std::size_t>(layer)] == "full_attention");
  }
  return attends;
}

void add_convolution(const Decoder& decoder, std::int64_t layer, std::int64_t taps) {
  Conversion& conversion = decoder.conversion();
  conversion.add_matrix(
      Decoder::target(layer, "shortconv.conv.weight"),
      conversion.matrix(decoder.source(layer, "conv.conv.weight"), decoder.width, taps),
      Precision::kExact);
  decoder.add_linear(layer, "shortconv.in_proj", "conv.in_proj", decoder.width, 3 * decoder.width);
  decoder.add_linear(layer, "shortconv.out_proj", "conv.out_proj", decoder.width, decoder.width);
}

}  // namespace

void convert_lfm2(Conversion& conversion) {
  conversion.set_architecture("lfm2");
  Decoder decoder(conversion, {.context = 128000, .rope_base = 1e6, .epsilon = 1e-5}, {});
  // intermediate_size is adjusted in various ways before it becomes a width; the tensor tells.
  const std::vector<std::int64_t>& inner =
      conversion.shape(decoder.source(0, "feed_forward.w1.weight"));
  decoder.feed_forward = inner.empty() ? 0 : inner[0];
  conversion.set_size("feed_forward_length", decoder.feed_forward);
  const std::vector<bool> attends = lfm2_attention_layers(decoder);
  std::vector<std::int64_t> kv_heads;
  for (const bool attention : attends) kv_heads.push_back(attention ? decoder.kv_heads : 0);
  conversion.set_integers("attention.head_count_kv", kv_heads);
  decoder.write_rope(decoder.head_size);
  decoder.write_vocabulary_size();
  const std::int64_t taps = decoder.config().integer("conv_L_cache", 3);
  conversion.set_size("shortconv.l_cache", taps);

  decoder.add_embeddings("embedding_norm", "token_embd_norm");
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "operator_norm");
    if (attends[static_cast<std::size_t>(layer)]) {
      decoder.add_qkv(layer);
      decoder.add_linear(layer, "attn_output", "self_attn.out_proj",
                         decoder.heads * decoder.head_size, decoder.width);
      decoder.add_qk_norms(layer, "self_attn.q_layernorm", "self_attn.k_layernorm");
    } else {
      add_convolution(decoder, layer, taps);
    }
    decoder.add_norm(layer, "ffn_norm", "ffn_norm");
    decoder.add_linear(layer, "ffn_gate", "feed_forward.w1", decoder.width, decoder.feed_forward);
    decoder.add_linear(layer, "ffn_up", "feed_forward.w3", decoder.width, decoder.feed_forward);
    decoder.add_linear(layer, "ffn_down", "feed_forward.w2", decoder.feed_forward, decoder.width);
  }
}

}  // namespace hearth::model::convert
