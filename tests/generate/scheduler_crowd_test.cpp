// Many requests at once: fairness, scarce KV pages, remembered prefixes, failures in company, and a
// storm of cancellations.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <new>
#include <random>
#include <thread>

#include "generate/cached_prefixes.h"
#include "generate/compute_turn.h"
#include "scheduler_fixture.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using namespace std::chrono_literals;

/// Remembers at most a few sequences, and notes what it is asked.
class FewPrefixes final : public generate::Prefixes {
 public:
  struct Log {
    std::vector<std::pair<std::int64_t, bool>> kept;  // lengths, and whether at a boundary
    std::int64_t found = 0;
    int evicted = 0;
    std::atomic<int> rests{0};
  };
  explicit FewPrefixes(Log& log, std::int64_t stop_every = 0)
      : log_(log), stop_every_(stop_every) {}

  std::unique_ptr<state::SequenceState> find(const state::PrefixKey& key,
                                             std::span<const std::int32_t> tokens,
                                             std::vector<float>*) override {
    const Entry* best = nullptr;
    std::int64_t longest = 0;
    for (const Entry& entry : entries_) {
      if (!(entry.key == key)) continue;
      const auto common =
          std::mismatch(tokens.begin(), tokens.end(), entry.tokens.begin(), entry.tokens.end());
      const auto length = std::min<std::int64_t>(common.first - tokens.begin(),
                                                 static_cast<std::int64_t>(tokens.size()) - 1);
      if (length <= longest) continue;
      longest = length;
      best = &entry;
    }
    if (best == nullptr) return nullptr;
    auto sequence = best->state->fork();
    log_.found += sequence->truncate(longest);
    return sequence;
  }
  void keep(const state::PrefixKey& key, std::span<const std::int32_t> tokens,
            const state::SequenceState& sequence, std::span<const float>, bool boundary) override {
    EXPECT_EQ(static_cast<std::int64_t>(tokens.size()), sequence.length());
    log_.kept.emplace_back(sequence.length(), boundary);
    entries_.push_back({key, {tokens.begin(), tokens.end()}, sequence.fork()});
  }
  std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                         std::span<const std::int64_t> boundaries) const override {
    if (stop_every_ == 0) return total;
    std::int64_t stop = std::min(total, (begin / stop_every_ + 1) * stop_every_);
    for (const std::int64_t boundary : boundaries) {
      if (boundary > begin) stop = std::min(stop, boundary);
    }
    return stop;
  }
  bool snapshot_due(std::int64_t length) const override {
    return stop_every_ > 0 && length % stop_every_ == 0;
  }
  bool make_room(std::span<const std::int64_t>, std::int64_t) override {
    log_.evicted += static_cast<int>(entries_.size());
    entries_.clear();
    return true;
  }
  void rest() override { ++log_.rests; }

 private:
  struct Entry {
    state::PrefixKey key;
    Ids tokens;
    std::unique_ptr<state::SequenceState> state;
  };
  Log& log_;
  std::int64_t stop_every_;
  std::vector<Entry> entries_;
};

class SchedulerCrowd : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(golden_model("llama-plain")); }
  void load(const ServedOptions& options = {}, const char* name = "llama-plain") {
    served_ = std::make_unique<Served>(golden_model(name), options);
  }
  std::shared_ptr<Recorder> submit(Scheduler& scheduler, GenerateRequest request) {
    auto recorder = std::make_shared<Recorder>();
    scheduler.submit(std::move(request), recorder);
    return recorder;
  }

  std::unique_ptr<Served> served_;
};

// ---- Who comes when -----------------------------------------------------------------------------

TEST_F(SchedulerCrowd, ClientsShareTokensHoweverManyRequestsTheyHave) {
  load({.sequences = 2});
  Scheduler scheduler = served_->start({.parallel = 2});
  Gate gate;
  auto first = std::make_shared<Recorder>();
  first->on_progress = [&] { gate.wait(); };
  scheduler.submit(request_of(served_->prompt(5, 0), 1), first);
  // The scheduler's thread writes the order down.
  std::vector<std::string> ends;
  std::vector<std::shared_ptr<Recorder>> all;
  const auto add = [&](const std::string& client, std::size_t seed, int priority) {
    GenerateRequest request = request_of(served_->prompt(20, seed), 20);
    request.client = client;
    request.priority = priority;
    auto recorder = std::make_shared<Recorder>();
    recorder->on_end = [&ends, client] { ends.push_back(client); };
    scheduler.submit(std::move(request), recorder);
    all.push_back(recorder);
  };
  for (std::size_t i = 0; i < 12; ++i) add("many", i, 0);
  for (std::size_t i = 0; i < 4; ++i) add("few", 20 + i, 0);
  add("important", 30, 1);
  gate.open();
  for (const auto& recorder : all) recorder->wait();
  scheduler.drain(0ms);
  ASSERT_EQ(ends.size(), 17U);
  // The important one is among the first two; then both clients' requests end in turns.
  EXPECT_NE(std::find(ends.begin(), ends.begin() + 2, "important"), ends.begin() + 2);
  const auto last_of_few = std::find(ends.rbegin(), ends.rend(), "few").base() - ends.begin();
  const auto many_before = std::count(ends.begin(), ends.begin() + last_of_few, "many");
  EXPECT_GE(many_before, 3);
  EXPECT_LE(many_before, 5);
}

TEST_F(SchedulerCrowd, ALongPromptDoesNotStopTheOthers) {
  load({.sequences = 2, .context = 1024, .batch_rows = 512});
  Scheduler scheduler = served_->start({.parallel = 2, .prompt_rows = 40});
  // The long prompt comes when the other one says its third token.
  auto talker = std::make_shared<Recorder>();
  auto reader = std::make_shared<Recorder>();
  std::vector<std::int64_t> said_at;  // tokens that the talker had said at every report
  std::atomic<std::int64_t> said{0};
  reader->on_progress = [&] { said_at.push_back(said); };
  talker->on_piece = [&](const auto& told) {
    said = told.piece.tokens;
    if (told.piece.tokens == 3) scheduler.submit(request_of(served_->prompt(800, 2), 1), reader);
    return generate::Verdict{};
  };
  scheduler.submit(request_of(served_->prompt(10, 1), 100), talker);
  reader->wait();
  talker->wait();
  // 20 pieces of 40 rows, and a token of the other's for each.
  ASSERT_EQ(reader->progress.size(), 21U);
  for (std::size_t i = 1; i + 1 < said_at.size(); ++i) EXPECT_EQ(said_at[i + 1], said_at[i] + 1);
}

// ---- Scarce pages -------------------------------------------------------------------------------

/// Takes KV pages away before a scheduler starts, so that `left` are free.
std::vector<std::unique_ptr<state::SequenceState>> hogs(model::LoadedModel& model,
                                                        std::int64_t left) {
  std::vector<std::unique_ptr<state::SequenceState>> result;
  const std::int64_t most = model.setup().context / state::kPageCells;
  while (model.pool().free_pages(0) > left) {
    result.push_back(model.new_sequence());
    result.back()->grow(std::min(most, model.pool().free_pages(0) - left) * state::kPageCells);
  }
  return result;
}

TEST_F(SchedulerCrowd, WhenPagesRunOutTheYoungestWaitsAndNothingFails) {
  load({.sequences = 4, .context = 1024});
  std::vector<GenerateRequest> requests;
  for (std::size_t i = 0; i < 5; ++i)
    requests.push_back(request_of(served_->prompt(30 + i, i), 190, 0.9F, i + 1));
  std::vector<std::string> expected;
  for (const GenerateRequest& request : requests)
    expected.push_back(served_->session(request).text);
  for (const bool remembers : {false, true}) {
    auto held = hogs(*served_->model, 7);
    ASSERT_EQ(served_->model->pool().free_pages(0), 7);
    FewPrefixes::Log log;
    std::int64_t preempted = 0;
    {
      Scheduler scheduler =
          served_->start({.parallel = 4}, remembers ? std::make_unique<FewPrefixes>(log) : nullptr);
      std::vector<std::shared_ptr<Recorder>> recorders;
      for (std::size_t i = 0; i < requests.size(); ++i)
        recorders.push_back(std::make_shared<Recorder>());
      // All come while the first has said one token, however slowly this thread goes on.
      recorders[0]->on_piece = [&](const auto& told) {
        for (std::size_t i = 1; told.piece.tokens == 1 && i < requests.size(); ++i)
          scheduler.submit(copy_of(requests[i]), recorders[i]);
        return generate::Verdict{};
      };
      scheduler.submit(copy_of(requests[0]), recorders[0]);
      for (std::size_t i = 0; i < recorders.size(); ++i) {
        EXPECT_EQ(recorders[i]->wait().error, "");
        EXPECT_EQ(recorders[i]->text, expected[i]) << "request " << i;
        EXPECT_EQ(recorders[i]->result.generated_tokens, 190);
      }
      preempted = scheduler.statistics().preempted;
      EXPECT_EQ(scheduler.statistics().finished, 5);
    }
    // Seven pages hold one whole generation of four pages, and some of another.
    EXPECT_GE(preempted, 2);
    EXPECT_EQ(log.evicted > 0, remembers);
    held.clear();
    EXPECT_EQ(served_->model->pool().free_pages(0), served_->model->pool().pages(0));
  }
}

TEST_F(SchedulerCrowd, AloneWithTooFewPagesAGenerationEndsByItsContext) {
  load({.sequences = 1, .context = 256});
  const auto held = hogs(*served_->model, 2);
  Scheduler scheduler = served_->start({.parallel = 1});
  const auto recorder = submit(scheduler, request_of(served_->prompt(100, 1), -1));
  EXPECT_EQ(recorder->wait().result.finish, FinishReason::kContext);
  EXPECT_EQ(recorder->result.generated_tokens, 29);  // 128 cells, and the token after the last
  const auto too_long = submit(scheduler, request_of(served_->prompt(150, 1), 5));
  EXPECT_NE(too_long->wait().error.find("150"), std::string::npos) << too_long->error;
}

// ---- Remembered prefixes ------------------------------------------------------------------------

TEST_F(SchedulerCrowd, WhatWasEvaluatedIsNotEvaluatedAgain) {
  for (const char* const name : {"llama-plain", "qwen3next", "gemma3"}) {
    HEARTH_REQUIRE_FILE(golden_model(name));
    // Twice as many sequences as are used, for those that are remembered.
    load({.sequences = 24}, name);
    GenerateRequest first = request_of(served_->prompt(90, 1), 12);
    first.boundaries = {37, 70};
    Ids longer = first.prompt;
    const Served::Said said = served_->session(first);
    longer.insert(longer.end(), said.tokens.begin(), said.tokens.end());
    longer.insert(longer.end(), {3, 1, 4});
    const std::string expected = served_->session(request_of(longer, 9)).text;
    FewPrefixes::Log log;
    Scheduler scheduler = served_->start({.parallel = 2}, std::make_unique<FewPrefixes>(log, 50));
    EXPECT_EQ(submit(scheduler, copy_of(first))->wait().text, said.text);
    log.kept.clear();
    scheduler.submit(std::move(first), std::make_shared<Recorder>());
    const auto second = submit(scheduler, request_of(longer, 9));
    EXPECT_EQ(second->wait().text, expected);
    EXPECT_EQ(second->result.reused_tokens, 90 + 11) << name;
    EXPECT_GE(scheduler.statistics().reused_tokens, 101);
    EXPECT_EQ(second->progress.front(), (std::pair<std::int64_t, std::int64_t>{101, 104}));
    // Others' prefixes are nobody else's.
    GenerateRequest foreign = request_of(longer, 9);
    foreign.owner = "somebody";
    const auto third = submit(scheduler, std::move(foreign));
    EXPECT_EQ(third->wait().text, expected);
    EXPECT_EQ(third->result.reused_tokens, 0);
  }
}

TEST_F(SchedulerCrowd, WhatSomebodyReadsIsNotReadTwice) {
  load({.sequences = 24});
  FewPrefixes::Log log;
  const Ids prompt = served_->prompt(200, 1);
  const std::string expected = served_->session(request_of(prompt, 5)).text;
  Scheduler scheduler = served_->start({.parallel = 4}, std::make_unique<FewPrefixes>(log));
  Gate gate;
  auto first = std::make_shared<Recorder>();
  first->on_progress = [&] { gate.wait(); };
  std::vector<std::shared_ptr<Recorder>> all = {first};
  scheduler.submit(request_of(prompt, 5), first);
  for (int i = 0; i < 3; ++i) all.push_back(submit(scheduler, request_of(prompt, 5)));
  GenerateRequest foreign = request_of(prompt, 5);
  foreign.owner = "somebody";
  all.push_back(submit(scheduler, std::move(foreign)));
  gate.open();
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]->wait().text, expected);
    EXPECT_EQ(all[i]->result.reused_tokens, i == 0 || i == 4 ? 0 : 199) << i;
  }
  EXPECT_EQ(scheduler.statistics().prompt_tokens, 200 + 3 + 200);
}

TEST_F(SchedulerCrowd, SnapshotsAreTakenAtBoundariesAndOnTheWay) {
  load({.sequences = 24});
  FewPrefixes::Log log;
  {
    Scheduler scheduler = served_->start({.parallel = 1}, std::make_unique<FewPrefixes>(log, 50));
    GenerateRequest request = request_of(served_->prompt(90, 1), 12);
    request.boundaries = {37, 70};
    submit(scheduler, std::move(request))->wait();
  }
  const std::vector<std::pair<std::int64_t, bool>> expected = {
      {37, true}, {50, false}, {70, true}, {90, false}, {100, false}, {101, true}};
  EXPECT_EQ(log.kept, expected);
  EXPECT_EQ(log.rests, 1);
}

/// With the real cache, and so little room that it must give up entries for those who run.
TEST_F(SchedulerCrowd, TheCacheGivesWayToThoseWhoRun) {
  for (const char* const name : {"llama-plain", "qwen3next", "gemma3", "mamba2"}) {
    HEARTH_REQUIRE_FILE(golden_model(name));
    load({.sequences = 3, .context = 256}, name);
    std::vector<GenerateRequest> requests;
    for (std::size_t i = 0; i < 8; ++i) {
      // Every other one goes on from the one before it.
      Ids prompt = served_->prompt(100, i / 2);
      const Ids more = served_->prompt(i % 2 == 0 ? 0 : 30, i);
      prompt.insert(prompt.end(), more.begin(), more.end());
      requests.push_back(request_of(prompt, 30));
    }
    std::vector<std::string> expected;
    for (const GenerateRequest& request : requests)
      expected.push_back(served_->session(request).text);
    const auto pool = &served_->model->pool();
    state::PrefixCache cache(*pool, {.cells = 700, .snapshots = 12});
    {
      Scheduler scheduler =
          served_->start({.parallel = 3}, std::make_unique<generate::CachedPrefixes>(cache));
      for (int round = 0; round < 2; ++round) {
        std::vector<std::shared_ptr<Recorder>> recorders;
        for (const GenerateRequest& request : requests) {
          GenerateRequest copy = copy_of(request);
          copy.boundaries = {100};
          recorders.push_back(submit(scheduler, std::move(copy)));
        }
        for (std::size_t i = 0; i < recorders.size(); ++i) {
          EXPECT_EQ(recorders[i]->wait().error, "") << name;
          EXPECT_EQ(recorders[i]->text, expected[i]) << name << ", request " << i;
        }
      }
      EXPECT_EQ(scheduler.statistics().finished, 16);
      EXPECT_EQ(scheduler.statistics().failed, 0);
    }
    EXPECT_GT(cache.statistics().hits, 0) << name;
    cache.clear();
    for (std::size_t g = 0; g < pool->groups().size(); ++g)
      EXPECT_EQ(pool->free_pages(g), pool->pages(g)) << name;
    EXPECT_EQ(pool->free_slots(), pool->slots()) << name;
  }
}

/// A prompt that was answered before is answered again without evaluating any of it.
TEST_F(SchedulerCrowd, WholePromptsThatAreKnownTakeNoPass) {
  for (const char* const name : {"llama-plain", "qwen3next", "gemma3", "mamba2"}) {
    HEARTH_REQUIRE_FILE(golden_model(name));
    load({.sequences = 8}, name);
    state::PrefixCache cache(served_->model->pool(), {.cells = 2000, .snapshots = 20});
    Scheduler scheduler =
        served_->start({.parallel = 2}, std::make_unique<generate::CachedPrefixes>(cache));
    GenerateRequest request = request_of(served_->prompt(90, 1), 12);
    request.top_log_probabilities = 2;
    const auto copy = [&] {
      GenerateRequest same = copy_of(request);
      same.top_log_probabilities = 2;
      return same;
    };
    const auto first = submit(scheduler, copy());
    EXPECT_EQ(first->wait().result.generated_tokens, 12);
    EXPECT_EQ(scheduler.statistics().prompt_tokens, 90);
    const auto second = submit(scheduler, copy());
    EXPECT_EQ(second->wait().text, first->text) << name;
    EXPECT_EQ(second->log_probabilities, first->log_probabilities) << name;
    EXPECT_EQ(second->result.reused_tokens, 90) << name;
    EXPECT_EQ(second->progress.front(), (std::pair<std::int64_t, std::int64_t>{90, 90}));
    EXPECT_EQ(scheduler.statistics().prompt_tokens, 90) << name;
    // One token, and none at all.
    GenerateRequest one = copy();
    one.max_tokens = 1;
    EXPECT_EQ(submit(scheduler, std::move(one))->wait().tokens.front(), first->tokens.front());
    GenerateRequest none = copy();
    none.max_tokens = 0;
    EXPECT_EQ(submit(scheduler, std::move(none))->wait().result.finish, FinishReason::kLength);
    EXPECT_EQ(scheduler.statistics().prompt_tokens, 90) << name;
  }
}

/// What the disk has is found after a restart.
TEST_F(SchedulerCrowd, GoesOnFromTheDisk) {
  for (const char* const name : {"llama-plain", "qwen3next", "gemma3", "mamba2"}) {
    HEARTH_REQUIRE_FILE(golden_model(name));
    load({.sequences = 8}, name);
    const TemporaryFolder home;
    state::DiskStoreOptions options;
    options.folder = home / "kv";
    options.reserve_bytes = 0;
    std::string text;
    for (int start = 0; start < 2; ++start) {
      state::DiskStore disk(options, {"tiny", {1, 2}});
      state::PrefixCache cache(served_->model->pool(), {.cells = 2000, .snapshots = 20}, &disk);
      {
        Scheduler scheduler =
            served_->start({.parallel = 2}, std::make_unique<generate::CachedPrefixes>(cache));
        GenerateRequest request = request_of(served_->prompt(130, 1), 12);
        request.boundaries = {110};
        std::vector<std::shared_ptr<Recorder>> recorders;
        for (int i = 0; i < 2; ++i) {
          GenerateRequest copy = copy_of(request);
          copy.boundaries = request.boundaries;
          recorders.push_back(submit(scheduler, std::move(copy)));
        }
        for (const auto& each : recorders) {
          EXPECT_EQ(each->wait().error, "");
          if (text.empty()) text = each->text;
          EXPECT_EQ(each->text, text) << name;
        }
        if (start == 1) {
          EXPECT_GE(recorders[0]->result.reused_tokens, 110) << name;
          EXPECT_LE(scheduler.statistics().prompt_tokens, 20) << name;
        }
      }
      EXPECT_EQ(cache.statistics().from_disk > 0, start == 1) << name;
      cache.save_all();
    }
  }
}

/// Says that there is something on disk, and has it when it is told to.
class SlowPrefixes final : public generate::Prefixes {
 public:
  struct Disk {
    std::mutex mutex;
    std::function<void()> ready;
    std::vector<std::uint64_t> asked, done, forgotten;
    void arrive(std::uint64_t request) {
      std::function<void()> tell;
      {
        const std::lock_guard lock(mutex);
        done.push_back(request);
        tell = ready;
      }
      tell();
    }
  };
  SlowPrefixes(Disk& disk, std::size_t from) : disk_(disk), from_(from) {}

  std::unique_ptr<state::SequenceState> find(const state::PrefixKey&, std::span<const std::int32_t>,
                                             std::vector<float>*) override {
    return nullptr;
  }
  void keep(const state::PrefixKey&, std::span<const std::int32_t>, const state::SequenceState&,
            std::span<const float>, bool) override {}
  std::int64_t next_stop(std::int64_t, std::int64_t total,
                         std::span<const std::int64_t>) const override {
    return total;
  }
  bool snapshot_due(std::int64_t) const override { return false; }
  bool make_room(std::span<const std::int64_t>, std::int64_t) override { return false; }
  void start(std::function<void()> ready) override {
    const std::lock_guard lock(disk_.mutex);
    disk_.ready = std::move(ready);
  }
  bool fetch(std::uint64_t request, const state::PrefixKey&,
             std::span<const std::int32_t> tokens) override {
    if (tokens.size() < from_) return false;
    const std::lock_guard lock(disk_.mutex);
    disk_.asked.push_back(request);
    return true;
  }
  std::vector<std::uint64_t> fetched() override {
    const std::lock_guard lock(disk_.mutex);
    return std::exchange(disk_.done, {});
  }
  void forget(std::uint64_t request) override {
    const std::lock_guard lock(disk_.mutex);
    disk_.forgotten.push_back(request);
  }

 private:
  Disk& disk_;
  std::size_t from_;
};

// While all wait for the disk nothing is looked at now and then: the deadline itself ends the wait.
TEST_F(SchedulerCrowd, DeadlinesEndTheWaitForTheDisk) {
  load({.sequences = 2});
  SlowPrefixes::Disk disk;
  Scheduler scheduler = served_->start({.parallel = 2}, std::make_unique<SlowPrefixes>(disk, 50));
  GenerateRequest request = request_of(served_->prompt(60, 0), 5);
  request.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
  const auto late = submit(scheduler, std::move(request));
  EXPECT_EQ(late->wait().result.finish, FinishReason::kCancelled);
}

/// Whoever waits for the disk holds up nobody, and can be cancelled meanwhile.
TEST_F(SchedulerCrowd, TheDiskHoldsUpNobodyElse) {
  load({.sequences = 3});
  // Before there is a scheduler, whose thread looks at the model's pages.
  const std::string expected = served_->session(request_of(served_->prompt(60, 0), 5)).text;
  SlowPrefixes::Disk disk;
  Scheduler scheduler = served_->start({.parallel = 3}, std::make_unique<SlowPrefixes>(disk, 50));
  const auto recorders = std::array{std::make_shared<Recorder>(), std::make_shared<Recorder>()};
  std::array<Scheduler::RequestId, 2> slow{};
  for (std::size_t i = 0; i < 2; ++i)
    slow[i] = scheduler.submit(request_of(served_->prompt(60, i), 5), recorders[i]);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto quick = submit(scheduler, request_of(served_->prompt(20, i), 8));
    EXPECT_EQ(quick->wait().result.generated_tokens, 8);
    EXPECT_FALSE(recorders[0]->ended());
  }
  scheduler.cancel(slow[1]);
  EXPECT_EQ(recorders[1]->wait().result.finish, FinishReason::kCancelled);
  EXPECT_FALSE(recorders[0]->ended());
  disk.arrive(slow[1]);  // too late
  disk.arrive(slow[0]);
  EXPECT_EQ(recorders[0]->wait().text, expected);
  const std::lock_guard lock(disk.mutex);
  EXPECT_EQ(disk.asked, (std::vector<std::uint64_t>{slow[0], slow[1]}));
  EXPECT_EQ(disk.forgotten, (std::vector<std::uint64_t>{slow[1]}));
}

// What is read for somebody who has left takes as much room until it has been read as if it were
// read for somebody who waits: others come only then, and nothing of it is left over.
TEST_F(SchedulerCrowd, AFetchCountsUntilItHasEnded) {
  load({.sequences = 2});
  SlowPrefixes::Disk disk;
  Scheduler scheduler = served_->start({.parallel = 2}, std::make_unique<SlowPrefixes>(disk, 50));
  const auto gone = std::make_shared<Recorder>();
  const auto id = scheduler.submit(request_of(served_->prompt(60, 0), 5), gone);
  submit(scheduler, request_of(served_->prompt(20, 0), 2))->wait();  // the other was asked for
  scheduler.cancel(id);
  EXPECT_EQ(gone->wait().result.finish, FinishReason::kCancelled);

  const auto first = std::make_shared<Recorder>(), second = std::make_shared<Recorder>();
  Gate submitted;
  bool together = false;
  first->on_piece = [&](const generate::GeneratedPiece&) {
    submitted.wait();
    return generate::Verdict{};
  };
  first->on_end = [&] { together = !second->tokens.empty(); };
  scheduler.submit(request_of(served_->prompt(20, 1), 8), first);
  scheduler.submit(request_of(served_->prompt(20, 2), 8), second);
  submitted.open();
  first->wait();
  second->wait();
  EXPECT_FALSE(together);

  disk.arrive(id);
  submit(scheduler, request_of(served_->prompt(20, 3), 2))->wait();
  const std::lock_guard lock(disk.mutex);
  EXPECT_TRUE(disk.done.empty());
}

/// Has no memory left for what it is told to fail at.
class FailingPrefixes final : public generate::Prefixes {
 public:
  struct Fails {
    bool find = false, keep = false, snapshots = false;
  };
  explicit FailingPrefixes(Fails fails) : fails_(fails) {}

  std::unique_ptr<state::SequenceState> find(const state::PrefixKey&, std::span<const std::int32_t>,
                                             std::vector<float>*) override {
    if (fails_.find) throw std::bad_alloc();
    return nullptr;
  }
  void keep(const state::PrefixKey&, std::span<const std::int32_t>, const state::SequenceState&,
            std::span<const float>, bool) override {
    if (fails_.keep) throw std::bad_alloc();
  }
  std::int64_t next_stop(std::int64_t, std::int64_t total,
                         std::span<const std::int64_t>) const override {
    return total;
  }
  bool snapshot_due(std::int64_t length) const override {
    if (fails_.snapshots && length == 24) throw std::bad_alloc();
    return false;
  }
  bool make_room(std::span<const std::int64_t>, std::int64_t) override { return false; }

 private:
  Fails fails_;
};

TEST_F(SchedulerCrowd, WhatCannotBeRememberedIsSaidAllTheSame) {
  load({.sequences = 2});
  const GenerateRequest request = request_of(served_->prompt(20, 0), 8);
  const std::string expected = served_->session(request).text;
  for (const auto& fails : {FailingPrefixes::Fails{.find = true, .keep = false, .snapshots = false},
                            {.find = false, .keep = true, .snapshots = false}}) {
    Scheduler scheduler = served_->start({.parallel = 2}, std::make_unique<FailingPrefixes>(fails));
    const auto told = submit(scheduler, copy_of(request));
    EXPECT_EQ(told->wait().error, "");
    EXPECT_EQ(told->text, expected);
  }
}

// In the middle of a pass: whoever was in it is told that it failed, once, and nothing of it is
// left for the next pass.
TEST_F(SchedulerCrowd, WhatFailsForEveryoneEndsThemOnce) {
  load({.sequences = 3});
  const std::string expected = served_->session(request_of(served_->prompt(40, 3), 8)).text;
  Scheduler scheduler =
      served_->start({.parallel = 3}, std::make_unique<FailingPrefixes>(FailingPrefixes::Fails{
                                          .find = false, .keep = false, .snapshots = true}));
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (std::size_t i = 0; i < 3; ++i)
    recorders.push_back(submit(scheduler, request_of(served_->prompt(20, i), 8)));
  for (const auto& each : recorders) EXPECT_NE(each->wait().error, "");
  const auto later = submit(scheduler, request_of(served_->prompt(40, 3), 8));
  EXPECT_EQ(later->wait().error, "");
  EXPECT_EQ(later->text, expected);
  scheduler.drain(std::chrono::milliseconds(0));
  EXPECT_EQ(scheduler.statistics().failed, 3);
  EXPECT_EQ(scheduler.statistics().finished, 1);
}

// ---- Adapters, turns ----------------------------------------------------------------------------

TEST_F(SchedulerCrowd, RequestsWithOtherAdaptersTakeTurns) {
  load({.sequences = 6});
  const auto none = served_->model->mix({});
  std::vector<std::shared_ptr<Recorder>> recorders;
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < 6; ++i)
    expected.push_back(served_->session(request_of(served_->prompt(30, i), 30)).text);
  Scheduler scheduler = served_->start({.parallel = 6});
  for (std::size_t i = 0; i < 6; ++i) {
    GenerateRequest request = request_of(served_->prompt(30, i), 30);
    if (i % 2 == 1) request.adapters = none;  // changes nothing, but needs passes of its own
    recorders.push_back(submit(scheduler, std::move(request)));
  }
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(recorders[i]->wait().text, expected[i]);
}

TEST_F(SchedulerCrowd, TwoModelsShareTheTurn) {
  load();
  Served other(golden_model("llama-plain"), {});
  const auto turn = std::make_shared<generate::ComputeTurn>();
  const std::string expected = served_->session(request_of(served_->prompt(30, 1), 60)).text;
  Scheduler first(*served_->model, *served_->tokenizer, {}, turn);
  Scheduler second(*other.model, *other.tokenizer, {}, turn);
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 6; ++i)
    recorders.push_back(
        submit(i % 2 == 0 ? first : second, request_of(served_->prompt(30, 1), 60)));
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->wait().text, expected);
  EXPECT_EQ(turn->waiting(), 0);
}

// ---- Storms -------------------------------------------------------------------------------------

TEST_F(SchedulerCrowd, SurvivesAStormOfClientsThatComeAndGo) {
  load({.sequences = 4, .context = 256});
  const auto held = hogs(*served_->model, 9);  // pages are scarce, too
  FewPrefixes::Log log;
  Scheduler scheduler =
      served_->start({.parallel = 4, .queue = 12}, std::make_unique<FewPrefixes>(log));
  std::atomic<int> refused{0}, ended{0};
  std::vector<std::thread> clients;
  constexpr int kClients = 6, kRequests = 25;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(static_cast<std::uint32_t>(client));
      const auto below = [&](std::uint32_t limit) { return random() % limit; };
      for (int i = 0; i < kRequests; ++i) {
        GenerateRequest request = request_of(served_->prompt(1 + below(120), below(9)),
                                             static_cast<std::int64_t>(below(60)), 1.0F, i);
        request.client = std::to_string(client % 4);
        request.priority = static_cast<int>(below(3)) - 1;
        if (below(5) == 0)
          request.deadline =
              std::chrono::steady_clock::now() + std::chrono::milliseconds(below(20));
        auto recorder = std::make_shared<Recorder>();
        const std::int64_t until = below(3) == 0 ? below(20) : 1000;
        recorder->on_piece = [until](const auto& told) {
          return generate::Verdict{.go_on = told.piece.tokens < until};
        };
        const bool waits = below(2) == 0;
        try {
          const auto id = scheduler.submit(std::move(request), recorder);
          if (below(3) == 0) scheduler.cancel(id);
          (void)scheduler.statistics();
          if (waits) scheduler.cancel(id - 1);
          recorder->wait();
          EXPECT_EQ(recorder->error, "");
          ++ended;
        } catch (const generate::QueueFull&) {
          ++refused;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(ended + refused, kClients * kRequests);
  const generate::SchedulerStatistics statistics = scheduler.statistics();
  EXPECT_EQ(statistics.finished + statistics.cancelled, ended);
  EXPECT_EQ(statistics.failed, 0);
  scheduler.drain(0ms);
  EXPECT_EQ(scheduler.statistics().generating + scheduler.statistics().waiting, 0);
}

}  // namespace
}  // namespace hearth::testing
