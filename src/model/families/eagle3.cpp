// eagle3: EAGLE-3 draft models (arXiv:2503.01840): one Llama layer that reads, beside a token, what
// three layers of the model it drafts for have made of the text so far (reference:
// blocks-speculative.md section 2).
//
// The file may leave out the embedding table and the output matrix: both are then the target's, and
// embedding.tokens or head.linear is empty. Where norm_before_residual is set, the stream starts as
// the normed hidden state (embedding.hidden.hidden_norm) and the layer has no norm of its own.
#include "model/families/registry.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

constexpr std::int64_t kMostRows = std::int64_t{1} << 30;
constexpr std::size_t kTargetLayers = 3;

std::int64_t rows(const FamilyReader& reader, const std::string& tensor) {
  const gguf::TensorInfo* info = reader.file().find_tensor(tensor);
  if (info == nullptr) return 0;
  if (info->shape[1] < 1 || info->shape[1] > kMostRows) {
    throw Error("tensor '" + tensor + "' has " + std::to_string(info->shape[1]) + " rows",
                "the file is damaged or of an unknown kind");
  }
  return info->shape[1];
}

std::vector<std::int32_t> target_layers(const FamilyReader& reader) {
  const std::vector<std::int64_t> layers = reader.integers("target_layers");
  std::vector<std::int32_t> result;
  for (const std::int64_t layer : layers) {
    if (layer >= 0 && layer <= 4096) result.push_back(static_cast<std::int32_t>(layer));
  }
  if (result.size() != kTargetLayers || layers.size() != kTargetLayers) {
    throw Error("the model's metadata key 'eagle3.target_layers' does not name three layers",
                "the file is damaged or of an unknown kind");
  }
  return result;
}

/// Tokens that the target knows.
std::int64_t vocabulary(const FamilyReader& reader) {
  if (const std::int64_t table = rows(reader, "token_embd.weight"); table > 0) return table;
  if (const std::int64_t size = reader.integer_in("vocab_size", 0, kMostRows, 0); size > 0) {
    return size;
  }
  const auto tokens = reader.file().metadata().get_strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) {
    throw Error("the draft model does not say how many tokens it knows",
                "the file is damaged or of an unknown kind");
  }
  return static_cast<std::int64_t>(tokens->size());
}

HiddenInput hidden_input(const FamilyReader& reader) {
  HiddenInput hidden;
  hidden.width = reader.width();
  const std::int64_t target_width = reader.integer_in("target_hidden_size", 1, 1 << 20);
  const std::int64_t features = static_cast<std::int64_t>(kTargetLayers) * target_width;
  hidden.features = reader.linear("fc", features, reader.width());
  if (reader.boolean("norm_before_fc").value_or(false)) {
    hidden.features_norm = reader.norm(NormKind::kRms, "enc.output_norm", features);
  }
  return hidden;
}

}  // namespace

ModelSpec describe_eagle3(const FamilyReader& reader) {
  const std::int64_t width = reader.width();
  ModelSpec model;
  model.architecture = reader.architecture();
  model.name = std::string(reader.file().metadata().get_string("general.name").value_or(""));
  model.width = width;
  model.context_length = reader.integer_in("context_length", 1, kMostRows);
  model.vocabulary = vocabulary(reader);
  model.target_layers = target_layers(reader);
  model.embedding.hidden = hidden_input(reader);
  if (reader.has("token_embd.weight")) {
    model.embedding.tokens = reader.linear("token_embd", width, model.vocabulary).weight;
  }
  model.head.norm = reader.norm(NormKind::kRms, "output_norm", width);
  model.head.hidden = HiddenKind::kStreams;
  model.logits = reader.has("output.weight") ? rows(reader, "output.weight") : model.vocabulary;
  if (reader.has("output.weight")) model.head.linear = reader.linear("output", width, model.logits);
  if (reader.has("d2t")) {
    model.head.target_tokens = reader.vector("d2t", model.logits);
  } else if (model.logits != model.vocabulary) {
    throw Error("the draft model has a vocabulary of its own and no table (d2t) to translate it by",
                "the file is incomplete: fetch it again");
  }

  model.stacks.push_back({"decoder", {}});
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    const bool first = layer == 0;  // only this one reads the token embedding
    Attention attention = reader.attention(layer, first ? 2 * width : width);
    attention.rope = reader.rope(RopePairing::kAdjacent);
    Layer block = reader.standard_layer(layer, std::move(attention));
    if (first) {
      block.sublayers[0].token_norm = block.sublayers[0].pre_norm;
      Norm hidden_norm = reader.norm(NormKind::kRms, layer, "attn_norm_2");
      if (reader.boolean("norm_before_residual").value_or(false)) {
        model.embedding.hidden->hidden_norm = std::move(hidden_norm);
        block.sublayers[0].pre_norm.reset();
      } else {
        block.sublayers[0].pre_norm = std::move(hidden_norm);
      }
    }
    model.stacks[0].layers.push_back(std::move(block));
  }
  return model;
}

}  // namespace hearth::model
