#include "model/families/gemma_parts.h"

#include <cmath>

#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

Norm head_norm(const FamilyReader& reader, std::int64_t layer, std::string_view tensor,
               std::int64_t size) {
  return reader.norm(NormKind::kRms, FamilyReader::layer_name(layer, tensor), size);
}

}  // namespace

Attention gemma_attention(const FamilyReader& reader, std::int64_t layer, HeadSizes sizes,
                          std::int64_t shares_with) {
  Attention attention;
  attention.heads = reader.heads(layer);
  attention.kv_heads = reader.kv_heads(layer);
  attention.key_size = sizes.key;
  attention.value_size = sizes.value;
  attention.scale = 1;
  if (attention.heads == 0 || attention.kv_heads == 0 || sizes.key == 0 || sizes.value == 0) {
    throw Error("the metadata gives layer " + std::to_string(layer) + " no attention heads",
                "the file is damaged or of an unknown kind");
  }
  const std::int64_t width = reader.width();
  const std::int64_t keys = attention.kv_heads * sizes.key;
  const std::int64_t values = attention.kv_heads * sizes.value;
  attention.output = reader.linear(FamilyReader::layer_name(layer, "attn_output"),
                                   attention.heads * sizes.value, width);
  attention.q_norm = head_norm(reader, layer, "attn_q_norm", sizes.key);
  if (shares_with >= 0) {
    attention.q = reader.linear(FamilyReader::layer_name(layer, "attn_q"), width,
                                attention.heads * sizes.key);
    attention.key_source = KeySource::kShared;
    attention.shares_with = static_cast<std::int32_t>(shares_with);
    return attention;
  }
  attention.k_norm = head_norm(reader, layer, "attn_k_norm", sizes.key);
  attention.v_norm = Norm{.kind = NormKind::kRms, .epsilon = attention.k_norm->epsilon};
  if (reader.has(FamilyReader::layer_name(layer, "attn_qkv.weight"))) {
    attention.qkv = reader.linear(FamilyReader::layer_name(layer, "attn_qkv"), width,
                                  attention.heads * sizes.key + keys + values);
    return attention;
  }
  attention.q =
      reader.linear(FamilyReader::layer_name(layer, "attn_q"), width, attention.heads * sizes.key);
  attention.k = reader.linear(FamilyReader::layer_name(layer, "attn_k"), width, keys);
  if (reader.has(FamilyReader::layer_name(layer, "attn_v.weight")) || sizes.key != sizes.value) {
    attention.v = reader.linear(FamilyReader::layer_name(layer, "attn_v"), width, values);
  }
  return attention;
}

PerLayerEmbedding per_layer_embedding(const FamilyReader& reader, std::int64_t vocabulary,
                                      std::int64_t width) {
  PerLayerEmbedding result;
  const std::int64_t all = width * reader.layers();
  result.layers = reader.layers();
  result.width = width;
  result.tokens = reader.linear("per_layer_token_embd", all, vocabulary).weight;
  result.token_scale = std::sqrt(static_cast<float>(width));
  result.projection = reader.linear("per_layer_model_proj", reader.width(), all);
  result.projection_scale = 1.0F / std::sqrt(static_cast<float>(reader.width()));
  result.norm = reader.norm(NormKind::kRms, "per_layer_proj_norm", width);
  return result;
}

PerLayerInput per_layer_input(const FamilyReader& reader, std::int64_t layer, std::int64_t width) {
  PerLayerInput result;
  result.gate = reader.linear(FamilyReader::layer_name(layer, "inp_gate"), reader.width(), width);
  result.projection = reader.linear(FamilyReader::layer_name(layer, "proj"), width, reader.width());
  result.post_norm = reader.norm(NormKind::kRms, layer, "post_norm");
  return result;
}

}  // namespace hearth::model
