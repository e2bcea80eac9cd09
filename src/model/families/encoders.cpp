#include "model/families/encoders.h"

#include <string>
#include <utility>

#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

/// Most labels of a classifier, and most outputs of a dense module after pooling.
constexpr std::int64_t kMostOutputs = 1 << 20;
constexpr std::int64_t kMostTokens = 1 << 30;

/// A matrix NAME.weight whose number of outputs only the file knows; at most `most`.
Linear output_matrix(const FamilyReader& reader, const std::string& name, std::int64_t in,
                     std::int64_t most = kMostOutputs) {
  const gguf::TensorInfo* tensor = reader.file().find_tensor(name + ".weight");
  const std::int64_t out = tensor != nullptr ? tensor->shape[1] : 1;
  if (out < 1 || out > most) {
    throw Error("tensor '" + name + ".weight' has " + std::to_string(out) + " rows",
                "the file is damaged or of an unknown kind");
  }
  return reader.linear(name, in, out);
}

PoolingKind pooling_kind(const FamilyReader& reader, bool encoder) {
  constexpr std::int64_t kKinds = 5;
  const std::int64_t fallback = encoder ? static_cast<std::int64_t>(PoolingKind::kMean) : 0;
  return static_cast<PoolingKind>(reader.integer_in("pooling_type", 0, kKinds - 1, fallback));
}

void read_classifier(const FamilyReader& reader, Pooling& pooling) {
  const std::string& architecture = reader.architecture();
  const bool from_qwen = architecture == "qwen3" || architecture == "qwen3vl";
  pooling.rank_from = from_qwen ? PoolingKind::kLast : PoolingKind::kFirst;
  pooling.softmax = from_qwen;
  std::int64_t width = reader.width();
  if (reader.has("cls.weight")) {
    pooling.classifier = output_matrix(reader, "cls", width);
    width = pooling.classifier.out;
  }
  if (architecture == "modern-bert") {
    pooling.rank_from = PoolingKind::kMean;
    pooling.classifier_activation = Activation::kGelu;
    if (reader.has("cls.norm.weight")) {
      pooling.classifier_norm = reader.norm(NormKind::kLayer, "cls.norm", width);
    }
  }
  if (reader.has("cls.output.weight")) {
    pooling.classifier_output = output_matrix(reader, "cls.output", width);
  }
  if (!pooling.classifier.present() && !pooling.classifier_output.present()) {
    throw Error("the model says it is a reranker, and has no classifier (cls or cls.output)",
                "the file is incomplete: fetch it again");
  }
}

}  // namespace

ModelSpec encoder_model(const FamilyReader& reader) {
  ModelSpec model;
  model.architecture = reader.architecture();
  model.name = std::string(reader.file().metadata().get_string("general.name").value_or(""));
  model.width = reader.width();
  model.context_length = reader.integer_in("context_length", 1, std::int64_t{1} << 30);
  model.causal = false;
  const Linear embedding = output_matrix(reader, "token_embd", model.width, kMostTokens);
  model.vocabulary = embedding.out;
  model.embedding.tokens = embedding.weight;
  model.stacks.push_back({"encoder", {}});
  model.stacks.back().layers.reserve(static_cast<std::size_t>(reader.layers()));
  return model;
}

Attention encoder_attention(const FamilyReader& reader, std::int64_t layer, std::int64_t window) {
  Attention attention = reader.attention(layer);
  attention.key_source = KeySource::kBatch;
  attention.window =
      window > 0 ? Window{WindowKind::kSymmetric, window} : Window{WindowKind::kEverything, 0};
  return attention;
}

void make_bidirectional(ModelSpec& model) {
  model.causal = false;
  for_each_body(model, [](Stack& /*stack*/, std::size_t /*layer*/, Body& body) {
    if (auto* convolution = std::get_if<ShortConvolution>(&body)) {
      convolution->centred = true;
      return;
    }
    if (std::holds_alternative<FeedForward>(body) ||
        std::holds_alternative<MixtureOfExperts>(body) || std::holds_alternative<Dense>(body)) {
      return;
    }
    auto* attention = std::get_if<Attention>(&body);
    if (attention == nullptr || attention->key_source == KeySource::kShared ||
        attention->selection ||
        (attention->window.kind != WindowKind::kFull &&
         attention->window.kind != WindowKind::kEverything &&
         attention->window.kind != WindowKind::kSymmetric)) {
      throw Error("the model is said to read texts in both directions, and has parts that cannot",
                  "the file is damaged, or of a kind that Hearth does not know");
    }
    if (attention->key_source != KeySource::kSelf) return;
    attention->key_source = KeySource::kBatch;
    attention->window = {WindowKind::kEverything, 0};
  });
}

void read_pooling(const FamilyReader& reader, ModelSpec& model) {
  if (model.causal && !model.encoder && !reader.boolean("attention.causal").value_or(true)) {
    make_bidirectional(model);
  }
  Pooling& pooling = model.pooling;
  pooling.kind = pooling_kind(reader, !model.causal && !model.head.linear.present());
  if (pooling.kind == PoolingKind::kNone) return;
  if (pooling.kind == PoolingKind::kRank) return read_classifier(reader, pooling);
  std::int64_t width = reader.width();
  for (const char* name : {"dense_2", "dense_3"}) {
    if (!reader.has(std::string(name) + ".weight")) continue;
    pooling.dense.push_back(output_matrix(reader, name, width));
    width = pooling.dense.back().out;
  }
}

}  // namespace hearth::model
