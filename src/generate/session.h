// A session: one sequence of a model that is fed prompts and continues them. What a prompt has in
// common with what the sequence already holds is not evaluated again.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/evaluator.h"
#include "generate/piece_writer.h"
#include "generate/sampler.h"
#include "generate/sampler_settings.h"
#include "text/tokenizer.h"

namespace hearth::generate {

/// What happens when the context is full and more is to be generated.
enum class Overflow : std::uint8_t {
  kStop,   ///< Generation ends with FinishReason::kContext. The default: nothing is ever forgotten
           ///< silently.
  kShift,  ///< The older half after the first `keep` tokens is dropped and the rest is evaluated
           ///< anew, so that what the model sees is exactly the shorter text. Costs a prefill of
           ///< half the context each time.
};

enum class FinishReason : std::uint8_t {
  kStop,       ///< the model ended its text, or the receiver of pieces did
  kStopText,   ///< a stop string
  kLength,     ///< max_tokens were generated
  kContext,    ///< the context is full
  kCancelled,  ///< by the caller
};

/// "stop", "stop", "length", "context", "cancelled".
[[nodiscard]] std::string_view name(FinishReason reason) noexcept;

struct GenerateOptions {
  SamplerSettings sampler;
  /// -1: until the model ends, a stop string, or the context is full.
  std::int64_t max_tokens = -1;
  std::vector<std::string> stops;
  /// Pass on control tokens as their text (readers of chat formats need them).
  bool control_pieces = false;
  Overflow overflow = Overflow::kStop;
  /// Tokens at the start that a shift keeps.
  std::int64_t keep = 1;
  /// Lengths of the prompt at which later prompts are likely to part from it, ascending
  /// (prompt_boundaries).
  std::vector<std::int64_t> boundaries;
  /// When it becomes true, generation ends before the next pass. May be null.
  const std::atomic<bool>* cancel = nullptr;
  /// Tokens of the prompt that are evaluated, and how many will be. May be empty. Called before the
  /// first and after every pass.
  std::function<void(std::int64_t done, std::int64_t total)> on_prompt_progress;
};

/// What a generation did. Seconds are wall time.
struct GenerateResult {
  FinishReason finish = FinishReason::kStop;
  std::string stop_text;           ///< the stop string that was found
  std::int64_t prompt_tokens = 0;  ///< of the whole prompt
  std::int64_t reused_tokens = 0;  ///< of them already in the sequence
  std::int64_t generated_tokens = 0;
  std::int64_t shifts = 0;  ///< how often the context was shifted
  double prompt_seconds = 0;
  double generate_seconds = 0;
  std::uint64_t seed = 0;
};

/// Ids of a prompt that is to be continued: with BOS as the model wants it, but never with an EOS
/// at the end.
[[nodiscard]] std::vector<text::TokenId> prompt_tokens(const text::Tokenizer& tokenizer,
                                                       const text::Prompt& prompt);

/// Where later prompts are likely to part from one: behind its first piece of data (the system
/// message, usually) and its last (the last message), before what asks for the answer. `tokens` are
/// prompt_tokens() of it.
[[nodiscard]] std::vector<std::int64_t> prompt_boundaries(const text::Tokenizer& tokenizer,
                                                          const text::Prompt& prompt,
                                                          std::span<const text::TokenId> tokens);
/// Ids that are never sampled: what the file suppresses, and those without a text.
[[nodiscard]] std::vector<text::TokenId> never_generated(const text::Tokenizer& tokenizer,
                                                         std::int64_t vocabulary);
/// Whether a text ends before token `id`: at the tokens made for that, and at BOS, which begins
/// another text.
[[nodiscard]] bool ends_text(const text::Tokenizer& tokenizer, text::TokenId id) noexcept;
/// Throws Error for an empty prompt, and (exit code 3) for one that is longer than the context;
/// `advice` (may be empty) says for a number of tokens what would make them fit.
void check_prompt(std::span<const text::TokenId> prompt, std::int64_t context,
                  const std::function<std::string(std::int64_t)>& advice = {});

class Session {
 public:
  /// Both must outlive the session.
  Session(Evaluator& evaluator, const text::Tokenizer& tokenizer);

  /// Evaluates `prompt` (at least one token) and generates its continuation. `on_piece` returns
  /// false to end it. Throws Error (exit code 3) when the prompt is longer than the context; errors
  /// of the model pass through.
  GenerateResult generate(std::span<const text::TokenId> prompt, const GenerateOptions& options,
                          const std::function<bool(const Piece&)>& on_piece);

  /// Called from `on_piece`: the next tokens are these instead of sampled ones.
  void force(std::span<const text::TokenId> tokens);

  /// The tokens the sequence holds.
  [[nodiscard]] std::span<const text::TokenId> tokens() const noexcept { return tokens_; }
  [[nodiscard]] std::int64_t context() const { return evaluator_.context(); }
  [[nodiscard]] const text::Tokenizer& tokenizer() const noexcept { return tokenizer_; }

 private:
  struct Feeding {
    std::span<const float> logits;  // empty when cancelled
    std::int64_t reused = 0;
  };
  Feeding feed(std::span<const text::TokenId> prompt, const GenerateOptions& options);
  std::span<const float> shift(text::TokenId next, const GenerateOptions& options);
  void follow(std::int64_t length);
  struct Run;
  [[nodiscard]] Sampler make_sampler(std::span<const text::TokenId> prompt,
                                     const SamplerSettings& settings) const;
  [[nodiscard]] text::TokenId next_token(Run& run);
  std::optional<FinishReason> step(Run& run);

  Evaluator& evaluator_;
  const text::Tokenizer& tokenizer_;
  std::vector<text::TokenId> suppressed_;  // ids that are never generated
  std::vector<text::TokenId> tokens_;
  std::deque<text::TokenId> forced_;
};

}  // namespace hearth::generate
