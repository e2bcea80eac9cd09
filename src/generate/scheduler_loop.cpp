// The scheduler's loop: passes.
#include "generate/scheduler_loop.h"
#include "support/elapsed.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

namespace hearth::generate {
namespace {

/// Rows of a prompt in a pass that others wait for: before anything is known, and at least.
constexpr std::int64_t kFirstRows = 32, kLeastRows = 8;
/// More threads choose tokens when there are so many logits.
constexpr std::int64_t kLogitsPerThread = 32768;
/// Other models are thought of for so long after they waited.
constexpr std::chrono::milliseconds kContention{1000};

}  // namespace

SchedulerLoop::SchedulerLoop(model::LoadedModel& model, const SchedulerLimits& limits,
                             ComputeTurn* turn, Prefixes* prefixes, Ended ended)
    : model_(model),
      limits_(limits),
      turn_(turn),
      prefixes_(prefixes),
      ended_(std::move(ended)),
      needs_(model.pool()) {
  const auto parallel = static_cast<std::size_t>(limits.parallel);
  rows_.reserve(static_cast<std::size_t>(model.runner().limits().batch_rows));
  active_.reserve(parallel);
  parts_.reserve(parallel);
  prompts_.reserve(parallel);
  choices_.reserve(parallel);
  outcomes_.reserve(parallel);
  known_.reserve(parallel);
  const int threads = std::min(model.setup().threads, limits.parallel);
  if (threads > 1) team_ = std::make_unique<ThreadTeam>(threads);
}

void SchedulerLoop::step() {
  end_those_over();
  end_fetches();
  admit();
  answer_known();
  if (active_.empty()) return;
  build_pass();
  if (!rows_.empty()) run_pass();
}

void SchedulerLoop::rest() {
  if (prefixes_ != nullptr) prefixes_->rest();
}

/// One row of everyone who generates, and pieces of prompts. A pass applies one set of adapters:
/// those of whoever waited longest.
void SchedulerLoop::build_pass() {
  rows_.clear();
  parts_.clear();
  work_ = {};
  const std::int64_t capacity = model_.runner().limits().batch_rows;
  adapters_ = (*std::min_element(active_.begin(), active_.end(),
                                 [](const GenerationPointer& a, const GenerationPointer& b) {
                                   return a->last_pass < b->last_pass;
                                 }))
                  ->request()
                  .adapters;
  while (!make_room_for_decoding(capacity)) {
    if (active_.size() == 1) return finish(active_.front(), FinishReason::kContext);
    suspend_least_important();
  }
  add_decoding(capacity);
  add_prompts(capacity);
  if (!rows_.empty() || active_.empty()) return;
  // Pieces of prompts only, and not even the first row has a page.
  if (active_.size() > 1) return suspend_least_important();
  fail(active_.front(), Error("the KV cache has no room left for the prompt",
                              "give the KV cache more memory", ExitCode::kDoesNotFit));
}

bool SchedulerLoop::make_room_for_decoding(std::int64_t capacity) {
  needs_.clear();
  for (const GenerationPointer& each : active_) {
    if (each->reads() || each->request().adapters != adapters_) continue;
    needs_.add_growth(*each->sequence(), std::min(each->unevaluated(), capacity));
  }
  return make_room(needs_);
}

void SchedulerLoop::add_decoding(std::int64_t capacity) {
  // When a pass has not enough rows for all, they take turns.
  const std::size_t count = active_.size();
  const bool all_fit = static_cast<std::int64_t>(count) <= capacity;
  const std::size_t first = all_fit ? 0 : static_cast<std::size_t>(pass_) % count;
  for (std::size_t i = 0; i < count; ++i) {
    const GenerationPointer& each = active_[(first + i) % count];
    if (each->reads() || each->request().adapters != adapters_) continue;
    // A row for everyone before a second one for anyone.
    const std::int64_t left = capacity - static_cast<std::int64_t>(rows_.size());
    const std::int64_t others =
        all_fit ? static_cast<std::int64_t>(count - i) - 1 : std::int64_t{0};
    const std::int64_t rows = std::min(each->unevaluated(), left - others);
    if (rows <= 0) break;
    work_.decode_rows += rows;
    work_.decode_cells += rows * each->sequence()->length();
    add_part(each, rows);
  }
}

void SchedulerLoop::add_prompts(std::int64_t capacity) {
  prompts_.clear();
  for (const GenerationPointer& each : active_) {
    if (each->reads() && each->request().adapters == adapters_) prompts_.push_back(each);
  }
  const auto order = [](const Generation& generation) {
    return std::tuple(-generation.request().priority, generation.client->time, generation.id());
  };
  std::sort(prompts_.begin(), prompts_.end(),
            [&](const GenerationPointer& a, const GenerationPointer& b) {
              return order(*a) < order(*b);
            });
  for (const GenerationPointer& each : prompts_) {
    const std::int64_t left = capacity - static_cast<std::int64_t>(rows_.size());
    const std::int64_t rows = rows_of_prompt(*each, left);
    if (rows <= 0) break;
    needs_.add_growth(*each->sequence(), rows);
    if (!make_room(needs_)) break;
    const std::int64_t depth = each->sequence()->length();
    work_.prompt_rows += rows;
    work_.prompt_cells += rows * depth + rows * rows / 2;
    add_part(each, rows);
    parts_.back().reads = true;
    parts_.back().worth_keeping = depth + rows == stop_of_piece(*each);
  }
  prompts_.clear();
}

/// Rows of a prompt that the pass takes besides what it has. As many as fit when nobody waits;
/// else as many as are done in time.
std::int64_t SchedulerLoop::rows_of_prompt(const Generation& generation,
                                           std::int64_t capacity) const {
  const std::int64_t depth = generation.sequence()->length();
  const std::int64_t rows = std::min(capacity, stop_of_piece(generation) - depth);
  const bool contended = Clock::now() - contended_ < kContention;
  if (work_.decode_rows == 0 && !contended) return rows;
  if (limits_.prompt_rows > 0) return std::min(rows, limits_.prompt_rows - work_.prompt_rows);

  // Other models' passes come in between.
  const double target =
      std::chrono::duration<double>(limits_.target_gap).count() / (contended ? 2 : 1);
  const std::int64_t most = std::max(kFirstRows, 2 * mixed_rows_) - work_.prompt_rows;
  std::int64_t in_time = std::min(most, timing_.rows_within(work_, depth, target));
  if (in_time > kLeastRows) in_time -= in_time % kLeastRows;
  // Even when tokens alone take longer than that, prompts go on.
  if (work_.prompt_rows == 0) in_time = std::max(in_time, kLeastRows);
  return std::min(rows, in_time);
}

std::int64_t SchedulerLoop::stop_of_piece(const Generation& generation) const {
  const auto total = static_cast<std::int64_t>(generation.tokens().size());
  if (prefixes_ == nullptr) return total;
  const std::int64_t begin = generation.sequence()->length();
  return std::clamp(prefixes_->next_stop(begin, total, generation.request().boundaries), begin + 1,
                    total);
}

void SchedulerLoop::add_part(const GenerationPointer& generation, std::int64_t rows) {
  Part part;
  part.generation = generation;
  part.begin = rows_.size();
  part.rows = static_cast<std::size_t>(rows);
  part.wants_logits = rows == generation->unevaluated();
  const auto begin = static_cast<std::size_t>(generation->sequence()->length());
  for (const text::TokenId token : generation->tokens().subspan(begin, part.rows))
    rows_.push_back({.sequence = generation->sequence(), .token = token});
  rows_.back().wants_logits = part.wants_logits;
  parts_.push_back(std::move(part));
}

void SchedulerLoop::run_pass() {
  ++pass_;
  double seconds = 0;
  {
    std::unique_lock<ComputeTurn> turn;
    if (turn_ != nullptr) turn = std::unique_lock(*turn_);
    const Clock::time_point start = Clock::now();
    evaluate(parts_);
    seconds = seconds_since(start);
    if (turn_ != nullptr && turn_->waiting() > 0) contended_ = Clock::now();
  }
  account(seconds);
  go_on();
  parts_.clear();
}

/// What fails together is tried apart, so that only those end that are concerned.
void SchedulerLoop::evaluate(std::span<Part> parts) {
  std::size_t rows = 0;
  for (const Part& part : parts) rows += part.rows;
  const auto batch = std::span<const model::BatchRow>(rows_).subspan(parts.front().begin, rows);
  std::optional<Error> problem;
  std::span<const float> logits;
  try {
    logits = model_.run(batch, adapters_.get());
  } catch (const Error& error) {
    problem = error;
  } catch (const std::exception& error) {
    problem = Error(error.what());
  }
  if (!problem.has_value()) return choose(parts, logits);
  if (parts.size() > 1) {
    for (std::size_t i = 0; i < parts.size(); ++i) evaluate(parts.subspan(i, 1));
    for (Part& part : parts) part.logits = {};  // the next pass took their place
    return;
  }
  parts.front().failed = true;
  outcomes_.push_back({parts.front().generation, std::nullopt, std::move(problem)});
}

void SchedulerLoop::choose(std::span<Part> parts, std::span<const float> logits) {
  const auto width = static_cast<std::size_t>(model_.spec().logits);
  choices_.clear();
  for (Part& part : parts) {
    if (!part.wants_logits) continue;
    part.logits = logits.first(width);
    Outcome outcome{part.generation, std::nullopt, std::nullopt};
    try {
      outcome.finish = part.generation->prepare();
      if (!outcome.finish.has_value()) choices_.push_back({part.generation.get(), part.logits});
    } catch (const Error& error) {
      outcome.error = error;
    } catch (const std::exception& error) {
      outcome.error = Error(error.what());
    }
    outcomes_.push_back(std::move(outcome));
    logits = logits.subspan(width);
  }
  const auto count = static_cast<std::int64_t>(choices_.size());
  const auto choose_some = [this](std::int64_t begin, std::int64_t end, int) noexcept {
    for (std::int64_t i = begin; i < end; ++i) {
      const Choice& choice = choices_[static_cast<std::size_t>(i)];
      choice.generation->choose(choice.logits);
    }
  };
  if (team_ && count * model_.spec().logits >= kLogitsPerThread) {
    team_->for_chunks(count, 1, choose_some);
  } else {
    choose_some(0, count, 0);
  }
}

void SchedulerLoop::account(double seconds) {
  timing_.add(work_, seconds);
  if (work_.decode_rows > 0 && work_.prompt_rows > 0) mixed_rows_ = work_.prompt_rows;
  ++statistics_.passes;
  statistics_.rows += work_.decode_rows + work_.prompt_rows;
  statistics_.prompt_tokens += work_.prompt_rows;
  (work_.prompt_rows > work_.decode_rows ? statistics_.prompt_seconds
                                         : statistics_.generate_seconds) += seconds;
  for (const Part& part : parts_) {
    part.generation->last_pass = pass_;
    queue_.charge(part.generation->client, static_cast<std::int64_t>(part.rows));
  }
}

/// After the pass: remembers, and lets everyone say what was chosen. The logits are still there.
void SchedulerLoop::go_on() {
  for (const Part& part : parts_) {
    Generation& generation = *part.generation;
    if (part.failed) continue;
    const std::int64_t length = generation.sequence()->length();
    if (part.reads && !part.wants_logits) generation.read_further();
    const std::vector<std::int64_t>& boundaries = generation.request().boundaries;
    if (part.worth_keeping) {
      remember(generation, std::binary_search(boundaries.begin(), boundaries.end(), length),
               part.logits);
    } else if (!part.reads && prefixes_ != nullptr && prefixes_->snapshot_due(length)) {
      remember(generation, false);
    }
  }
  settle();
}

/// Those whose prompts were evaluated before choose their first token without a pass.
void SchedulerLoop::answer_known() {
  for (Known& each : known_) {
    Part part;
    part.generation = std::move(each.generation);
    part.wants_logits = true;
    choose({&part, 1}, each.logits);
  }
  known_.clear();
  settle();
}

/// Lets everyone say what was chosen.
void SchedulerLoop::settle() {
  for (Outcome& outcome : outcomes_) {
    const std::int64_t before = outcome.generation->result().generated_tokens;
    try {
      if (!outcome.error.has_value() && !outcome.finish.has_value())
        outcome.finish = outcome.generation->advance();
    } catch (const Error& error) {
      outcome.error = error;
    } catch (const std::exception& error) {
      outcome.error = Error(error.what());
    }
    statistics_.generated_tokens += outcome.generation->result().generated_tokens - before;
    if (outcome.error.has_value()) {
      fail(outcome.generation, *outcome.error);
    } else if (outcome.finish.has_value()) {
      finish(outcome.generation, *outcome.finish);
    }
  }
  outcomes_.clear();
}

}  // namespace hearth::generate
