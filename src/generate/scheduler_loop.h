// What the scheduler's thread does: admits requests, packs rows into passes, lets every generation
// choose its next token, and makes room when KV pages run out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "generate/compute_turn.h"
#include "generate/fair_queue.h"
#include "generate/generation.h"
#include "generate/page_needs.h"
#include "generate/pass_timing.h"
#include "generate/prefixes.h"
#include "generate/scheduler.h"
#include "model/loaded_model.h"
#include "support/thread_team.h"

namespace hearth::generate {

/// Used by one thread.
class SchedulerLoop {
 public:
  using Clock = Generation::Clock;
  using GenerationPointer = std::shared_ptr<Generation>;
  /// Called for every generation that ends, before its listener is told and after.
  using Ended = std::function<void(const Generation&, bool told)>;

  SchedulerLoop(model::LoadedModel& model, const SchedulerLimits& limits, ComputeTurn* turn,
                Prefixes* prefixes, Ended ended);

  void enter(GenerationPointer generation);
  [[nodiscard]] bool idle() const noexcept { return waiting_.empty() && active_.empty(); }
  /// Nothing can be done before the disk, a new request or the end of somebody's patience.
  [[nodiscard]] bool stalled() const;
  /// Of those who wait; nothing when they all have time.
  [[nodiscard]] std::optional<Clock::time_point> next_deadline() const;
  /// One round: ends what is over, admits what has room, and makes one pass.
  void step();
  /// Nobody waits: what takes time can be done now.
  void rest();
  /// Something went wrong that concerns everyone.
  void fail_all(const Error& error);

  /// Of now; finished, cancelled and so on included.
  [[nodiscard]] SchedulerStatistics statistics() const;
  /// What has a sequence now, in no order.
  void list_running(std::vector<RunningRequest>& list) const;
  /// Mean time that a generation took from its admission to its end; 0: none has ended.
  [[nodiscard]] double mean_seconds() const noexcept { return mean_seconds_; }

 private:
  /// A generation's rows in the pass.
  struct Part {
    GenerationPointer generation;
    std::size_t begin = 0, rows = 0;
    bool wants_logits = false;
    bool reads = false;  // a piece of a prompt
    bool worth_keeping = false;
    bool failed = false;
    std::span<const float> logits{};  // of its last row; empty: not at hand any more
  };
  /// A generation whose whole prompt was evaluated before, and what came of it.
  struct Known {
    GenerationPointer generation;
    std::vector<float> logits;
  };
  /// What a generation does after the pass.
  struct Outcome {
    GenerationPointer generation;
    std::optional<FinishReason> finish;
    std::optional<Error> error;
  };

  // Requests (scheduler_admission.cpp)
  void end_those_over();
  void admit();
  [[nodiscard]] GenerationPointer next_waiting() const;
  [[nodiscard]] bool is_being_read(const Generation& generation) const;
  /// Returns false when it must wait.
  [[nodiscard]] bool try_to_admit(const GenerationPointer& generation);
  [[nodiscard]] bool begins_to_fetch(Generation& generation);
  void end_fetches();
  [[nodiscard]] std::unique_ptr<state::SequenceState> find_beginning(const Generation& generation,
                                                                     std::vector<float>& logits);
  [[nodiscard]] bool make_room(const PageNeeds& needs);
  [[nodiscard]] int free_slot() const;
  void add_needs_of(const Generation& generation, const state::SequenceState* sequence);
  void suspend_least_important();
  /// By value: leaving takes the generation out of the list that the caller may have found it in.
  void finish(GenerationPointer generation, FinishReason reason);
  void fail(GenerationPointer generation, const Error& error);
  void leave(const GenerationPointer& generation, bool worth_keeping);
  void remember(Generation& generation, bool boundary, std::span<const float> logits = {});

  // Passes (scheduler_loop.cpp)
  void build_pass();
  [[nodiscard]] bool make_room_for_decoding(std::int64_t capacity);
  void add_decoding(std::int64_t capacity);
  void add_prompts(std::int64_t capacity);
  [[nodiscard]] std::int64_t rows_of_prompt(const Generation& generation,
                                            std::int64_t capacity) const;
  [[nodiscard]] std::int64_t stop_of_piece(const Generation& generation) const;
  void add_part(const GenerationPointer& generation, std::int64_t rows);
  void run_pass();
  void evaluate(std::span<Part> parts);
  void choose(std::span<Part> parts, std::span<const float> logits);
  void account(double seconds);
  void go_on();
  void answer_known();
  void settle();

  model::LoadedModel& model_;
  SchedulerLimits limits_;
  ComputeTurn* turn_;
  Prefixes* prefixes_;
  Ended ended_;
  FairQueue queue_;
  std::vector<GenerationPointer> waiting_, active_;
  int fetching_ = 0;  // of those that wait, and of those that ended before their fetch did
  std::vector<Known> known_;

  // The pass under way; kept, so that passes allocate nothing.
  std::shared_ptr<const model::AdapterSet> adapters_;
  std::vector<model::BatchRow> rows_;
  std::vector<Part> parts_;
  std::vector<GenerationPointer> prompts_;
  struct Choice {
    Generation* generation;
    std::span<const float> logits;
  };
  std::vector<Choice> choices_;
  std::vector<Outcome> outcomes_;
  PageNeeds needs_;
  PassWork work_;
  std::unique_ptr<ThreadTeam> team_;  // for choosing tokens; null while one thread is enough

  PassTiming timing_;
  std::int64_t pass_ = 0;
  std::int64_t mixed_rows_ = 0;  // rows of prompts in the last pass that others waited for
  std::int64_t releases_ = 0;    // how often a sequence was given back
  Clock::time_point contended_{};
  double mean_seconds_ = 0;
  SchedulerStatistics statistics_;
};

}  // namespace hearth::generate
