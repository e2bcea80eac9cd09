// bert: BERT encoders and rerankers (reference: embedding.md).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "model/convert/conversion.h"
#include "model/convert/families.h"
#include "support/error.h"

namespace hearth::model::convert {
namespace {

class Bert {
 public:
  explicit Bert(Conversion& conversion) : conversion_(&conversion) {
    prefix_ = conversion.has("bert.embeddings.word_embeddings.weight") ? "bert." : "";
    const Config& config = conversion.config();
    width_ = config.integer("hidden_size");
    layers_ = config.integer("num_hidden_layers");
    inner_ = config.integer("intermediate_size");
    positions_ = config.integer("max_position_embeddings");
    if (width_ < 1 || layers_ < 1 || layers_ > 4096) config.fail("hidden_size", "is out of range");
  }

  void write_keys() const {
    const Config& config = conversion_->config();
    const std::string activation = config.string("hidden_act", std::string("gelu"));
    if (!activation.starts_with("gelu"))
      config.fail("hidden_act", fmt::format("is '{}', not gelu", printable(activation)));
    if (config.string("position_embedding_type", std::string("absolute")) != "absolute")
      config.fail("position_embedding_type", "is not absolute");
    conversion_->set_size("block_count", layers_);
    conversion_->set_size("context_length", positions_);
    conversion_->set_size("embedding_length", width_);
    conversion_->set_size("feed_forward_length", inner_);
    conversion_->set_size("attention.head_count", config.integer("num_attention_heads"));
    conversion_->set_number("attention.layer_norm_epsilon", config.number("layer_norm_eps", 1e-12));
    conversion_->set_flag("attention.causal", false);
  }

  void add_embeddings() const {
    const std::string from = prefix_ + "embeddings.";
    const auto& table = conversion_->shape(from + "word_embeddings.weight");
    const std::int64_t vocabulary = table.empty() ? 0 : table[0];
    conversion_->add_embedding_table(
        conversion_->matrix(from + "word_embeddings.weight", vocabulary, width_));
    conversion_->add_matrix(
        "position_embd.weight",
        conversion_->matrix(from + "position_embeddings.weight", positions_, width_),
        Precision::kExact);
    const std::int64_t types = conversion_->config().integer("type_vocab_size", 2);
    conversion_->add("token_types.weight", {width_, types},
                     conversion_->matrix(from + "token_type_embeddings.weight", types, width_),
                     Precision::kExact);
    add_norm("token_embd_norm", from + "LayerNorm");
  }

  void add_layer(std::int64_t layer) const {
    const std::string from = fmt::format("{}encoder.layer.{}.", prefix_, layer);
    const std::string to = fmt::format("blk.{}.", layer);
    add_linear(to + "attn_q", from + "attention.self.query", width_, width_);
    add_linear(to + "attn_k", from + "attention.self.key", width_, width_);
    add_linear(to + "attn_v", from + "attention.self.value", width_, width_);
    add_linear(to + "attn_output", from + "attention.output.dense", width_, width_);
    add_norm(to + "attn_output_norm", from + "attention.output.LayerNorm");
    add_linear(to + "ffn_up", from + "intermediate.dense", width_, inner_);
    add_linear(to + "ffn_down", from + "output.dense", inner_, width_);
    add_norm(to + "layer_output_norm", from + "output.LayerNorm");
  }

  /// Rerankers and classifiers: the pooler and a matrix to the labels.
  void add_classifier() const {
    conversion_->set_size("pooling_type", 4);
    const auto& shape = conversion_->shape("classifier.weight");
    const std::int64_t labels = shape.empty() ? 0 : shape[0];
    add_linear("cls", prefix_ + "pooler.dense", width_, width_);
    conversion_->add("cls.output.weight", {width_, labels},
                     conversion_->matrix("classifier.weight", labels, width_), Precision::kChosen);
    if (conversion_->has("classifier.bias"))
      conversion_->add_vector("cls.output.bias", conversion_->vector("classifier.bias", labels));
    const Config names = conversion_->config().object("id2label");
    std::vector<std::string> texts;
    for (std::int64_t label = 0; label < labels && names.has(std::to_string(label)); ++label)
      texts.push_back(names.string(std::to_string(label)));
    if (!texts.empty() && static_cast<std::int64_t>(texts.size()) == labels)
      conversion_->set_texts("classifier.output_labels", texts);
  }

  /// What pre-training left behind and embeddings do not use.
  void ignore_rest(bool keeps_pooler) const {
    if (!keeps_pooler) conversion_->ignore_prefix(prefix_ + "pooler.");
    conversion_->ignore_prefix("cls.predictions.");
    conversion_->ignore_prefix("cls.seq_relationship.");
  }

  [[nodiscard]] std::int64_t layers() const { return layers_; }

 private:
  void add_linear(const std::string& to, const std::string& from, std::int64_t in,
                  std::int64_t out) const {
    conversion_->add_matrix(to + ".weight", conversion_->matrix(from + ".weight", out, in));
    conversion_->add_vector(to + ".bias", conversion_->vector(from + ".bias", out));
  }

  void add_norm(const std::string& to, const std::string& from) const {
    // The oldest checkpoints call weight and bias gamma and beta.
    const bool old = conversion_->has(from + ".gamma");
    const auto add = [&](const char* kind, const char* name) {
      conversion_->add_vector(to + kind, conversion_->vector(from + name, width_));
    };
    add(".weight", old ? ".gamma" : ".weight");
    add(".bias", old ? ".beta" : ".bias");
  }

  Conversion* conversion_;
  std::string prefix_;
  std::int64_t width_, layers_, inner_, positions_;
};

}  // namespace

void convert_bert(Conversion& conversion) {
  conversion.set_architecture("bert");
  const Bert bert(conversion);
  bert.write_keys();
  bert.add_embeddings();
  for (std::int64_t layer = 0; layer < bert.layers(); ++layer) bert.add_layer(layer);
  const bool classifies = conversion.has("classifier.weight");
  if (classifies) bert.add_classifier();
  bert.ignore_rest(classifies);
}

}  // namespace hearth::model::convert
