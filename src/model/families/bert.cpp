// bert, nomic-bert, nomic-bert-moe, jina-bert-v2, jina-bert-v3: post-norm encoders, which differ in
// how they know positions and in their feed-forward (reference: embedding.md).
#include "model/families/encoders.h"
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// stream = norm(stream + body(stream)).
Sublayer after_norm(Body body, Norm norm) {
  Sublayer sublayer;
  sublayer.branches.push_back({{}, std::move(body), {}});
  sublayer.post_norm = std::move(norm);
  sublayer.norm_after_add = true;
  return sublayer;
}

void add_embedding_parts(const FamilyReader& reader, ModelSpec& model) {
  if (reader.has("token_types.weight")) {
    const std::int64_t types = reader.file().find_tensor("token_types.weight")->shape[1];
    model.embedding.types = reader.linear("token_types", reader.width(), types).weight;
  }
  if (reader.architecture() == "bert") {
    const gguf::TensorInfo* positions = reader.file().find_tensor("position_embd.weight");
    model.position_limit = positions != nullptr ? positions->shape[1] : model.context_length;
    model.embedding.positions =
        reader.linear("position_embd", reader.width(), model.position_limit).weight;
  }
  model.embedding.norm = reader.norm(NormKind::kLayer, "token_embd_norm", reader.width());
}

/// Normalisation over all heads together, where the file has it.
std::optional<Norm> whole_norm(const FamilyReader& reader, std::int64_t layer,
                               std::string_view name, std::int64_t size) {
  const std::string tensor = FamilyReader::layer_name(layer, name);
  if (!reader.has(tensor + ".weight")) return std::nullopt;
  return reader.norm(NormKind::kLayer, tensor, size);
}

Attention bert_attention(const FamilyReader& reader, std::int64_t layer) {
  Attention attention = encoder_attention(reader, layer);
  attention.norm_whole = true;
  attention.q_norm = whole_norm(reader, layer, "attn_q_norm", attention.heads * attention.key_size);
  attention.k_norm =
      whole_norm(reader, layer, "attn_k_norm", attention.kv_heads * attention.key_size);
  if (reader.architecture() == "jina-bert-v2") {
    attention.max_alibi_bias = 8;
  } else if (reader.architecture() != "bert") {
    attention.rope = reader.rope(RopePairing::kHalves);
  }
  return attention;
}

Body bert_feed_forward(const FamilyReader& reader, std::int64_t layer) {
  const std::string& architecture = reader.architecture();
  if (architecture == "nomic-bert") return reader.gated_feed_forward(layer, Activation::kSilu);
  if (architecture == "jina-bert-v2") return reader.gated_feed_forward(layer, Activation::kGelu);
  if (architecture == "nomic-bert-moe") {
    const std::int64_t every = reader.integer_in("moe_every_n_layers", 0, std::int64_t{1} << 30, 0);
    if (every > 0 && layer % every == 1) {
      ExpertOptions options;
      options.width = reader.feed_forward_width(layer);
      options.gated = false;
      options.gating.activation = Activation::kGelu;
      options.normalise = false;
      return reader.experts(layer, options);
    }
  }
  return reader.plain_feed_forward(layer, Activation::kGelu);
}

}  // namespace

ModelSpec describe_bert(const FamilyReader& reader) {
  ModelSpec model = encoder_model(reader);
  add_embedding_parts(reader, model);
  for (std::int64_t l = 0; l < reader.layers(); ++l) {
    Layer layer;
    layer.sublayers.push_back(after_norm(bert_attention(reader, l),
                                         reader.norm(NormKind::kLayer, l, "attn_output_norm")));
    if (reader.has(FamilyReader::layer_name(l, "attn_norm_2.weight"))) {
      layer.sublayers[0].second_norm = reader.norm(NormKind::kLayer, l, "attn_norm_2");
    }
    layer.sublayers.push_back(after_norm(bert_feed_forward(reader, l),
                                         reader.norm(NormKind::kLayer, l, "layer_output_norm")));
    model.stacks[0].layers.push_back(std::move(layer));
  }
  return model;
}

}  // namespace hearth::model
