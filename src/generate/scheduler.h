// The scheduler: many generations of one model at once. Each pass takes one row of every sequence
// that is generating, and fills what is left with a piece of a waiting prompt, so that a long
// prompt never freezes the others (chunked prefill: Agrawal et al. 2023, arXiv:2308.16369;
// continuous batching: Yu et al., Orca, OSDI 2022).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/prefixes.h"
#include "generate/sampler_settings.h"
#include "generate/session.h"
#include "generate/token_constraint.h"
#include "generate/token_probabilities.h"
#include "model/loaded_model.h"
#include "support/error.h"
#include "text/tokenizer.h"

namespace hearth::generate {

/// What a listener is told of every token that is part of the text, in order: once per token (the
/// one that ends the generation is no part of it), and once more for text that was held back and
/// turns out to end here.
struct GeneratedPiece {
  Piece piece;  ///< its text may be empty: bytes of a character or a stop string are held back
  text::TokenId token = 0;  ///< -1: text that was held back, of tokens announced before
  std::optional<float> log_probability;        ///< when asked for
  std::span<const TokenProbability> top = {};  ///< likeliest first; as many as asked for
};

/// What a listener answers.
struct Verdict {
  bool go_on = true;
  /// The next tokens are these instead of sampled ones (the end of a reasoning budget).
  std::vector<text::TokenId> force = {};
};

/// Receives one generation's events, on the scheduler's thread: must not block and must not throw
/// (what it throws cancels the generation). It may call submit() and cancel(). After finished() or
/// failed() nothing follows.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Tokens of the prompt that are evaluated or were found evaluated, of `total`.
  virtual void prompt_progress(std::int64_t /*done*/, std::int64_t /*total*/) {}
  virtual Verdict piece(const GeneratedPiece& piece) = 0;
  virtual void finished(const GenerateResult& result) = 0;
  /// One sentence, as Error::what() and hint().
  virtual void failed(const Error& error) = 0;
};

struct GenerateRequest {
  std::vector<text::TokenId> prompt;  ///< at least one token
  SamplerSettings sampler;
  std::int64_t max_tokens = -1;
  std::vector<std::string> stops;
  bool control_pieces = false;
  /// Log-probabilities of the chosen tokens, and of so many likeliest ones. Nothing: none.
  std::optional<int> top_log_probabilities;
  std::unique_ptr<TokenConstraint> constraint;  ///< null: anything may be said
  std::shared_ptr<const model::AdapterSet> adapters;

  /// Clients share the machine equally, however many requests each has. Empty: a client of its
  /// own.
  std::string client;
  /// Higher ones first; requests of lower priority wait (they are not interrupted).
  int priority = 0;
  /// When it passes, the generation ends with what it has (FinishReason::kCancelled).
  std::optional<std::chrono::steady_clock::time_point> deadline;
  /// Whose remembered prefixes may be used and are added to: an API key's name. Never another's.
  std::string owner;
  /// What this prompt has in common with later ones ends here, in tokens (the system prompt, the
  /// last turn): places worth a snapshot. Ascending; may be empty.
  std::vector<std::int64_t> boundaries;
};

struct SchedulerLimits {
  /// Sequences that are evaluated at once; at most setup().sequences of the model.
  int parallel = 4;
  /// Requests that may wait besides those `parallel`; then submit() throws QueueFull.
  int queue = 512;
  /// Rows of prompts in a pass while others generate. 0: chosen so that a pass stays near
  /// `target_gap`, by what passes took so far.
  std::int64_t prompt_rows = 0;
  std::chrono::milliseconds target_gap{150};
};

/// Thrown by submit() when too many requests wait already, or no more are taken: HTTP 429 or 503.
class QueueFull : public Error {
 public:
  QueueFull(const std::string& message, std::chrono::seconds retry_after)
      : Error(message, "try again later"), retry_after_(retry_after) {}
  [[nodiscard]] std::chrono::seconds retry_after() const noexcept { return retry_after_; }

 private:
  std::chrono::seconds retry_after_;
};

/// Counters since the start and gauges of now.
struct SchedulerStatistics {
  int generating = 0, prefilling = 0, waiting = 0;
  std::int64_t prompt_tokens = 0, reused_tokens = 0, generated_tokens = 0;
  std::int64_t passes = 0, rows = 0;  ///< rows / passes: the mean batch
  std::int64_t finished = 0, cancelled = 0, failed = 0, refused = 0, preempted = 0;
  std::int64_t kv_cells_used = 0, kv_cells = 0;
  double prompt_seconds = 0, generate_seconds = 0;  ///< of passes that did mostly that
  state::PrefixCacheStatistics prefixes{};
};

/// A request that has a sequence: how far it is, and nothing of what it says.
struct RunningRequest {
  std::uint64_t id = 0;
  int slot = 0;        ///< 0 to SchedulerLimits::parallel - 1, its own while it runs
  bool reads = false;  ///< its prompt (or, after it had given up its place, what it had said)
  std::int64_t prompt_tokens = 0;
  std::int64_t evaluated = 0;  ///< tokens that its sequence holds
  std::int64_t generated = 0;
  std::int64_t remaining = -1;  ///< tokens it may still generate; -1: no limit but the context
};

/// Passes of several models take turns, so that they never oversubscribe the cores: a lock that
/// is given out in the order of asking.
class ComputeTurn;

/// What LoadedModel::load needs to know for a Scheduler: logits of every sequence in each pass.
[[nodiscard]] model::Outputs scheduler_outputs(const spec::Setup& setup);

class Scheduler {
 public:
  /// `model` (loaded with scheduler_outputs()) and `tokenizer` must outlive the scheduler. `turn`
  /// and `prefixes` (generate/prefixes.h) may be null. Starts its thread. Throws Error when the
  /// model does not continue texts, or was loaded without scheduler_outputs().
  Scheduler(model::LoadedModel& model, const text::Tokenizer& tokenizer,
            const SchedulerLimits& limits, std::shared_ptr<ComputeTurn> turn = nullptr,
            std::unique_ptr<Prefixes> prefixes = nullptr);
  /// Cancels what is left.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  using RequestId = std::uint64_t;
  /// Throws Error when the request can never be served (a prompt longer than the context: the
  /// numbers, exit code 3; settings out of range), QueueFull when too many wait. The listener is
  /// held until the end.
  RequestId submit(GenerateRequest request, std::shared_ptr<Listener> listener);
  /// Ends it soon with FinishReason::kCancelled; unknown ids are ignored. Any thread.
  void cancel(RequestId id) noexcept;

  /// Of those that run and wait; does not wait for their ends.
  void cancel_all() noexcept;

  /// No new requests; waits for those that run, then cancels them when `patience` is over.
  void drain(std::chrono::milliseconds patience);

  [[nodiscard]] SchedulerStatistics statistics() const;
  /// As of the last pass, by slot.
  [[nodiscard]] std::vector<RunningRequest> running() const;
  [[nodiscard]] const SchedulerLimits& limits() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::generate
