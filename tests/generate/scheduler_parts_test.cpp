// What the scheduler is made of: times of passes, fair queueing, log-probabilities, turns, and the
// sampler's allowed tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "generate/compute_turn.h"
#include "generate/fair_queue.h"
#include "generate/pass_timing.h"
#include "generate/sampler.h"
#include "generate/token_probabilities.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// ---- PassTiming ---------------------------------------------------------------------------------

/// A machine whose passes take what the model of PassTiming says, give or take `noise`.
struct Machine {
  double base = 0.004, row = 0.0006, cell = 2e-7, prompt_row = 0.001, prompt_cell = 4e-7;
  double noise = 0.1;
  std::mt19937 random{1};
  double seconds(const PassWork& work) {
    std::uniform_real_distribution<double> factor(1 - noise, 1 + noise);
    return factor(random) * exactly(work);
  }
  [[nodiscard]] double exactly(const PassWork& work) const {
    return base + row * static_cast<double>(work.decode_rows) +
           cell * static_cast<double>(work.decode_cells) +
           prompt_row * static_cast<double>(work.prompt_rows) +
           prompt_cell * static_cast<double>(work.prompt_cells);
  }
};

TEST(PassTiming, KeepsMixedPassesNearATargetAtEveryDepth) {
  Machine machine;
  PassTiming timing;
  EXPECT_FALSE(timing.known());
  for (int pass = 0; pass < 30; ++pass) {
    const PassWork work{1 + pass % 16, 500 * (1 + pass % 16), 0, 0};
    timing.add(work, machine.seconds(work));
  }
  // Two prompts in turns, one deep and one not; at first in small pieces.
  std::int64_t most = 32;
  for (int pass = 0; pass < 200; ++pass) {
    const std::int64_t depth = pass % 2 == 0 ? 40 * pass : 10 * pass;
    PassWork work{16, 8000, 0, 0};
    const std::int64_t in_time = timing.rows_within(work, depth, 0.15);
    const std::int64_t rows = std::min({most, std::int64_t{512}, in_time});
    ASSERT_GT(rows, 0);
    most = 2 * rows;
    work.prompt_rows = rows;
    work.prompt_cells = rows * depth + rows * rows / 2;
    const double seconds = machine.seconds(work);
    timing.add(work, seconds);
    if (pass > 20) {
      EXPECT_LT(seconds, 0.22) << pass;
      if (rows == in_time) {
        EXPECT_GT(seconds, 0.1) << pass;
      }
    }
  }
  EXPECT_NEAR(timing.seconds({16, 8000, 0, 0}), machine.exactly({16, 8000, 0, 0}), 0.004);
}

TEST(PassTiming, FollowsAMachineThatBecomesSlow) {
  Machine machine;
  PassTiming timing;
  const PassWork work{8, 4000, 64, 64 * 500};
  const PassWork without{8, 4000, 0, 0};
  for (int pass = 0; pass < 400; ++pass) {
    timing.add(work, machine.seconds(work));
    timing.add(without, machine.seconds(without));
  }
  EXPECT_NEAR(timing.seconds(work) / machine.exactly(work), 1, 0.1);
  for (int pass = 0; pass < 150; ++pass) {
    timing.add(work, 3 * machine.seconds(work));
    timing.add(without, 3 * machine.seconds(without));
  }
  EXPECT_NEAR(timing.seconds(work) / machine.exactly(work), 3, 0.4);
}

TEST(PassTiming, SaysNothingOfWhatItHasNotSeen) {
  PassTiming timing;
  timing.add({4, 0, 0, 0}, 0.01);
  EXPECT_EQ(timing.rows_within({4, 0, 0, 0}, 0, 0.005), 0);  // no time left
  EXPECT_GT(timing.rows_within({4, 0, 0, 0}, 0, 1), 1'000'000);
  EXPECT_GE(timing.seconds({0, 0, 0, 0}), 0);
}

// ---- FairQueue ----------------------------------------------------------------------------------

TEST(FairQueue, WhoeverWasAwayGainsNothing) {
  FairQueue queue;
  const auto busy = queue.enter("busy");
  queue.charge(busy, 100'000);
  const auto other = queue.enter("other");
  EXPECT_DOUBLE_EQ(other->time, busy->time);  // alone, all of the time was its own
  queue.charge(other, 500);
  EXPECT_GT(other->time, busy->time);
  queue.leave(other);
  queue.charge(busy, 10);
  // It does not gain by coming back at once, either.
  EXPECT_GT(queue.enter("other")->time, busy->time);
}

TEST(FairQueue, NewcomersDoNotStarveThoseWhoWait) {
  FairQueue queue;
  const auto heavy = queue.enter("heavy");
  queue.charge(heavy, 1000);
  // A newcomer after the other, each with 100 tokens: the heavy one is behind at last.
  int newcomers = 0;
  for (auto newcomer = queue.enter(""); newcomer->time < heavy->time && newcomers < 100;
       newcomer = queue.enter("")) {
    queue.charge(newcomer, 100);
    queue.leave(newcomer);
    ++newcomers;
  }
  EXPECT_LT(newcomers, 25);
}

TEST(FairQueue, CreditIsBounded) {
  FairQueue queue;
  const auto slow = queue.enter("slow");
  const auto busy = queue.enter("busy");
  queue.charge(busy, 10'000'000);
  EXPECT_DOUBLE_EQ(slow->time, 0);
  (void)queue.enter("slow");
  EXPECT_GT(slow->time, 1'000'000);
  EXPECT_EQ(queue.active(), 2);
}

TEST(FairQueue, ForgetsNames) {
  FairQueue queue;
  for (int i = 0; i < 10'000; ++i) {
    const auto client = queue.enter(std::to_string(i));
    queue.charge(client, 5);
    queue.leave(client);
  }
  EXPECT_LT(queue.remembered(), 200U);
  EXPECT_EQ(queue.active(), 0);
}

// ---- Log-probabilities --------------------------------------------------------------------------

TEST(TokenProbabilities, AreThoseOfTheSoftmax) {
  const std::vector<float> logits = {1, 3, -kInfinity, 3, std::nanf(""), 0.5F};
  const double sum = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(0.5);
  const float log_sum = log_sum_exp(logits);
  EXPECT_NEAR(log_sum, std::log(sum), 1e-6);
  std::vector<TokenProbability> top;
  likeliest_tokens(logits, log_sum, 3, top);
  ASSERT_EQ(top.size(), 3U);
  EXPECT_EQ(top[0].id, 1);  // equals by id
  EXPECT_EQ(top[1].id, 3);
  EXPECT_EQ(top[2].id, 0);
  EXPECT_NEAR(top[2].log_probability, 1 - std::log(sum), 1e-6);
  likeliest_tokens(logits, log_sum, 10, top);
  EXPECT_EQ(top.size(), 4U);  // those that are possible at all
  likeliest_tokens(logits, log_sum, 0, top);
  EXPECT_TRUE(top.empty());
  EXPECT_EQ(log_sum_exp(std::vector<float>{-kInfinity}), -kInfinity);
  EXPECT_NEAR(log_sum_exp(std::vector<float>{3e38F, -3e38F}), 3e38F, 1e33);
}

TEST(TokenProbabilities, TopEqualsSorting) {
  std::mt19937 random(3);
  std::vector<float> logits(5000);
  for (float& logit : logits) logit = static_cast<float>(random() % 400) / 10;  // with equals
  std::vector<text::TokenId> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<text::TokenId>(i);
  std::stable_sort(ids.begin(), ids.end(), [&](text::TokenId a, text::TokenId b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  std::vector<TokenProbability> top;
  likeliest_tokens(logits, 0, 50, top);
  ASSERT_EQ(top.size(), 50U);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(top[i].id, ids[i]);
}

// ---- Sampler: allowed tokens --------------------------------------------------------------------

TEST(SamplerAllowed, OnlyThoseAreChosenWhateverTheBias) {
  constexpr std::int64_t kVocabulary = 200;
  const std::vector<float> logits(kVocabulary, 1.0F);
  for (const float temperature : {0.0F, 2.0F}) {
    SamplerSettings settings;
    settings.temperature = temperature;
    settings.top_k = 0;
    settings.seed = 4;
    settings.logit_bias = {{3, 50.0F}, {9, 1e30F}};
    Sampler sampler(settings, {kVocabulary, 100, {70}, {}});
    std::vector<std::uint64_t> allowed(4, 0);
    allowed[1] = (1U << 5) | (1U << 6);  // 69 and 70
    allowed[2] = ~std::uint64_t{0};      // 128 to 191
    for (int i = 0; i < 200; ++i) {
      const text::TokenId token = sampler.sample(logits, allowed);
      EXPECT_TRUE(token == 69 || (token >= 128 && token < 192)) << token;
    }
    allowed.resize(2);  // ids beyond the end are not allowed
    EXPECT_EQ(sampler.sample(logits, allowed), 69);
    allowed[1] = 1U << 6;  // suppressed
    EXPECT_THROW((void)sampler.sample(logits, allowed), Error);
  }
}

// ---- ComputeTurn --------------------------------------------------------------------------------

TEST(ComputeTurn, IsGivenInTheOrderOfAsking) {
  ComputeTurn turn;
  std::vector<int> order;
  std::vector<std::thread> threads;
  turn.lock();
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const std::lock_guard lock(turn);
      order.push_back(i);
    });
    while (turn.waiting() != i + 1) std::this_thread::yield();
  }
  turn.unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(turn.waiting(), 0);
}

}  // namespace
}  // namespace hearth::generate
