#include "generate/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace hearth::generate {
namespace {

/// Forced tokens that wait for one pass: more of them are evaluated in several.
constexpr std::int64_t kForcedRows = 64;
/// More likeliest tokens than any protocol lets people ask for.
constexpr int kMostProbabilities = 1000;

double seconds_between(Generation::Clock::time_point from, Generation::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void check(const GenerateRequest& request, const GenerationContext& common) {
  check_prompt(request.prompt, common.context);
  for (const text::TokenId token : request.prompt) {
    if (token >= 0 && token < common.vocabulary) continue;
    throw Error(fmt::format("token id {} of the prompt is outside the vocabulary of {}", token,
                            common.vocabulary),
                "use ids of this model's tokenizer", ExitCode::kUsage);
  }
  validate(request.sampler);
  const int probabilities = request.top_log_probabilities.value_or(0);
  if (probabilities < 0 || probabilities > kMostProbabilities) {
    throw Error(fmt::format("log-probabilities of {} tokens cannot be given", probabilities),
                fmt::format("ask for 0 to {}", kMostProbabilities), ExitCode::kUsage);
  }
}

}  // namespace

Generation::Generation(Id id, GenerateRequest request, std::shared_ptr<Listener> listener,
                       const GenerationContext& common)
    : id_(id),
      request_(std::move(request)),
      listener_(std::move(listener)),
      common_(common),
      writer_(common.tokenizer, request_.stops, request_.control_pieces,
              [this](const Piece& piece) { return tell(piece); }) {
  check(request_, common_);
  if (request_.sampler.dry_multiplier > 0)
    dry_breakers_ = dry_breaker_tokens(common_.tokenizer, request_.sampler.dry_breakers);
  tokens_ = std::move(request_.prompt);
  result_.prompt_tokens = static_cast<std::int64_t>(tokens_.size());
  if (wants_probabilities())
    top_.reserve(static_cast<std::size_t>(*request_.top_log_probabilities) + 1);
}

bool Generation::is_over(Clock::time_point now) const noexcept {
  return cancelled_.load(std::memory_order_relaxed) ||
         (request_.deadline.has_value() && now >= *request_.deadline);
}

std::int64_t Generation::may_add() const noexcept {
  const std::int64_t room = common_.context - static_cast<std::int64_t>(tokens_.size());
  if (request_.max_tokens < 0) return room;
  return std::min(room, request_.max_tokens - result_.generated_tokens);
}

state::PrefixKey Generation::key() const {
  const std::uint64_t adapters = request_.adapters ? request_.adapters->fingerprint() : 0;
  return {.owner = request_.owner, .adapters = adapters, .inputs = 0};
}

/// Only now, and not when the request came: its tables are megabytes, and hundreds may wait.
void Generation::make_sampler() {
  sampler_.emplace(request_.sampler, SamplerContext{common_.vocabulary, common_.context,
                                                    common_.suppressed, std::move(dry_breakers_)});
  for (const text::TokenId token : tokens_) sampler_->accept(token);
  result_.seed = sampler_->seed();
}

void Generation::begin(std::unique_ptr<state::SequenceState> sequence) {
  sequence_ = std::move(sequence);
  read_from_ = sequence_->length();
  if (!sampler_.has_value()) {
    make_sampler();
    result_.reused_tokens = read_from_;
    started_ = Clock::now();
    read_further();
  }
}

std::unique_ptr<state::SequenceState> Generation::suspend() {
  reads_ = true;
  was_suspended_ = true;
  return std::move(sequence_);
}

void Generation::read_further() {
  if (result_.generated_tokens > 0) return;
  try {
    listener_->prompt_progress(std::min(sequence_->length(), result_.prompt_tokens),
                               result_.prompt_tokens);
  } catch (...) {
    cancel();
  }
}

std::optional<FinishReason> Generation::prepare() {
  if (result_.generated_tokens == 0) {
    read_further();
    read_ = Clock::now();
    result_.prompt_seconds = seconds_between(started_, read_);
  }
  reads_ = false;
  if (request_.max_tokens == 0) return FinishReason::kLength;
  allowed_ = {};
  if (forced_.empty() && request_.constraint) allowed_ = request_.constraint->allowed();
  return std::nullopt;
}

void Generation::choose(std::span<const float> logits) noexcept {
  try {
    if (forced_.empty()) {
      chosen_ = sampler_->sample(logits, allowed_);
    } else {
      chosen_ = forced_.front();
      forced_.pop_front();
    }
    if (wants_probabilities()) note_choice(logits);
  } catch (const Error& error) {
    problem_ = error;
  } catch (const std::exception& error) {
    problem_ = Error(error.what());
  }
}

void Generation::note_choice(std::span<const float> logits) {
  const float log_sum = log_sum_exp(logits);
  log_probability_ = logits[static_cast<std::size_t>(chosen_)] - log_sum;
  likeliest_tokens(logits, log_sum, static_cast<std::size_t>(*request_.top_log_probabilities),
                   top_);
}

std::optional<FinishReason> Generation::advance() {
  if (problem_.has_value()) throw *std::exchange(problem_, std::nullopt);
  std::optional<FinishReason> finish = announce(chosen_);
  // What must follow needs no logits, unless someone wants to know how likely it was.
  while (!finish.has_value() && !forced_.empty() && !wants_probabilities() &&
         unevaluated() < kForcedRows) {
    const text::TokenId token = forced_.front();
    forced_.pop_front();
    finish = announce(token);
  }
  return finish;
}

/// The steps are those of Session::step().
std::optional<FinishReason> Generation::announce(text::TokenId token) {
  sampler_->accept(token);
  ++result_.generated_tokens;
  if (ends_text(common_.tokenizer, token)) return FinishReason::kStop;
  tokens_.push_back(token);
  if (request_.constraint) request_.constraint->accept(token);

  announced_ = token;
  told_ = false;
  bool go_on = writer_.push(token, result_.generated_tokens);
  if (!told_ && !tell(Piece{{}, false, result_.generated_tokens})) go_on = false;
  announced_ = -1;
  if (invalid_force_) throw Error("a token that was to come next does not exist");
  if (!go_on) return writer_.stopped() ? FinishReason::kStopText : FinishReason::kStop;
  if (result_.generated_tokens == request_.max_tokens) return FinishReason::kLength;
  if (is_over(Clock::now())) return FinishReason::kCancelled;
  if (static_cast<std::int64_t>(tokens_.size()) > common_.context) return FinishReason::kContext;
  if (forced_.empty() && request_.constraint) {
    force(request_.constraint->forced());
    jumps_ahead_ = true;
  }
  return std::nullopt;
}

void Generation::force(std::span<const text::TokenId> tokens) {
  for (const text::TokenId token : tokens) {
    if (token < 0 || token >= common_.vocabulary ||
        token >= static_cast<std::int64_t>(common_.tokenizer.size())) {
      invalid_force_ = true;
      return;
    }
    forced_.push_back(token);
  }
}

/// Called by the writer, never with an empty text, and by announce() for tokens without one.
bool Generation::tell(const Piece& piece) noexcept {
  GeneratedPiece told{piece, -1, std::nullopt, {}};
  // Text that a control token ends belongs to tokens before it.
  const bool is_held_back =
      announced_ < 0 || (!piece.text.empty() && !piece.control &&
                         common_.tokenizer.type(announced_) == text::TokenType::kControl);
  if (!is_held_back) {
    told.token = announced_;
    told.log_probability = log_probability_;
    told.top = top_;
    told_ = true;
  }
  try {
    const Verdict verdict = listener_->piece(told);
    if (!verdict.force.empty()) {
      if (std::exchange(jumps_ahead_, false)) forced_.clear();
      force(verdict.force);
    }
    return verdict.go_on;
  } catch (...) {
    cancel();
    return false;
  }
}

void Generation::finish(FinishReason reason) noexcept {
  try {
    if (!writer_.stopped()) {
      (void)writer_.end_text();
      if (writer_.stopped()) reason = FinishReason::kStopText;
    }
    const Clock::time_point now = Clock::now();
    if (sampler_.has_value() && read_ == Clock::time_point{})
      result_.prompt_seconds = seconds_between(started_, now);
    if (read_ != Clock::time_point{}) result_.generate_seconds = seconds_between(read_, now);
    result_.finish = reason;
    result_.stop_text = writer_.stop_text();
    listener_->finished(result_);
  } catch (...) {
    // Nobody is left who could be told.
  }
  listener_.reset();
}

void Generation::fail(const Error& error) noexcept {
  try {
    listener_->failed(error);
  } catch (...) {
    // Nobody is left who could be told.
  }
  listener_.reset();
}

}  // namespace hearth::generate
