#include "generate/scheduler.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "scheduler_fixture.h"

namespace hearth::testing {
namespace {

using namespace std::chrono_literals;

class SchedulerTest : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(golden_model("llama-plain")); }

  void load(const ServedOptions& options = {}) {
    served_ = std::make_unique<Served>(golden_model("llama-plain"), options);
  }
  std::shared_ptr<Recorder> submit(Scheduler& scheduler, GenerateRequest request) {
    auto recorder = std::make_shared<Recorder>();
    scheduler.submit(std::move(request), recorder);
    return recorder;
  }

  std::unique_ptr<Served> served_;
};

// ---- The same as alone --------------------------------------------------------------------------

struct Kind {
  const char* model;
  bool exact;
};
class LoneRequest : public ::testing::TestWithParam<Kind> {};

TEST_P(LoneRequest, GivesWhatASessionGives) {
  const std::filesystem::path path = golden_model(GetParam().model);
  HEARTH_REQUIRE_FILE(path);
  Served served(path, {.batch_rows = 32, .exact = GetParam().exact});
  std::vector<GenerateRequest> requests;
  requests.push_back(request_of(served.prompt(70, 1), 40));
  requests.push_back(request_of(served.prompt(5, 2), 40, 1.3F, 7));
  requests.push_back(request_of(served.prompt(33, 3), 60, 0.7F, 8));
  requests.back().sampler.repeat_penalty = 1.2F;
  requests.back().sampler.dry_multiplier = 0.5F;
  requests.back().stops = {"7 t"};
  requests.push_back(request_of(served.prompt(250, 4), -1, 1.0F, 9));  // until the context is full

  std::vector<Served::Said> expected;
  for (const GenerateRequest& request : requests) expected.push_back(served.session(request));
  Scheduler scheduler = served.start();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto prompt_size = static_cast<std::int64_t>(requests[i].prompt.size());
    const auto recorder = std::make_shared<Recorder>();
    scheduler.submit(std::move(requests[i]), recorder);
    const Recorder& told = recorder->wait();
    EXPECT_EQ(told.error, "");
    EXPECT_EQ(told.text, expected[i].text) << "request " << i;
    EXPECT_EQ(told.result.finish, expected[i].result.finish) << "request " << i;
    EXPECT_EQ(told.result.stop_text, expected[i].result.stop_text);
    EXPECT_EQ(told.result.generated_tokens, expected[i].result.generated_tokens);
    EXPECT_EQ(told.result.seed, expected[i].result.seed);
    EXPECT_EQ(told.result.prompt_tokens, prompt_size);
    EXPECT_EQ(static_cast<std::int64_t>(told.tokens.size()), told.result.generated_tokens);
    ASSERT_FALSE(told.progress.empty());
    EXPECT_EQ(told.progress.front(), std::pair(std::int64_t{0}, prompt_size));
    EXPECT_EQ(told.progress.back(), std::pair(prompt_size, prompt_size));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, LoneRequest,
                         ::testing::Values(Kind{"llama-plain", true}, Kind{"llama-plain", false},
                                           Kind{"gemma3", false}, Kind{"qwen3next", false},
                                           Kind{"mamba2", false}, Kind{"falcon-h1", true}),
                         [](const auto& instance) {
                           std::string name = instance.param.model;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name + (instance.param.exact ? "_exact" : "");
                         });

class ExactBatch : public ::testing::TestWithParam<const char*> {};

TEST_P(ExactBatch, SaysWhatEveryoneWouldHaveSaidAlone) {
  const std::filesystem::path path = golden_model(GetParam());
  HEARTH_REQUIRE_FILE(path);
  Served served(path, {.sequences = 4, .context = 192, .batch_rows = 48});
  std::vector<GenerateRequest> requests;
  for (std::size_t i = 0; i < 10; ++i) {
    requests.push_back(request_of(served.prompt(3 + 17 * i % 120, i), 10 + 7 * (i % 5),
                                  i % 2 == 0 ? 0.0F : 1.1F, i + 1));
  }
  std::vector<std::string> expected;
  for (const GenerateRequest& request : requests) expected.push_back(served.session(request).text);
  Scheduler scheduler = served.start({.parallel = 4, .prompt_rows = 13});
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (GenerateRequest& request : requests) {
    recorders.push_back(std::make_shared<Recorder>());
    scheduler.submit(std::move(request), recorders.back());
  }
  for (std::size_t i = 0; i < recorders.size(); ++i) {
    EXPECT_EQ(recorders[i]->wait().error, "");
    EXPECT_EQ(recorders[i]->text, expected[i]) << "request " << i;
  }
  const generate::SchedulerStatistics statistics = scheduler.statistics();
  EXPECT_EQ(statistics.finished, 10);
  EXPECT_GT(statistics.rows, statistics.passes);  // several in a pass
}

INSTANTIATE_TEST_SUITE_P(Models, ExactBatch,
                         ::testing::Values("llama-plain", "gemma3", "qwen3next", "mamba2",
                                           "falcon-h1", "lfm2"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(SchedulerOfStories, TellsAStory) {
  const std::filesystem::path path = shared_dir() / "models" / "stories260K.gguf";
  HEARTH_REQUIRE_FILE(path);
  Served served(path, {.exact = false});
  const auto tokenizer = text::Tokenizer::create(served.model->file().metadata());
  generate::ModelEvaluator evaluator(*served.model);
  generate::Session session(evaluator, *tokenizer);
  const Ids prompt = tokenizer->encode("Once upon a time", {.add_special = true});
  generate::GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = 80;
  std::string expected;
  session.generate(prompt, options, [&](const generate::Piece& piece) {
    expected += piece.text;
    return true;
  });
  Scheduler scheduler(*served.model, *tokenizer, {});
  const auto recorder = std::make_shared<Recorder>();
  scheduler.submit(request_of(prompt, 80), recorder);
  EXPECT_EQ(recorder->wait().text, expected);
  EXPECT_NE(expected.find("there was"), std::string::npos) << expected;
}

// ---- Ends ---------------------------------------------------------------------------------------

TEST_F(SchedulerTest, RefusesWhatCanNeverBeServed) {
  load({.context = 64});
  Scheduler scheduler = served_->start();
  const auto listener = std::make_shared<Recorder>();
  EXPECT_THROW(scheduler.submit(request_of({}, 1), listener), Error);
  EXPECT_THROW(scheduler.submit(request_of({-1}, 1), listener), Error);
  EXPECT_THROW(scheduler.submit(request_of({1, 1 << 20}, 1), listener), Error);
  EXPECT_THROW(scheduler.submit(request_of({1}, 1, -1.0F), listener), Error);
  GenerateRequest request = request_of({1}, 1);
  request.top_log_probabilities = -1;
  EXPECT_THROW(scheduler.submit(std::move(request), listener), Error);
  try {
    scheduler.submit(request_of(served_->prompt(65, 0), 1), listener);
    ADD_FAILURE() << "a prompt longer than the context was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kDoesNotFit);
    EXPECT_NE(std::string(error.what()).find("65"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("64"), std::string::npos);
  }
  EXPECT_FALSE(listener->ended());
  EXPECT_EQ(submit(scheduler, request_of({1}, 2))->wait().result.generated_tokens, 2);
}

TEST_F(SchedulerTest, NothingIsGeneratedForZeroTokens) {
  load();
  Scheduler scheduler = served_->start();
  const auto recorder = submit(scheduler, request_of(served_->prompt(20, 0), 0));
  EXPECT_EQ(recorder->wait().result.finish, FinishReason::kLength);
  EXPECT_TRUE(recorder->tokens.empty());
}

TEST_F(SchedulerTest, AListenerEndsItsGenerationOnly) {
  load();
  Scheduler scheduler = served_->start();
  auto leaver = std::make_shared<Recorder>();
  leaver->on_piece = [&](const auto& told) {
    return generate::Verdict{.go_on = told.piece.tokens < 3};
  };
  auto thrower = std::make_shared<Recorder>();
  thrower->on_piece = [](const auto&) -> generate::Verdict { throw std::runtime_error("no"); };
  scheduler.submit(request_of(served_->prompt(9, 1), 50), leaver);
  scheduler.submit(request_of(served_->prompt(9, 2), 50), thrower);
  const auto stayer = submit(scheduler, request_of(served_->prompt(9, 3), 50));
  EXPECT_EQ(leaver->wait().result.generated_tokens, 3);
  EXPECT_EQ(leaver->result.finish, FinishReason::kStop);
  EXPECT_EQ(thrower->wait().result.generated_tokens, 1);
  EXPECT_EQ(stayer->wait().result.generated_tokens, 50);
}

TEST_F(SchedulerTest, CancelsWhatRunsWhatReadsAndWhatWaits) {
  load();
  Scheduler scheduler = served_->start({.parallel = 1});
  auto first = std::make_shared<Recorder>();
  Gate entered, gate;
  first->on_piece = [&](const auto& told) {
    if (told.piece.tokens == 2) {
      entered.open();
      gate.wait();
    }
    return generate::Verdict{};
  };
  const auto running = scheduler.submit(request_of(served_->prompt(9, 1), 200), first);
  const auto second = std::make_shared<Recorder>();
  const auto waiting = scheduler.submit(request_of(served_->prompt(9, 2), 200), second);
  entered.wait();
  scheduler.cancel(waiting);
  scheduler.cancel(running);
  scheduler.cancel(12345);  // nobody's
  gate.open();
  EXPECT_EQ(first->wait().result.finish, FinishReason::kCancelled);
  EXPECT_EQ(first->result.generated_tokens, 2);
  EXPECT_EQ(second->wait().result.finish, FinishReason::kCancelled);
  EXPECT_EQ(second->result.generated_tokens, 0);
  EXPECT_EQ(second->result.prompt_tokens, 9);
  scheduler.cancel(running);  // over already

  auto reader = std::make_shared<Recorder>();
  reader->on_progress = [&] {
    if (reader->progress.size() == 2) scheduler.cancel(waiting + 1);
  };
  EXPECT_EQ(scheduler.submit(request_of(served_->prompt(200, 3), 5), reader), waiting + 1);
  EXPECT_EQ(reader->wait().result.finish, FinishReason::kCancelled);
  EXPECT_EQ(reader->progress.size(), 2U);
  EXPECT_EQ(scheduler.statistics().cancelled, 3);
}

TEST_F(SchedulerTest, TellsWhatRuns) {
  load();
  Scheduler scheduler = served_->start({.parallel = 3});
  EXPECT_TRUE(scheduler.running().empty());
  Gate gate;
  auto first = std::make_shared<Recorder>();
  std::atomic<bool> reached{false};
  first->on_piece = [&](const auto&) {
    if (first->tokens.size() >= 4 && !reached.exchange(true)) gate.wait();
    return generate::Verdict{};
  };
  const auto id = scheduler.submit(request_of(served_->prompt(9, 1), 20), first);
  while (!reached) std::this_thread::yield();
  // As of the last pass: it had told less than now.
  const std::vector<generate::RunningRequest> running = scheduler.running();
  ASSERT_EQ(running.size(), 1U);
  EXPECT_EQ(running[0].id, id);
  EXPECT_EQ(running[0].slot, 0);
  EXPECT_FALSE(running[0].reads);
  EXPECT_EQ(running[0].prompt_tokens, 9);
  EXPECT_GE(running[0].generated, 1);
  EXPECT_EQ(running[0].generated + running[0].remaining, 20);
  EXPECT_GE(running[0].evaluated, 9);
  gate.open();
  EXPECT_EQ(first->wait().result.generated_tokens, 20);
  scheduler.drain(1min);
  EXPECT_TRUE(scheduler.running().empty());
}

TEST_F(SchedulerTest, DeadlinesEndGenerations) {
  load();
  Scheduler scheduler = served_->start({.parallel = 1});
  GenerateRequest late = request_of(served_->prompt(9, 1), 200);
  late.deadline = std::chrono::steady_clock::now() - 1s;
  const auto never = submit(scheduler, std::move(late));
  EXPECT_EQ(never->wait().result.finish, FinishReason::kCancelled);
  EXPECT_EQ(never->result.generated_tokens, 0);
  // The listener lets the time pass: however slow the machine is, the deadline is over then.
  GenerateRequest request = request_of(served_->prompt(9, 1), 200);
  const auto deadline = std::chrono::steady_clock::now() + 50ms;
  request.deadline = deadline;
  auto recorder = std::make_shared<Recorder>();
  recorder->on_piece = [&](const auto&) {
    while (std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return generate::Verdict{};
  };
  scheduler.submit(std::move(request), recorder);
  EXPECT_EQ(recorder->wait().result.finish, FinishReason::kCancelled);
  EXPECT_LE(recorder->result.generated_tokens, 1);
}

TEST_F(SchedulerTest, AFullQueueIsRefusedWithATimeToComeBack) {
  load();
  Scheduler scheduler = served_->start({.parallel = 1, .queue = 2});
  Gate gate;
  auto first = std::make_shared<Recorder>();
  first->on_progress = [&] { gate.wait(); };
  scheduler.submit(request_of(served_->prompt(9, 1), 3), first);
  const auto second = submit(scheduler, request_of(served_->prompt(9, 2), 3));
  const auto third = submit(scheduler, request_of(served_->prompt(9, 3), 3));
  try {
    (void)submit(scheduler, request_of(served_->prompt(9, 4), 3));
    ADD_FAILURE() << "the queue is full";
  } catch (const generate::QueueFull& full) {
    EXPECT_GE(full.retry_after(), 1s);
    EXPECT_LE(full.retry_after(), 300s);
  }
  EXPECT_EQ(scheduler.statistics().refused, 1);
  gate.open();
  EXPECT_EQ(third->wait().result.generated_tokens, 3);
  EXPECT_EQ(second->wait().result.generated_tokens, 3);
  EXPECT_EQ(submit(scheduler, request_of(served_->prompt(9, 4), 3))->wait().error, "");
}

TEST_F(SchedulerTest, DrainsAndThenCancels) {
  load();
  {
    Scheduler scheduler = served_->start();
    const auto recorder = submit(scheduler, request_of(served_->prompt(9, 1), 20));
    scheduler.drain(60s);
    EXPECT_TRUE(recorder->ended());
    EXPECT_EQ(recorder->result.generated_tokens, 20);
    EXPECT_THROW((void)submit(scheduler, request_of({1}, 1)), Error);
  }
  {
    Scheduler scheduler = served_->start();
    const auto recorder = submit(scheduler, request_of(served_->prompt(9, 1), -1));
    scheduler.drain(0ms);
    EXPECT_TRUE(recorder->ended());
  }
  std::shared_ptr<Recorder> left;
  {
    Scheduler scheduler = served_->start();
    left = submit(scheduler, request_of(served_->prompt(9, 1), -1));
  }
  EXPECT_TRUE(left->ended());
}

// ---- What is said -------------------------------------------------------------------------------

TEST_F(SchedulerTest, GivesLogProbabilitiesOfTheModelsOwnDistribution) {
  load();
  const Ids prompt = served_->prompt(12, 5);
  GenerateRequest request = request_of(prompt, 6, 0.5F, 3);
  request.sampler.top_k = 3;
  request.sampler.logit_bias = {{7, 100.0F}};  // not part of it
  request.top_log_probabilities = 4;
  std::shared_ptr<Recorder> recorder;
  {
    Scheduler scheduler = served_->start();
    recorder = submit(scheduler, std::move(request));
    (void)recorder->wait();
  }  // now the model is free for the test
  const Recorder& told = *recorder;
  ASSERT_EQ(told.tokens.size(), 6U);
  ASSERT_EQ(told.log_probabilities.size(), 6U);

  generate::ModelEvaluator evaluator(*served_->model);
  Ids fed = prompt;
  for (std::size_t i = 0; i < told.tokens.size(); ++i) {
    const std::span<const float> logits = evaluator.evaluate(fed, true);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    const auto expected = [&](text::TokenId id) {
      return logits[static_cast<std::size_t>(id)] - std::log(sum);
    };
    EXPECT_NEAR(told.log_probabilities[i], expected(told.tokens[i]), 1e-4);
    ASSERT_EQ(told.tops[i].size(), 4U);
    std::vector<float> sorted(logits.begin(), logits.end());
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t rank = 0; rank < 4; ++rank) {
      EXPECT_NEAR(told.tops[i][rank].log_probability, expected(told.tops[i][rank].id), 1e-4);
      EXPECT_FLOAT_EQ(logits[static_cast<std::size_t>(told.tops[i][rank].id)], sorted[rank]);
    }
    fed = {told.tokens[i]};
  }
}

TEST_F(SchedulerTest, ForcedTokensComeNextAndTakeOnePass) {
  load();
  const Ids prompt = served_->prompt(12, 5);
  const Ids forced = {3, 1, 4, 1, 5, 9, 2, 6};
  // What follows is what follows the whole text.
  Ids longer = prompt;
  {
    const Served::Said first = served_->session(request_of(prompt, 2));
    longer.push_back(first.tokens.front());
    longer.insert(longer.end(), forced.begin(), forced.end());
  }
  const std::string after = served_->session(request_of(longer, 3)).text;

  Scheduler scheduler = served_->start();
  auto recorder = std::make_shared<Recorder>();
  recorder->on_piece = [&](const auto& told) {
    generate::Verdict verdict;
    if (told.piece.tokens == 1) verdict.force = forced;
    return verdict;
  };
  scheduler.submit(request_of(prompt, 12), recorder);
  recorder->wait();
  ASSERT_EQ(recorder->tokens.size(), 12U);
  EXPECT_EQ(Ids(recorder->tokens.begin() + 1, recorder->tokens.begin() + 9), forced);
  std::string end;
  for (std::size_t i = 9; i < 12; ++i) end += "t" + std::to_string(recorder->tokens[i]) + " ";
  EXPECT_EQ(end, after);
  // The prompt, the forced ones with the first, and the second of the last three.
  EXPECT_EQ(scheduler.statistics().passes, 4);

  auto wrong = std::make_shared<Recorder>();
  wrong->on_piece = [](const auto&) { return generate::Verdict{.force = {1 << 20}}; };
  scheduler.submit(request_of(prompt, 12), wrong);
  EXPECT_NE(wrong->wait().error, "");
}

/// Allows multiples of `step`; after each of them, 5 and 6 must follow, if it jumps ahead.
class Multiples final : public generate::TokenConstraint {
 public:
  Multiples(std::int64_t vocabulary, text::TokenId step, bool jumps)
      : bits_(static_cast<std::size_t>(vocabulary + 63) / 64), step_(step), jumps_(jumps) {}
  std::span<const std::uint64_t> allowed() override {
    std::fill(bits_.begin(), bits_.end(), 0);
    if (due_ > 0 && jumps_) {
      allow(due_);
    } else {
      for (text::TokenId id = 0; id < static_cast<text::TokenId>(bits_.size() * 64); id += step_)
        allow(id);
    }
    return bits_;
  }
  void accept(text::TokenId token) override {
    accepted.push_back(token);
    due_ = due_ == 5 ? 6 : (due_ == 6 ? 0 : 5);
  }
  std::vector<text::TokenId> forced() override {
    if (!jumps_ || due_ == 0) return {};
    return due_ == 5 ? Ids{5, 6} : Ids{6};
  }
  bool may_end() const override { return false; }
  Ids accepted;

 private:
  void allow(text::TokenId id) {
    bits_[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  }
  std::vector<std::uint64_t> bits_;
  text::TokenId step_, due_ = 0;
  bool jumps_;
};

TEST_F(SchedulerTest, ConstraintsDecideWhatMayBeSaid) {
  load();
  const std::int64_t vocabulary = served_->model->spec().vocabulary;
  Scheduler scheduler = served_->start();
  for (const bool jumps : {false, true}) {
    for (const float temperature : {0.0F, 1.5F}) {
      for (const bool probabilities : {false, true}) {
        GenerateRequest request = request_of(served_->prompt(12, 5), 30, temperature);
        request.sampler.top_k = 0;
        request.constraint = std::make_unique<Multiples>(vocabulary, 11, jumps);
        if (probabilities) request.top_log_probabilities = 1;
        const std::int64_t passes = scheduler.statistics().passes;
        const auto recorder = submit(scheduler, std::move(request));
        recorder->wait();
        ASSERT_EQ(recorder->tokens.size(), 30U) << recorder->error;
        for (std::size_t i = 0; i < 30; ++i) {
          const text::TokenId token = recorder->tokens[i];
          if (jumps && i % 3 != 0) {
            EXPECT_EQ(token, i % 3 == 1 ? 5 : 6);
          } else {
            EXPECT_EQ(token % 11, 0) << i;
          }
        }
        // Every jump of two tokens is evaluated in the pass of the token before it.
        const std::int64_t taken = scheduler.statistics().passes - passes;
        EXPECT_EQ(taken, jumps && !probabilities ? 10 : 30);
      }
    }
  }
}

TEST_F(SchedulerTest, BannedEverywhereFailsOneRequestOnly) {
  load();
  class Nothing final : public generate::TokenConstraint {
   public:
    std::span<const std::uint64_t> allowed() override { return bits_; }
    void accept(text::TokenId) override {}
    bool may_end() const override { return true; }

   private:
    std::vector<std::uint64_t> bits_ = std::vector<std::uint64_t>(1, 0);
  };
  Scheduler scheduler = served_->start();
  const auto good = submit(scheduler, request_of(served_->prompt(12, 5), 30));
  GenerateRequest request = request_of(served_->prompt(12, 6), 30);
  request.constraint = std::make_unique<Nothing>();
  const auto bad = submit(scheduler, std::move(request));
  EXPECT_NE(bad->wait().error, "");
  EXPECT_EQ(good->wait().result.generated_tokens, 30);
  EXPECT_EQ(scheduler.statistics().failed, 1);
}

TEST_F(SchedulerTest, HeldBackTextBelongsToNoToken) {
  load();
  served_->tokenizer = [&] {
    std::vector<std::string> texts(static_cast<std::size_t>(served_->model->spec().vocabulary),
                                   "x");
    texts[1] = "\xc3";
    texts[2] = "<tool>";
    return std::make_unique<FakeTokenizer>(std::move(texts));
  }();
  Scheduler scheduler = served_->start();
  auto recorder = std::make_shared<Recorder>();
  std::vector<std::pair<text::TokenId, std::string>> told;
  recorder->on_piece = [&](const generate::GeneratedPiece& piece) {
    told.emplace_back(piece.token, piece.piece.text);
    generate::Verdict verdict;
    if (told.size() == 1) verdict.force = {1, 2, 1};
    return verdict;
  };
  GenerateRequest request = request_of({4, 5}, 4);
  request.sampler.logit_bias = {{9, 1000.0F}};
  request.control_pieces = true;
  scheduler.submit(std::move(request), recorder);
  recorder->wait();
  const std::vector<std::pair<text::TokenId, std::string>> expected = {
      {9, "x"}, {1, ""}, {-1, "\xc3"}, {2, "<tool>"}, {1, ""}, {-1, "\xc3"}};
  EXPECT_EQ(told, expected);
}

}  // namespace
}  // namespace hearth::testing
