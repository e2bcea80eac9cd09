#include "generate/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "generate/sampler.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

using Clock = std::chrono::steady_clock;

bool cancelled(const GenerateOptions& options) {
  return options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed);
}

}  // namespace

std::string_view name(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::kStop:
    case FinishReason::kStopText:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "stop";
}

std::vector<text::TokenId> prompt_tokens(const text::Tokenizer& tokenizer,
                                         const text::Prompt& prompt) {
  std::vector<text::TokenId> ids = tokenizer.encode(prompt, true);
  const text::SpecialTokens& special = tokenizer.special();
  if (special.add_eos && !ids.empty() && ids.back() == special.eos &&
      (ids.size() > 1 || special.bos != special.eos)) {
    ids.pop_back();
  }
  return ids;
}

std::vector<std::int64_t> prompt_boundaries(const text::Tokenizer& tokenizer,
                                            const text::Prompt& prompt,
                                            std::span<const text::TokenId> tokens) {
  std::vector<std::size_t> ends;  // spans up to and with the first and the last piece of data
  for (std::size_t i = 0; i < prompt.spans.size(); ++i) {
    if (prompt.spans[i].origin != text::Origin::kData) continue;
    if (ends.size() == 2) ends.pop_back();
    ends.push_back(i + 1);
  }
  std::vector<std::int64_t> boundaries;
  for (const std::size_t end : ends) {
    text::Prompt beginning;
    beginning.spans.assign(prompt.spans.begin(),
                           prompt.spans.begin() + static_cast<std::ptrdiff_t>(end));
    const std::vector<text::TokenId> ids = prompt_tokens(tokenizer, beginning);
    const auto differ = std::mismatch(ids.begin(), ids.end(), tokens.begin(), tokens.end());
    const std::int64_t length = differ.first - ids.begin();
    if (length > 0 && (boundaries.empty() || boundaries.back() < length))
      boundaries.push_back(length);
  }
  return boundaries;
}

std::vector<text::TokenId> never_generated(const text::Tokenizer& tokenizer,
                                           std::int64_t vocabulary) {
  std::vector<text::TokenId> ids(tokenizer.suppressed().begin(), tokenizer.suppressed().end());
  // Weights are often padded beyond the vocabulary: what has no text cannot be generated.
  for (auto id = static_cast<std::int64_t>(tokenizer.size()); id < vocabulary; ++id)
    ids.push_back(static_cast<text::TokenId>(id));
  return ids;
}

bool ends_text(const text::Tokenizer& tokenizer, text::TokenId id) noexcept {
  return tokenizer.ends_generation(id) || id == tokenizer.special().bos;
}

void check_prompt(std::span<const text::TokenId> prompt, std::int64_t context,
                  const std::function<std::string(std::int64_t)>& advice) {
  if (prompt.empty()) {
    throw Error("the prompt is empty",
                "this model has no token that begins a text: give it some text");
  }
  if (static_cast<std::int64_t>(prompt.size()) > context) {
    throw Error(
        fmt::format("the prompt has {} tokens, but the context holds {}", prompt.size(), context),
        advice ? advice(static_cast<std::int64_t>(prompt.size()))
               : "shorten it or ask for a larger context with --ctx",
        ExitCode::kDoesNotFit);
  }
}

Session::Session(Evaluator& evaluator, const text::Tokenizer& tokenizer)
    : evaluator_(evaluator),
      tokenizer_(tokenizer),
      suppressed_(never_generated(tokenizer, evaluator.vocabulary())) {
  tokens_.reserve(static_cast<std::size_t>(evaluator.context()));
}

/// Makes the mirror of the sequence as long as the sequence is (a failed pass leaves less than was
/// asked for).
void Session::follow(std::int64_t length) {
  tokens_.resize(static_cast<std::size_t>(std::min(length, evaluator_.length())));
}

Session::Feeding Session::feed(std::span<const text::TokenId> prompt,
                               const GenerateOptions& options) {
  follow(static_cast<std::int64_t>(tokens_.size()));
  const Evaluator::Resumed resumed = evaluator_.resume(tokens_, prompt);
  const auto common = static_cast<std::size_t>(resumed.length);
  tokens_.assign(prompt.begin(), prompt.begin() + resumed.length);

  Feeding result;
  result.reused = static_cast<std::int64_t>(common);
  const auto total = static_cast<std::int64_t>(prompt.size() - common);
  const auto report = [&](std::size_t done) {
    if (options.on_prompt_progress)
      options.on_prompt_progress(static_cast<std::int64_t>(done - common), total);
  };
  report(common);
  if (common == prompt.size()) result.logits = resumed.logits;
  const auto rows = static_cast<std::size_t>(evaluator_.batch_rows());
  for (std::size_t begin = common; begin < prompt.size();) {
    if (cancelled(options)) return result;
    const auto stop = static_cast<std::size_t>(
        evaluator_.next_stop(static_cast<std::int64_t>(begin),
                             static_cast<std::int64_t>(prompt.size()), options.boundaries));
    const std::span<const text::TokenId> part = prompt.subspan(begin, std::min(rows, stop - begin));
    begin += part.size();
    const std::span<const float> logits = evaluator_.evaluate(part, begin == prompt.size());
    tokens_.insert(tokens_.end(), part.begin(), part.end());
    if (begin == stop) {
      const bool boundary = std::binary_search(options.boundaries.begin(), options.boundaries.end(),
                                               static_cast<std::int64_t>(begin));
      evaluator_.snapshot(tokens_, logits, boundary);
    }
    if (begin == prompt.size()) result.logits = logits;
    report(begin);
  }
  return result;
}

/// Drops the older half of what is not kept and appends `next`. Empty when cancelled.
std::span<const float> Session::shift(text::TokenId next, const GenerateOptions& options) {
  const auto size = static_cast<std::int64_t>(tokens_.size());
  const std::int64_t keep = std::clamp<std::int64_t>(options.keep, 0, size / 2);
  const std::int64_t dropped = std::max<std::int64_t>(1, (size - keep) / 2);
  std::vector<text::TokenId> rest(tokens_.begin(), tokens_.begin() + keep);
  rest.insert(rest.end(), tokens_.begin() + keep + dropped, tokens_.end());
  rest.push_back(next);
  GenerateOptions quiet = options;
  quiet.on_prompt_progress = nullptr;
  return feed(rest, quiet).logits;
}

void Session::force(std::span<const text::TokenId> tokens) {
  forced_.insert(forced_.end(), tokens.begin(), tokens.end());
}

/// One generation under way.
struct Session::Run {
  const GenerateOptions& options;
  Sampler sampler;
  PieceWriter writer;
  std::span<const float> logits;
  GenerateResult result;
  std::vector<text::TokenId> waiting = {};  // forced tokens that one pass will evaluate
};

Sampler Session::make_sampler(std::span<const text::TokenId> prompt,
                              const SamplerSettings& settings) const {
  SamplerContext context{evaluator_.vocabulary(), evaluator_.context(), suppressed_, {}};
  if (settings.dry_multiplier > 0)
    context.dry_breakers = dry_breaker_tokens(tokenizer_, settings.dry_breakers);
  Sampler sampler(settings, std::move(context));
  for (const text::TokenId token : prompt) sampler.accept(token);
  return sampler;
}

text::TokenId Session::next_token(Run& run) {
  if (forced_.empty()) return run.sampler.sample(run.logits);
  const text::TokenId token = forced_.front();
  forced_.pop_front();
  return token;
}

/// Generates one token, passes its text on and evaluates it, perhaps with those that are forced to
/// follow. Returns why the generation ends here, if it does.
std::optional<FinishReason> Session::step(Run& run) {
  const text::TokenId token = next_token(run);
  run.sampler.accept(token);
  ++run.result.generated_tokens;
  if (ends_text(tokenizer_, token)) return FinishReason::kStop;
  if (!run.writer.push(token, run.result.generated_tokens)) {
    return run.writer.stopped() ? FinishReason::kStopText : FinishReason::kStop;
  }
  if (run.result.generated_tokens == run.options.max_tokens) return FinishReason::kLength;
  if (cancelled(run.options)) return FinishReason::kCancelled;
  const std::int64_t context = evaluator_.context();
  if (const std::int64_t room = context - evaluator_.length(); room > 0) {
    run.waiting.push_back(token);
    // What must follow needs no logits.
    const bool full = std::ssize(run.waiting) == std::min(room, evaluator_.batch_rows());
    if (!forced_.empty() && !full) return std::nullopt;
    run.logits = evaluator_.evaluate(run.waiting, true);
    tokens_.insert(tokens_.end(), run.waiting.begin(), run.waiting.end());
    run.waiting.clear();
    if (evaluator_.snapshot_due()) evaluator_.snapshot(tokens_, run.logits, false);
  } else if (run.options.overflow == Overflow::kShift && context >= 4) {
    run.logits = shift(token, run.options);
    ++run.result.shifts;
  } else {
    return FinishReason::kContext;
  }
  if (run.logits.empty() || cancelled(run.options)) return FinishReason::kCancelled;
  return std::nullopt;
}

GenerateResult Session::generate(std::span<const text::TokenId> prompt,
                                 const GenerateOptions& options,
                                 const std::function<bool(const Piece&)>& on_piece) {
  check_prompt(prompt, evaluator_.context(),
               [this](std::int64_t tokens) { return evaluator_.context_advice(tokens); });
  forced_.clear();
  Run run{options,
          make_sampler(prompt, options.sampler),
          PieceWriter(tokenizer_, options.stops, options.control_pieces, on_piece),
          {},
          {}};
  run.result.seed = run.sampler.seed();
  run.result.prompt_tokens = static_cast<std::int64_t>(prompt.size());

  const Clock::time_point prompt_start = Clock::now();
  const Feeding fed = feed(prompt, options);
  run.logits = fed.logits;
  run.result.reused_tokens = fed.reused;
  run.result.prompt_seconds = seconds_since(prompt_start);

  const Clock::time_point start = Clock::now();
  std::optional<FinishReason> finish;
  if (run.logits.empty()) finish = FinishReason::kCancelled;
  if (!finish.has_value() && options.max_tokens == 0) finish = FinishReason::kLength;
  while (!finish.has_value()) finish = step(run);
  if (!run.writer.stopped()) {
    (void)run.writer.end_text();
    if (run.writer.stopped()) finish = FinishReason::kStopText;
  }
  run.result.finish = *finish;
  run.result.stop_text = run.writer.stop_text();
  run.result.generate_seconds = seconds_since(start);
  return run.result;
}

}  // namespace hearth::generate
