// One request under way: its tokens, what it remembers, how it chooses what comes next and whom it
// tells. The scheduler's loop decides when it gets rows of a pass.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "generate/fair_queue.h"
#include "generate/piece_writer.h"
#include "generate/sampler.h"
#include "generate/scheduler.h"
#include "state/prefix_cache.h"

namespace hearth::generate {

/// What generations of a model have in common. Lives as long as the scheduler.
struct GenerationContext {
  const text::Tokenizer& tokenizer;
  std::int64_t vocabulary = 0, context = 0;
  std::vector<text::TokenId> suppressed;
};

class Generation {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = std::uint64_t;

  /// Throws Error for what can never be generated: see Scheduler::submit().
  Generation(Id id, GenerateRequest request, std::shared_ptr<Listener> listener,
             const GenerationContext& common);
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  [[nodiscard]] Id id() const noexcept { return id_; }
  [[nodiscard]] const GenerateRequest& request() const noexcept { return request_; }

  /// Any thread.
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  /// Cancelled, or its deadline has passed.
  [[nodiscard]] bool is_over(Clock::time_point now) const noexcept;

  // ---- The scheduler's thread only --------------------------------------------------------------

  /// Gives it a sequence that holds a beginning of tokens(). When that is all of them, the logits
  /// after the last one are known, and prepare() follows.
  void begin(std::unique_ptr<state::SequenceState> sequence);
  /// Takes the sequence away: its tokens will be evaluated again.
  std::unique_ptr<state::SequenceState> suspend();

  /// The prompt, and what was generated so far without what ended it.
  [[nodiscard]] std::span<const text::TokenId> tokens() const noexcept { return tokens_; }
  [[nodiscard]] state::SequenceState* sequence() const noexcept { return sequence_.get(); }
  /// Tokens that the sequence does not hold yet.
  [[nodiscard]] std::int64_t unevaluated() const noexcept {
    return static_cast<std::int64_t>(tokens_.size()) - sequence_->length();
  }
  /// Its prompt is read, or (after suspend()) what it had said before.
  [[nodiscard]] bool reads() const noexcept { return reads_; }
  /// Tokens that were found evaluated when it began.
  [[nodiscard]] std::int64_t read_from() const noexcept { return read_from_; }
  [[nodiscard]] bool was_suspended() const noexcept { return was_suspended_; }
  /// Tokens that it may still generate, as far as is known.
  [[nodiscard]] std::int64_t may_add() const noexcept;
  /// Under which what it holds is remembered.
  [[nodiscard]] state::PrefixKey key() const;

  /// Some of its rows were evaluated, not the last: tells of the progress.
  void read_further();

  // After a pass that gave its logits, in this order:

  /// Prepares the choice. Returns why the generation ends without one, if it does.
  [[nodiscard]] std::optional<FinishReason> prepare();
  /// Chooses a token. Generations may do so in parallel. What fails is thrown by advance().
  void choose(std::span<const float> logits) noexcept;
  /// Passes on what was chosen, and what must follow it. Returns why the generation ends, if it
  /// does. Throws Error.
  [[nodiscard]] std::optional<FinishReason> advance();

  /// Tells the listener; it is then not called any more.
  void finish(FinishReason reason) noexcept;
  void fail(const Error& error) noexcept;
  [[nodiscard]] const GenerateResult& result() const noexcept { return result_; }

  // Notes of the scheduler's loop.
  FairQueue::Handle client;
  std::int64_t last_pass = 0;
  int slot = 0;                  // while it has a sequence
  std::int64_t refused_at = -1;  // LoopState::releases when there was no room for it
  bool looked = false;           // more than memory has was asked for since it began to wait
  bool fetching = false;         // and is on its way

 private:
  [[nodiscard]] bool wants_probabilities() const noexcept {
    return request_.top_log_probabilities.has_value();
  }
  void make_sampler();
  std::optional<FinishReason> announce(text::TokenId token);
  bool tell(const Piece& piece) noexcept;
  void force(std::span<const text::TokenId> tokens);
  void note_choice(std::span<const float> logits);

  Id id_;
  GenerateRequest request_;
  std::shared_ptr<Listener> listener_;
  const GenerationContext& common_;
  std::vector<text::TokenId> dry_breakers_;
  std::atomic<bool> cancelled_{false};

  std::vector<text::TokenId> tokens_;
  std::unique_ptr<state::SequenceState> sequence_;
  bool reads_ = true, was_suspended_ = false;
  std::int64_t read_from_ = 0;
  std::optional<Sampler> sampler_;
  PieceWriter writer_;
  std::deque<text::TokenId> forced_;
  bool jumps_ahead_ = false;  // forced_ is what the constraint said
  bool invalid_force_ = false;

  // The choice under way.
  std::span<const std::uint64_t> allowed_;
  text::TokenId chosen_ = 0;
  std::optional<float> log_probability_;
  std::vector<TokenProbability> top_;
  std::optional<Error> problem_;
  // The token being announced.
  text::TokenId announced_ = -1;
  bool told_ = false;

  GenerateResult result_;
  Clock::time_point started_, read_;
};

}  // namespace hearth::generate
