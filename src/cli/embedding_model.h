// What `embed` and `rerank` share: their texts, and a model loaded to fit them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "generate/embedder.h"

namespace CLI {
class App;
}

namespace hearth::cli {

struct EmbeddingOptions {
  std::string model;
  generate::EmbedderOptions embedder;
  int threads = 0;
  bool exact = false, truncate = false, json = false;
};

/// Adds MODEL, --truncate, --json, --threads and --exact.
void add_embedding_options(CLI::App& command, EmbeddingOptions& options);

/// Throws Error (exit code 2) when `text` is not UTF-8; `what` names it: "text 3".
void require_utf8(std::string_view text, const std::string& what);
/// The texts that `words` are, or the lines of stdin when there are none or the only one is "-".
/// Throws Error (exit code 2) when there is no text, or one is not UTF-8.
[[nodiscard]] std::vector<std::string> texts_of(const std::vector<std::string>& words);

/// The file of a model, opened before its weights are loaded: enough to tokenize.
class EmbeddingModel {
 public:
  explicit EmbeddingModel(const EmbeddingOptions& options);

  [[nodiscard]] const generate::TextEncoder& encoder() const noexcept { return *encoder_; }
  [[nodiscard]] const gguf::File& file() const noexcept { return file_; }
  [[nodiscard]] const spec::ModelSpec& spec() const noexcept { return spec_; }
  /// Most tokens of a text.
  [[nodiscard]] std::int64_t limit() const noexcept { return generate::longest_text(spec_); }
  /// The model's name for people: general.name, else the file's.
  [[nodiscard]] std::string name() const;

  /// Loads the model and embeds the texts. Throws Error, exit code 3, before anything is loaded
  /// when one is too long. Ctrl-C ends with QuietExit.
  void embed(const std::vector<generate::TokenList>& texts, const generate::VectorSink& sink);

 private:
  const EmbeddingOptions& options_;
  gguf::File file_;
  spec::ModelSpec spec_;
  std::unique_ptr<generate::TextEncoder> encoder_;
};

/// A number as JSON has it, with as many digits as a float needs.
[[nodiscard]] std::string json_number(float value);
/// Vectors as a JSON array of arrays.
[[nodiscard]] std::string json_vectors(std::span<const float> values, std::size_t size);

}  // namespace hearth::cli
