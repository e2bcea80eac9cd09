// A text as models are measured on: cut into chunks of equal length that know nothing of each
// other, each a sequence of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "model/loaded_model.h"
#include "text/tokenizer.h"

namespace hearth::measure {

/// Chunks of `size` tokens, one after the other. Where the model begins texts with BOS, the first
/// token of every chunk is BOS instead of the text's: this is how perplexities are usually given,
/// so that they can be compared.
class TokenChunks {
 public:
  /// `most`: how many chunks at most; 0: all. What is left of the text after the last whole chunk
  /// is left out. Throws Error when the text has less than one chunk.
  TokenChunks(const text::Tokenizer& tokenizer, std::string_view text, std::int64_t size,
              std::int64_t most = 0);

  /// Whole chunks of these tokens, as they are.
  TokenChunks(std::vector<text::TokenId> tokens, std::int64_t size);

  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::int64_t count() const noexcept {
    return static_cast<std::int64_t>(tokens_.size()) / size_;
  }
  [[nodiscard]] std::span<const text::TokenId> chunk(std::int64_t index) const noexcept {
    return std::span(tokens_).subspan(static_cast<std::size_t>(index * size_),
                                      static_cast<std::size_t>(size_));
  }
  /// Leaves out all chunks from `count` on.
  void keep(std::int64_t count);

 private:
  std::int64_t size_;
  std::vector<text::TokenId> tokens_;
};

/// Which rows of a chunk get logits.
enum class WantedLogits : std::uint8_t {
  kNone,
  /// Those that predict the second half: the token at `size / 2 + 1` is the first that counts, so
  /// that every prediction has seen at least half a chunk. The last row, which predicts nothing of
  /// the chunk, is not evaluated.
  kSecondHalf,
  kAll,
};

/// The first row whose logits kSecondHalf wants, and how many rows of a chunk it wants.
[[nodiscard]] constexpr std::int64_t first_scored(std::int64_t size) noexcept { return size / 2; }
[[nodiscard]] constexpr std::int64_t rows_scored(std::int64_t size) noexcept {
  return size - 1 - first_scored(size);
}
/// Shorter chunks have nothing to score.
inline constexpr std::int64_t kShortestChunk = 4;

/// How a model is loaded for chunks.
struct ChunkSetup {
  spec::Setup setup;
  model::Outputs outputs;
};
/// `setup` for up to `chunks` chunks of `size` tokens in passes of about `batch_rows` rows: several
/// short chunks are evaluated at once, and a pass has no more rows with logits than fit into 256
/// MiB. Throws Error when the model cannot go on with a text.
[[nodiscard]] ChunkSetup chunk_setup(spec::Setup setup, const spec::ModelSpec& spec,
                                     std::int64_t size, std::int64_t chunks,
                                     std::int64_t batch_rows, WantedLogits wanted);

/// A row with logits: the row at `position` of chunk `chunk`, which predicts the token at
/// `position + 1`.
struct LogitRow {
  std::int64_t chunk = 0, position = 0;
};

/// Evaluates chunks.
class ChunkRunner {
 public:
  /// `model` must have been loaded as chunk_setup() says, for `wanted`, and must outlive this.
  ChunkRunner(model::LoadedModel& model, WantedLogits wanted,
              std::shared_ptr<const model::AdapterSet> adapters = {});
  ~ChunkRunner();

  /// The first row of every chunk in a pass of its own. Then the other rows have something to look
  /// back on, and latent attention multiplies by its matrices as they are used while text is
  /// generated (model/layers/latent_attention.cpp).
  void separate_first_row(bool separate) noexcept { separate_first_row_ = separate; }

  /// After a pass: how many rows it had, which of them had logits (in the order of chunks and
  /// positions), and these, [rows, vocabulary]. May throw to end the run.
  using Sink = std::function<void(std::int64_t evaluated, std::span<const LogitRow> rows,
                                  std::span<const float> logits)>;
  void run(const TokenChunks& chunks, const Sink& sink);

 private:
  void add(const TokenChunks& chunks, std::int64_t chunk, std::int64_t begin, std::int64_t end,
           state::SequenceState& sequence);
  void run_rows(const Sink& sink);
  [[nodiscard]] bool wants(std::int64_t position, std::int64_t size) const noexcept;

  model::LoadedModel& model_;
  WantedLogits wanted_;
  std::shared_ptr<const model::AdapterSet> adapters_;
  bool separate_first_row_ = false;
  std::vector<std::unique_ptr<state::SequenceState>> sequences_;
  std::vector<model::BatchRow> rows_;
  std::vector<LogitRow> places_;  // of rows_
  std::vector<LogitRow> wanted_places_;
};

}  // namespace hearth::measure
