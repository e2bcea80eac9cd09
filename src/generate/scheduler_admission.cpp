// The scheduler's loop: requests come, wait for room, give it up for others, and end.
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include "generate/scheduler_loop.h"

namespace hearth::generate {
namespace {

/// Room for tokens to come that a request must find to be admitted, in cells.
constexpr std::int64_t kRoomToGenerate = state::kPageCells;
/// Tokens that are worth waiting for until somebody else has read them.
constexpr std::int64_t kWorthWaiting = 128;
/// A request's share in the mean time that requests take.
constexpr double kRecent = 0.1;

}  // namespace

void SchedulerLoop::enter(GenerationPointer generation) {
  generation->client = queue_.enter(generation->request().client);
  waiting_.push_back(std::move(generation));
}

void SchedulerLoop::end_those_over() {
  const Clock::time_point now = Clock::now();
  for (std::vector<GenerationPointer>* const list : {&active_, &waiting_}) {
    for (std::size_t i = list->size(); i-- > 0;) {
      if (!(*list)[i]->is_over(now)) continue;
      const GenerationPointer generation = (*list)[i];
      finish(generation, FinishReason::kCancelled);
    }
  }
}

/// Whoever does not fit holds up those after it, so that large requests are not passed by forever.
void SchedulerLoop::admit() {
  while (!waiting_.empty() && static_cast<int>(active_.size()) + fetching_ < limits_.parallel) {
    const GenerationPointer next = next_waiting();
    if (!next || !try_to_admit(next)) return;
  }
}

/// By priority; then those that gave up their place for others; then the client that got least so
/// far; then in the order of coming. Null when all do better to wait.
SchedulerLoop::GenerationPointer SchedulerLoop::next_waiting() const {
  const auto order = [](const Generation& generation) {
    return std::tuple(-generation.request().priority, !generation.was_suspended(),
                      generation.client->time, generation.id());
  };
  const GenerationPointer* best = nullptr;
  for (const GenerationPointer& each : waiting_) {
    if (best != nullptr && order(**best) < order(*each)) continue;
    if (!each->fetching && !is_being_read(*each)) best = &each;
  }
  return best != nullptr ? *best : nullptr;
}

/// Somebody reads much of the same prompt at this moment, or fetches it: it will be remembered, and
/// need not be read twice.
bool SchedulerLoop::is_being_read(const Generation& generation) const {
  if (prefixes_ == nullptr) return false;
  const std::span<const text::TokenId> tokens = generation.tokens();
  // Asked of everyone who waits about everyone who reads, before every pass: no more is compared
  // than must be equal, first what comes after the beginnings that many have in common.
  const auto reads_much = [&](const Generation& other, std::int64_t from) {
    const std::span<const text::TokenId> read = other.tokens();
    const std::int64_t common = from + kWorthWaiting;
    return std::ssize(tokens) >= common && std::ssize(read) >= common &&
           std::equal(tokens.begin() + from, tokens.begin() + common, read.begin() + from) &&
           std::equal(tokens.begin(), tokens.begin() + from, read.begin()) &&
           other.key() == generation.key();
  };
  return std::any_of(active_.begin(), active_.end(),
                     [&](const GenerationPointer& other) {
                       return other->reads() && reads_much(*other, other->read_from());
                     }) ||
         (fetching_ > 0 &&
          std::any_of(waiting_.begin(), waiting_.end(), [&](const GenerationPointer& other) {
            return other->fetching && reads_much(*other, 0);
          }));
}

bool SchedulerLoop::stalled() const {
  return active_.empty() && fetching_ > 0 &&
         (fetching_ >= limits_.parallel || next_waiting() == nullptr);
}

std::optional<SchedulerLoop::Clock::time_point> SchedulerLoop::next_deadline() const {
  std::optional<Clock::time_point> next;
  for (const GenerationPointer& each : waiting_) {
    const std::optional<Clock::time_point>& deadline = each->request().deadline;
    if (deadline && (!next || *deadline < *next)) next = deadline;
  }
  return next;
}

/// Adds what a generation will need before others are thought of: its prompt, and some room.
void SchedulerLoop::add_needs_of(const Generation& generation,
                                 const state::SequenceState* sequence) {
  const auto held = static_cast<std::int64_t>(generation.tokens().size());
  const std::int64_t more = std::clamp<std::int64_t>(generation.may_add(), 0, kRoomToGenerate);
  needs_.add_whole(sequence, held + more);
}

bool SchedulerLoop::try_to_admit(const GenerationPointer& generation) {
  if (!active_.empty() && generation->refused_at == releases_) return false;
  if (begins_to_fetch(*generation)) return true;
  std::vector<float> logits;
  std::unique_ptr<state::SequenceState> sequence = find_beginning(*generation, logits);
  needs_.clear();
  for (const GenerationPointer& each : active_) add_needs_of(*each, each->sequence());
  add_needs_of(*generation, sequence.get());
  if (!make_room(needs_)) {
    sequence.reset();
    logits.clear();
    if (!active_.empty()) {
      generation->refused_at = releases_;
      return false;
    }
    // Nobody will give anything back: what there is must do.
    needs_.clear();
    needs_.add_whole(nullptr, static_cast<std::int64_t>(generation->tokens().size()));
    if (!make_room(needs_)) {
      if (generation->result().generated_tokens > 0) {
        finish(generation, FinishReason::kContext);
      } else {
        fail(generation,
             Error(fmt::format("the KV cache has no room for the prompt of {} tokens",
                               generation->tokens().size()),
                   "shorten it or give the KV cache more memory", ExitCode::kDoesNotFit));
      }
      return true;
    }
  }
  try {
    if (!sequence) sequence = model_.new_sequence();
    const std::int64_t found = sequence->length();
    const bool first_time = !generation->was_suspended();
    generation->begin(std::move(sequence));
    if (first_time) statistics_.reused_tokens += found;
  } catch (const Error& error) {
    fail(generation, error);
    return true;
  }
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), generation));
  generation->last_pass = pass_;
  generation->slot = free_slot();
  active_.push_back(generation);
  if (generation->unevaluated() == 0) known_.push_back({generation, std::move(logits)});
  return true;
}

/// Once for every time that it waits: what the disk has is read while others go on.
bool SchedulerLoop::begins_to_fetch(Generation& generation) {
  if (prefixes_ == nullptr || std::exchange(generation.looked, true)) return false;
  generation.fetching = prefixes_->fetch(generation.id(), generation.key(), generation.tokens());
  if (generation.fetching) ++fetching_;
  return generation.fetching;
}

void SchedulerLoop::end_fetches() {
  if (fetching_ == 0) return;
  for (const std::uint64_t id : prefixes_->fetched()) {
    const auto found =
        std::find_if(waiting_.begin(), waiting_.end(),
                     [id](const GenerationPointer& each) { return each->id() == id; });
    --fetching_;
    if (found == waiting_.end()) continue;  // it has ended meanwhile
    (*found)->fetching = false;
    (*found)->refused_at = -1;
  }
}

std::unique_ptr<state::SequenceState> SchedulerLoop::find_beginning(const Generation& generation,
                                                                    std::vector<float>& logits) {
  if (prefixes_ == nullptr) return nullptr;
  try {
    return prefixes_->find(generation.key(), generation.tokens(), &logits);
  } catch (const std::exception&) {
    return nullptr;  // no room, no memory: the tokens are at hand
  }
}

bool SchedulerLoop::make_room(const PageNeeds& needs) {
  if (needs.are_free()) return true;
  if (prefixes_ == nullptr) return false;
  (void)prefixes_->make_room(needs.pages(), needs.slots());
  return needs.are_free();
}

/// The youngest of the lowest priority waits until others have ended. What it holds is remembered,
/// if there is a memory, or evaluated again.
void SchedulerLoop::suspend_least_important() {
  const auto victim = std::min_element(
      active_.begin(), active_.end(), [](const GenerationPointer& a, const GenerationPointer& b) {
        const int left = a->request().priority, right = b->request().priority;
        return left != right ? left < right : a->id() > b->id();
      });
  const GenerationPointer generation = *victim;
  waiting_.push_back(generation);  // may fail: it must be in one of the lists
  active_.erase(victim);
  remember(*generation, true);
  generation->suspend().reset();
  generation->refused_at = ++releases_;
  generation->looked = false;
  ++statistics_.preempted;
}

void SchedulerLoop::remember(Generation& generation, bool boundary, std::span<const float> logits) {
  if (prefixes_ == nullptr) return;
  const std::int64_t length = generation.sequence()->length();
  if (length == 0) return;
  try {
    prefixes_->keep(generation.key(), generation.tokens().first(static_cast<std::size_t>(length)),
                    *generation.sequence(), logits, boundary);
  } catch (const std::exception&) {
    // It will be evaluated again.
  }
}

void SchedulerLoop::leave(const GenerationPointer& generation, bool worth_keeping) {
  if (generation->sequence() != nullptr) {
    if (worth_keeping) remember(*generation, true);
    generation->suspend().reset();
    ++releases_;
  }
  // It still counts until the disk is done with the pages that are read into.
  if (std::exchange(generation->fetching, false)) prefixes_->forget(generation->id());
  std::erase(active_, generation);
  std::erase(waiting_, generation);
  queue_.leave(generation->client);
}

void SchedulerLoop::finish(GenerationPointer generation, FinishReason reason) {
  leave(generation, true);
  ++(reason == FinishReason::kCancelled ? statistics_.cancelled : statistics_.finished);
  ended_(*generation, false);
  generation->finish(reason);
  ended_(*generation, true);
  if (reason == FinishReason::kCancelled) return;
  const GenerateResult& result = generation->result();
  const double seconds = result.prompt_seconds + result.generate_seconds;
  mean_seconds_ =
      mean_seconds_ == 0 ? seconds : mean_seconds_ + kRecent * (seconds - mean_seconds_);
}

void SchedulerLoop::fail(GenerationPointer generation, const Error& error) {
  leave(generation, false);
  ++statistics_.failed;
  ended_(*generation, false);
  generation->fail(error);
  ended_(*generation, true);
}

void SchedulerLoop::fail_all(const Error& error) {
  // What the pass under way would have told them.
  known_.clear();
  parts_.clear();
  outcomes_.clear();
  while (!active_.empty()) fail(active_.back(), error);
  while (!waiting_.empty()) fail(waiting_.back(), error);
}

int SchedulerLoop::free_slot() const {
  int slot = 0;
  const auto is_it = [&slot](const GenerationPointer& each) { return each->slot == slot; };
  while (std::any_of(active_.begin(), active_.end(), is_it)) ++slot;
  return slot;
}

void SchedulerLoop::list_running(std::vector<RunningRequest>& list) const {
  list.clear();
  for (const GenerationPointer& each : active_) {
    const GenerateResult& result = each->result();
    list.push_back({.id = each->id(),
                    .slot = each->slot,
                    .reads = each->reads(),
                    .prompt_tokens = result.prompt_tokens,
                    .evaluated = each->sequence()->length(),
                    .generated = result.generated_tokens,
                    .remaining = each->request().max_tokens < 0 ? -1 : each->may_add()});
  }
}

SchedulerStatistics SchedulerLoop::statistics() const {
  SchedulerStatistics now = statistics_;
  for (const GenerationPointer& each : active_) ++(each->reads() ? now.prefilling : now.generating);
  now.waiting = static_cast<int>(waiting_.size());
  if (prefixes_ != nullptr) now.prefixes = prefixes_->statistics();
  const state::MemoryPool& pool = model_.pool();
  for (std::size_t g = 0; g < pool.groups().size(); ++g) {
    const spec::CellGroup& group = pool.groups()[g];
    if (group.encoder || group.window > 0) continue;
    now.kv_cells = pool.pages(g) * state::kPageCells;
    now.kv_cells_used = now.kv_cells - pool.free_pages(g) * state::kPageCells;
    break;
  }
  return now;
}

}  // namespace hearth::generate
