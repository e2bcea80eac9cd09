// Tokens of texts to vectors, and of pairs of texts to scores: batched and pooled as the model
// wants (reference: blocks.md section 7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/compute_turn.h"
#include "generate/text_encoder.h"
#include "model/loaded_model.h"

namespace hearth::generate {

/// Tokens that the model can take in one text.
[[nodiscard]] std::int64_t longest_text(const spec::ModelSpec& spec) noexcept;

/// `setup` with the context, batch rows and sequences for embedding texts of at most `longest`
/// tokens, `texts` of them.
[[nodiscard]] spec::Setup embedding_setup(spec::Setup setup, const spec::ModelSpec& spec,
                                          std::int64_t longest, std::int64_t texts);
/// What LoadedModel::load needs to know for an Embedder.
[[nodiscard]] model::Outputs embedding_outputs(const spec::Setup& setup);

struct EmbedderOptions {
  /// Instead of the model's own pooling; then the hidden states are pooled and no dense module is
  /// applied.
  std::optional<spec::PoolingKind> pooling = std::nullopt;
  bool normalise = true;  // to L2 norm 1; never scores
  /// Held for every pass, if not null; must outlive the embedder.
  ComputeTurn* turn = nullptr;
};

/// Throws Error (exit code 2) when neither the model nor the options say how to pool. Encoders
/// pool by the mean where their file says nothing.
void require_pooling(const gguf::Metadata& metadata, const spec::ModelSpec& spec,
                     const EmbedderOptions& options);

/// Called with the index of a text and its vector; with PoolingKind::kNone its vectors, one after
/// the other. Texts come in order.
using VectorSink = std::function<void(std::size_t text, std::span<const float> vectors)>;

class Embedder {
 public:
  /// `model` must have been loaded with embedding_outputs() and must outlive the embedder. Throws
  /// Error as require_pooling() does.
  Embedder(model::LoadedModel& model, const EmbedderOptions& options);
  ~Embedder();

  /// How vectors are made.
  [[nodiscard]] spec::PoolingKind pooling() const noexcept { return pooling_; }
  /// Size of a vector: for rerankers the number of scores.
  [[nodiscard]] std::int64_t dimensions() const noexcept;

  /// Throws Error for an empty text (exit code 2) and for one that is longer than the context (3),
  /// before anything is computed. `before_pass` may be empty; what it throws ends the work.
  void embed(std::span<const TokenList> texts, const VectorSink& sink,
             const std::function<void()>& before_pass = {});

 private:
  void check(std::span<const TokenList> texts) const;
  [[nodiscard]] std::size_t texts_of_pass(std::span<const TokenList> texts) const;
  [[nodiscard]] std::unique_lock<ComputeTurn> turn() const;
  void run_rows();
  void run_pass(std::span<const TokenList> texts);
  void run_encoder(const TokenList& text);
  void run_long_text(const TokenList& text);
  void add_states(std::span<const float> states);
  [[nodiscard]] bool wants(std::size_t row, std::size_t rows) const noexcept;
  void emit(std::size_t first, const VectorSink& sink);
  void pool_here();
  [[nodiscard]] state::SequenceState& sequence(std::size_t index);

  model::LoadedModel& model_;
  EmbedderOptions options_;
  std::function<void()> before_pass_;  // of the call to embed() that goes on
  spec::PoolingKind pooling_ = spec::PoolingKind::kNone;
  spec::PoolingKind kept_ = spec::PoolingKind::kNone;  // which rows' states are needed
  std::vector<std::unique_ptr<state::SequenceState>> sequences_;
  std::vector<model::BatchRow> rows_;
  std::vector<float> states_;          // of the texts of a pass
  std::vector<std::int64_t> lengths_;  // rows of states_ by text
  std::vector<float> vectors_;         // pooled
};

/// "mean", "cls", "last", "none", "rank"
[[nodiscard]] std::string_view pooling_name(spec::PoolingKind kind) noexcept;
/// The names of a classifier's outputs (A.classifier.output_labels); empty when it has none.
[[nodiscard]] std::vector<std::string> classifier_labels(const gguf::File& file,
                                                         const spec::ModelSpec& spec);

}  // namespace hearth::generate
