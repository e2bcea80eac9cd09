// hearth embed: texts to vectors.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/embedding_model.h"
#include "cli/main.h"
#include "cli/output.h"
#include "cli/words.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using spec::PoolingKind;

struct EmbedOptions : EmbeddingOptions {
  std::string pooling;
  bool raw = false;
};

/// Writes vectors as they come: lines of numbers, or the parts of one JSON object.
class VectorWriter {
 public:
  VectorWriter(const EmbedOptions& options, const EmbeddingModel& model, PoolingKind pooling)
      : options_(options), model_(model), pooling_(pooling) {}

  void write(std::size_t text, std::span<const float> vectors) {
    const std::size_t size = size_of(vectors);
    if (!options_.json) return write_lines(text, vectors, size);
    if (text == 0) begin_object(size);
    std::string part = json_vectors(vectors, size);
    // One vector per text is not a list of vectors.
    if (pooling_ != PoolingKind::kNone) part = part.substr(1, part.size() - 2);
    fmt::print("{}{}", text == 0 ? "" : ",", part);
  }
  void finish() const {
    if (options_.json) fmt::print("]}}\n");
  }

 private:
  [[nodiscard]] std::size_t size_of(std::span<const float> vectors) const {
    return pooling_ == PoolingKind::kNone ? static_cast<std::size_t>(model_.spec().width)
                                          : vectors.size();
  }

  void write_lines(std::size_t text, std::span<const float> vectors, std::size_t size) const {
    // Tokens of one text stand together; an empty line separates texts.
    if (pooling_ == PoolingKind::kNone && text > 0) fmt::print("\n");
    for (; !vectors.empty(); vectors = vectors.subspan(size)) {
      fmt::print("{}\n", fmt::join(vectors.first(size), " "));
    }
  }

  void begin_object(std::size_t size) const {
    const nlohmann::ordered_json head = {{"model", model_.name()},
                                         {"dimensions", size},
                                         {"pooling", generate::pooling_name(pooling_)}};
    std::string text = head.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
    text.pop_back();
    fmt::print("{},\"embeddings\":[", text);
  }

  const EmbedOptions& options_;
  const EmbeddingModel& model_;
  PoolingKind pooling_;
};

void run_embed(EmbedOptions& options, const std::vector<std::string>& words) {
  static const std::map<std::string, PoolingKind> kinds = {{"none", PoolingKind::kNone},
                                                           {"mean", PoolingKind::kMean},
                                                           {"cls", PoolingKind::kFirst},
                                                           {"last", PoolingKind::kLast}};
  if (!options.pooling.empty()) options.embedder.pooling = kinds.at(options.pooling);
  options.embedder.normalise = !options.raw;
  EmbeddingModel model(options);
  generate::require_pooling(model.file().metadata(), model.spec(), options.embedder);
  const PoolingKind pooling = options.embedder.pooling.value_or(model.spec().pooling.kind);
  if (pooling == PoolingKind::kRank) {
    throw Error("this model is a reranker: it gives scores, not vectors",
                "use hearth rerank, or choose with --pooling how to pool its hidden states");
  }
  std::vector<generate::TokenList> texts;
  for (const std::string& text : texts_of(words)) {
    texts.push_back(options.truncate ? model.encoder().text(text, model.limit())
                                     : model.encoder().text(text));
  }
  VectorWriter writer(options, model, pooling);
  model.embed(texts, [&](std::size_t text, std::span<const float> vectors) {
    writer.write(text, vectors);
  });
  writer.finish();
}

}  // namespace

void add_embed_command(CLI::App& app) {
  auto options = std::make_shared<EmbedOptions>();
  CLI::App* command = app.add_subcommand("embed", "Turn texts into vectors");
  command->footer(
      "Every TEXT is one text; with - or without TEXT, every line of stdin is. Prints one vector "
      "per line, numbers separated by spaces, in the order of the texts. Vectors have length 1, so "
      "that their dot product is their cosine similarity.\n\n"
      "The model's own pooling is used, with its dense modules. Models that were not made for "
      "embeddings need --pooling. With --pooling none there is one line per token, and an empty "
      "line between texts.\n\n"
      "With --json the result is one object: \"model\", \"dimensions\", \"pooling\", and "
      "\"embeddings\", one vector per text (with pooling none a list of vectors).\n\n"
      "Many models want a prefix that says what a text is for (\"search_query: \"): see the "
      "model's "
      "page. TEXT that begins with a dash goes after --.\n\n"
      "Examples:\n"
      "  hearth embed model.gguf \"Why is the sky blue?\"\n"
      "  hearth embed model.gguf --json < lines.txt > vectors.json\n"
      "  hearth embed chat-model.gguf --pooling mean \"some text\"\n"
      "\n"
      "Exit status:\n"
      "  0  all texts are embedded  2  wrong usage\n"
      "  1  failed                  3  the model or a text does not fit");
  add_embedding_options(*command, *options);
  command
      ->add_option("--pooling", options->pooling,
                   "none, mean, cls or last, instead of the model's own")
      ->check(CLI::IsMember({"none", "mean", "cls", "last"}))
      ->type_name("KIND");
  command->add_flag("--raw", options->raw, "Leave the vectors as long as they are");
  command->callback([options, command] { run_embed(*options, plain_words(*command)); });
}

}  // namespace hearth::cli
