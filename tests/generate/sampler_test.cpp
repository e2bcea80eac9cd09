#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "fake_tokenizer.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

constexpr float kInfiniteLogit = std::numeric_limits<float>::infinity();

/// Everything off: plain sampling from the softmax.
SamplerSettings plain() {
  SamplerSettings settings;
  settings.temperature = 1;
  settings.top_k = 0;
  settings.top_p = 1;
  settings.min_p = 0;
  settings.seed = 1;
  return settings;
}

std::vector<float> logs(std::vector<double> probabilities) {
  std::vector<float> logits;
  for (const double probability : probabilities) {
    logits.push_back(probability > 0 ? static_cast<float>(std::log(probability)) : -kInfiniteLogit);
  }
  return logits;
}

/// How often each token is drawn of `draws`, as a fraction.
std::map<int, double> frequencies(const SamplerSettings& settings, const std::vector<float>& logits,
                                  const std::vector<text::TokenId>& history = {},
                                  int draws = 20000) {
  Sampler sampler(settings, {static_cast<std::int64_t>(logits.size()), 64, {}, {}});
  for (const text::TokenId token : history) sampler.accept(token);
  std::map<int, double> result;
  for (int draw = 0; draw < draws; ++draw) result[sampler.sample(logits)] += 1.0 / draws;
  return result;
}

/// The expected distribution, within five standard deviations of `draws` draws; nothing else may
/// occur.
void expect_distribution(const std::map<int, double>& measured,
                         const std::map<int, double>& expected, int draws = 20000) {
  for (const auto& [token, frequency] : measured) {
    EXPECT_TRUE(expected.contains(token))
        << "token " << token << " was drawn with frequency " << frequency;
  }
  for (const auto& [token, probability] : expected) {
    const double deviation = std::sqrt(probability * (1 - probability) / draws);
    const auto found = measured.find(token);
    EXPECT_NEAR(found == measured.end() ? 0 : found->second, probability, 5 * deviation + 1e-9)
        << "token " << token;
  }
}

text::TokenId greedy(const SamplerSettings& settings, const std::vector<float>& logits,
                     const std::vector<text::TokenId>& history = {},
                     std::vector<text::TokenId> suppressed = {}) {
  SamplerSettings changed = settings;
  changed.temperature = 0;
  Sampler sampler(changed,
                  {static_cast<std::int64_t>(logits.size()), 64, std::move(suppressed), {}});
  for (const text::TokenId token : history) sampler.accept(token);
  return sampler.sample(logits);
}

TEST(Random, IsXoshiro256PlusPlusSeededBySplitMix64) {
  // From the algorithms' definitions, computed independently with exact integers.
  Random random(0);
  EXPECT_EQ(random.next(), 0x53175d61490b23dfU);
  EXPECT_EQ(random.next(), 0x61da6f3dc380d507U);
  EXPECT_EQ(random.next(), 0x5c0fdf91ec9a7bfcU);
}

TEST(Random, UniformIsInTheUnitInterval) {
  Random random(7);
  double sum = 0;
  for (int draw = 0; draw < 10000; ++draw) {
    const double value = random.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

TEST(Sampler, GreedyTakesTheHighestLogitAndTheLowestIdOnTies) {
  EXPECT_EQ(greedy(plain(), {1, 5, 5, 2}), 1);
  EXPECT_EQ(greedy(plain(), {std::nanf(""), -3, -kInfiniteLogit, -2}), 3);
}

TEST(Sampler, NothingFiniteIsAnError) {
  EXPECT_THROW((void)greedy(plain(), {std::nanf(""), -kInfiniteLogit}), Error);
  EXPECT_THROW((void)frequencies(plain(), {std::nanf(""), -kInfiniteLogit}, {}, 1), Error);
  SamplerSettings settings = plain();
  settings.top_k = 1;
  EXPECT_THROW((void)frequencies(settings, {std::nanf(""), -kInfiniteLogit}, {}, 1), Error);
}

TEST(Sampler, PenaltiesBeyondFloatsStaySortable) {
  SamplerSettings settings = plain();
  settings.order = {SamplerStep::kTopP, SamplerStep::kPenalties, SamplerStep::kTemperature,
                    SamplerStep::kTopK};
  settings.top_p = 0.999F;
  settings.repeat_penalty = 1e-3F;
  settings.temperature = 0.5F;
  settings.top_k = 4;
  const std::vector<float> logits(64, 1e37F);
  const std::map<int, double> measured = frequencies(settings, logits, {5}, 10);
  ASSERT_EQ(measured.size(), 1U);
  EXPECT_EQ(measured.begin()->first, 5);
}

TEST(Sampler, PlainSamplingFollowsTheSoftmax) {
  expect_distribution(frequencies(plain(), logs({0.5, 0.3, 0.2, 0})),
                      {{0, 0.5}, {1, 0.3}, {2, 0.2}});
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  const std::vector<float> logits = logs({0.1, 0.2, 0.3, 0.4});
  std::vector<text::TokenId> runs[2];
  for (auto& run : runs) {
    Sampler sampler(plain(), {4, 8, {}, {}});
    for (int draw = 0; draw < 50; ++draw) run.push_back(sampler.sample(logits));
  }
  EXPECT_EQ(runs[0], runs[1]);
}

TEST(Sampler, TemperatureScalesTheLogits) {
  SamplerSettings settings = plain();
  settings.temperature = 0.5;  // squares the probabilities
  expect_distribution(frequencies(settings, logs({0.6, 0.3, 0.1})),
                      {{0, 0.36 / 0.46}, {1, 0.09 / 0.46}, {2, 0.01 / 0.46}});
  settings.temperature = 1e-30F;
  expect_distribution(frequencies(settings, logs({0.3, 0.6, 0.1})), {{1, 1.0}});
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  SamplerSettings settings = plain();
  settings.top_k = 2;
  expect_distribution(frequencies(settings, logs({0.1, 0.5, 0.15, 0.25})),
                      {{1, 2.0 / 3}, {3, 1.0 / 3}});
}

TEST(Sampler, TopKOnTiesKeepsTheLowestIds) {
  SamplerSettings settings = plain();
  settings.top_k = 2;
  expect_distribution(frequencies(settings, {1, 1, 1, 1}), {{0, 0.5}, {1, 0.5}});
}

TEST(Sampler, TopKByHeapAndBySelectionAgree) {
  std::vector<float> logits(5000);
  Random random(3);
  for (float& logit : logits) logit = static_cast<float>(static_cast<int>(random.uniform() * 80));
  for (const int count : {1, 40, 511, 512, 513, 4999}) {
    SamplerSettings heap = plain();
    heap.top_k = count;
    SamplerSettings selection = heap;  // a min-p that removes nothing makes candidates first
    selection.min_p = 1e-37F;
    selection.order = {SamplerStep::kMinP, SamplerStep::kTopK, SamplerStep::kTemperature};
    heap.temperature = selection.temperature = 30;
    Sampler first(heap, {5000, 8, {}, {}});
    Sampler second(selection, {5000, 8, {}, {}});
    for (int draw = 0; draw < 200; ++draw)
      ASSERT_EQ(first.sample(logits), second.sample(logits)) << count;
  }
}

TEST(Sampler, TopPKeepsTheFewestThatReachP) {
  SamplerSettings settings = plain();
  settings.top_p = 0.7F;
  expect_distribution(frequencies(settings, logs({0.15, 0.5, 0.1, 0.25})),
                      {{1, 2.0 / 3}, {3, 1.0 / 3}});
  settings.top_p = 0;
  expect_distribution(frequencies(settings, logs({0.15, 0.5, 0.1, 0.25})), {{1, 1.0}});
}

TEST(Sampler, TopPOverManyEqualTokens) {
  SamplerSettings settings = plain();
  settings.top_p = 0.5F;
  const std::vector<float> logits(4096, 0.25F);
  const auto measured = frequencies(settings, logits, {}, 5000);
  EXPECT_LT(measured.rbegin()->first, 2048);  // exactly the lower half
  EXPECT_GT(measured.size(), 1500U);
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  SamplerSettings settings = plain();
  settings.min_p = 0.45F;
  expect_distribution(frequencies(settings, logs({0.5, 0.25, 0.2, 0.05})),
                      {{0, 2.0 / 3}, {1, 1.0 / 3}});
}

TEST(Sampler, TypicalKeepsTokensNearTheEntropy) {
  // Entropy of {0.4, 0.2, 0.2, 0.2}: 1.332; surprises 0.916 and 1.609: the 0.2s are nearer (0.277
  // against 0.416).
  SamplerSettings settings = plain();
  settings.typical = 0.55F;
  expect_distribution(frequencies(settings, logs({0.4, 0.2, 0.2, 0.2})),
                      {{1, 1.0 / 3}, {2, 1.0 / 3}, {3, 1.0 / 3}});
}

TEST(Sampler, PenaltiesByHand) {
  SamplerSettings settings = plain();
  settings.repeat_penalty = 2;
  EXPECT_EQ(greedy(settings, {4, 2.5, -1}, {0}), 1);    // 4 / 2 < 2.5
  EXPECT_EQ(greedy(settings, {-1, -1.5, -9}, {0}), 1);  // -1 * 2 < -1.5
  settings = plain();
  settings.frequency_penalty = 1;
  EXPECT_EQ(greedy(settings, {4, 2.5, 1}, {0}), 0);     // 4 - 1
  EXPECT_EQ(greedy(settings, {4, 2.5, 1}, {0, 0}), 1);  // 4 - 2
  settings = plain();
  settings.presence_penalty = 1;
  EXPECT_EQ(greedy(settings, {4, 2.5, 1}, {0, 0, 0}), 0);  // 4 - 1, however often
  settings.presence_penalty = 2;
  EXPECT_EQ(greedy(settings, {4, 2.5, 1}, {0}), 1);
}

TEST(Sampler, ThePenaltyWindowSlides) {
  SamplerSettings settings = plain();
  settings.presence_penalty = 2;
  settings.repeat_last_n = 2;
  EXPECT_EQ(greedy(settings, {4, 3, 1}, {0, 2}), 1);
  EXPECT_EQ(greedy(settings, {4, 3, 1}, {0, 2, 2}), 0);  // 0 left the window
  settings.repeat_last_n = -1;
  EXPECT_EQ(greedy(settings, {4, 3, 1}, {0, 2, 2}), 1);
  settings.repeat_last_n = 0;
  EXPECT_EQ(greedy(settings, {4, 3, 1}, {0}), 0);
}

TEST(Sampler, PenaltiesWorkAfterTruncationToo) {
  SamplerSettings settings = plain();
  settings.order = {SamplerStep::kTopK, SamplerStep::kPenalties, SamplerStep::kDry};
  settings.top_k = 2;
  settings.presence_penalty = 50;
  expect_distribution(frequencies(settings, logs({0.6, 0.3, 0.1}), {0}, 200), {{1, 1.0}});
  settings.presence_penalty = 0;
  settings.dry_multiplier = 50;
  expect_distribution(frequencies(settings, logs({0.6, 0.3, 0.1}), {1, 2, 0, 1, 2}, 200),
                      {{1, 1.0}});
}

class Dry : public ::testing::Test {
 protected:
  /// The logit that token 0 must have at least to win against 0 for token 9: its penalty, by
  /// bisection.
  static double penalty_of(int token, const std::vector<text::TokenId>& history,
                           SamplerSettings settings, std::vector<text::TokenId> breakers = {}) {
    settings.temperature = 0;
    double low = 0, high = 1000;
    for (int step = 0; step < 60; ++step) {
      const double middle = (low + high) / 2;
      std::vector<float> logits(10, -1e6F);
      logits[9] = 0;
      logits[static_cast<std::size_t>(token)] = static_cast<float>(middle);
      Sampler sampler(settings, {10, 64, {}, breakers});
      for (const text::TokenId id : history) sampler.accept(id);
      (sampler.sample(logits) == token ? high : low) = middle;
    }
    return low;
  }

  static SamplerSettings settings() {
    SamplerSettings result = plain();
    result.dry_multiplier = 0.8F;
    result.dry_base = 1.75F;
    return result;
  }
};

TEST_F(Dry, BreakersBeyondTheVocabularyAreNoBreakers) {
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 3, 4}, settings(), {10, 1000000}), 0.8, 1e-4);
}

TEST_F(Dry, PenaltyGrowsWithTheLengthOfTheRepetition) {
  // ... 1 2 3 4 5 ... 1 2 3 4: 5 would lengthen a repetition of 4.
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4}, settings()), 0.8 * 1.75 * 1.75, 1e-4);
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 2, 3, 4}, settings()), 0.8 * 1.75, 1e-4);
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 3, 4}, settings()), 0.8, 1e-4);
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 4}, settings()), 0, 1e-4);  // 1 < allowed length 2
  EXPECT_NEAR(penalty_of(7, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4}, settings()), 0, 1e-4);
}

TEST_F(Dry, OfSeveralRepetitionsTheLongestCounts) {
  EXPECT_NEAR(penalty_of(5, {3, 4, 5, 0, 2, 3, 4, 5, 0, 1, 3, 4, 5, 2, 3, 4}, settings()),
              0.8 * 1.75, 1e-4);
}

TEST_F(Dry, OverlappingRepetitions) {
  // 1 1 1 1 1: the last four repeat the first four.
  EXPECT_NEAR(penalty_of(1, {1, 1, 1, 1, 1}, settings()), 0.8 * 1.75 * 1.75, 1e-4);
}

TEST_F(Dry, RepetitionsEndAtBreakers) {
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4}, settings(), {2}), 0.8, 1e-4);
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4}, settings(), {4}), 0, 1e-4);
}

TEST_F(Dry, TheWindowAndTheAllowedLengthAreRespected) {
  SamplerSettings changed = settings();
  changed.dry_last_n = 6;
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4}, changed), 0, 1e-4);
  changed = settings();
  changed.dry_allowed_length = 4;
  EXPECT_NEAR(penalty_of(5, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4}, changed), 0.8, 1e-4);
}

TEST_F(Dry, LongRepetitionsStayFinite) {
  SamplerSettings changed = settings();
  changed.dry_base = 100;
  changed.temperature = 0;
  Sampler sampler(changed, {3, 4000, {}, {}});
  for (int index = 0; index < 4000; ++index) sampler.accept(index % 2);
  EXPECT_EQ(sampler.sample(std::vector<float>{5, 4, -1e30F}), 1);
}

TEST_F(Dry, MatchesAQuadraticSearchOnRandomTexts) {
  Random random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<text::TokenId> history;
    for (int index = 0; index < 40; ++index)
      history.push_back(static_cast<int>(random.uniform() * 3));
    std::vector<int> longest(3, 0);
    for (std::size_t end = 0; end + 1 < history.size(); ++end) {
      int length = 0;
      while (static_cast<std::size_t>(length) <= end &&
             history[end - static_cast<std::size_t>(length)] ==
                 history[history.size() - 1 - static_cast<std::size_t>(length)]) {
        ++length;
      }
      int& most = longest[static_cast<std::size_t>(history[end + 1])];
      most = std::max(most, length);
    }
    SamplerSettings changed = settings();
    changed.temperature = 0;
    std::vector<double> penalties;
    for (const int length : longest)
      penalties.push_back(length < 2 ? 0 : 0.8 * std::pow(1.75, length - 2));
    const auto least = std::min_element(penalties.begin(), penalties.end());
    Sampler sampler(changed, {3, 64, {}, {}});
    for (const text::TokenId id : history) sampler.accept(id);
    EXPECT_EQ(sampler.sample(std::vector<float>{0, 0, 0}), least - penalties.begin());
  }
}

TEST(Sampler, DryBreakersAreFoundInTokens) {
  testing::FakeTokenizer tokenizer({"a", "\n", "b\n", ":", "x", "y"});
  const std::vector<std::string> breakers = {"\n", ":", "xy"};
  EXPECT_EQ(dry_breaker_tokens(tokenizer, breakers), (std::vector<text::TokenId>{1, 2, 3, 5}));
}

TEST(Sampler, XtcRemovesAllButTheLeastLikelyTopChoice) {
  SamplerSettings settings = plain();
  settings.xtc_probability = 1;
  settings.xtc_threshold = 0.15F;
  expect_distribution(frequencies(settings, logs({0.4, 0.2, 0.3, 0.1})),
                      {{1, 2.0 / 3}, {3, 1.0 / 3}});
  settings.xtc_threshold = 0.35F;  // only one top choice: nothing happens
  expect_distribution(frequencies(settings, logs({0.4, 0.2, 0.3, 0.1})),
                      {{0, 0.4}, {1, 0.2}, {2, 0.3}, {3, 0.1}});
  settings.xtc_threshold = 0.15F;
  settings.xtc_probability = 0.5F;
  expect_distribution(frequencies(settings, logs({0.4, 0.2, 0.3, 0.1})),
                      {{0, 0.2}, {1, 0.1 + 1.0 / 3}, {2, 0.15}, {3, 0.05 + 1.0 / 6}});
}

TEST(Sampler, MirostatDropsTokensMoreSurprisingThanMu) {
  // mu = 2 tau = 2 bits at first: of {0.5, 0.25, 0.125, 0.125} the surprises 1, 2, 3, 3 leave the
  // first two.
  SamplerSettings settings = plain();
  settings.mirostat = 2;
  settings.mirostat_tau = 1.0001F;
  settings.mirostat_eta = 0;
  settings.top_k = 1;  // replaced
  expect_distribution(frequencies(settings, logs({0.5, 0.25, 0.125, 0.125})),
                      {{0, 2.0 / 3}, {1, 1.0 / 3}});
}

TEST(Sampler, MirostatHoldsTheTargetSurprise) {
  SamplerSettings settings = plain();
  settings.mirostat = 2;
  settings.mirostat_tau = 3;
  std::vector<float> logits;
  for (int id = 0; id < 1000; ++id)
    logits.push_back(-1.1F * std::log(static_cast<float>(id + 1)));  // Zipf
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit);
  Sampler sampler(settings, {1000, 8, {}, {}});
  double surprise = 0;
  for (int draw = 0; draw < 4000; ++draw) {
    const auto id = static_cast<std::size_t>(sampler.sample(logits));
    surprise -= std::log2(std::exp(logits[id]) / sum) / 4000;
  }
  EXPECT_NEAR(surprise, 3.0, 0.1);
}

TEST(Sampler, BiasAndSuppressedTokens) {
  SamplerSettings settings = plain();
  settings.logit_bias = {{2, 10}, {99, 5}};
  EXPECT_EQ(greedy(settings, {4, 2, 1}), 2);
  settings.logit_bias = {{0, -kInfiniteLogit}};
  EXPECT_EQ(greedy(settings, {4, 2, 1}), 1);
  EXPECT_EQ(greedy(plain(), {4, 2, 1}, {}, {0, 1}), 2);
  expect_distribution(frequencies(settings, logs({0.8, 0.1, 0.1}), {}, 2000), {{1, 0.5}, {2, 0.5}},
                      2000);
}

TEST(Sampler, TheOrderMatters) {
  // Temperature first flattens the distribution, so that top-p keeps more.
  SamplerSettings settings = plain();
  settings.temperature = 4;
  settings.top_p = 0.6F;
  const std::vector<float> logits = logs({0.7, 0.2, 0.1});
  EXPECT_EQ(frequencies(settings, logits).size(), 1U);
  settings.order = {SamplerStep::kTemperature, SamplerStep::kTopP};
  EXPECT_EQ(frequencies(settings, logits).size(), 2U);
  settings.order = {};
  EXPECT_EQ(frequencies(settings, logits).size(), 3U);
}

TEST(Sampler, WrongSizesAreAnError) {
  Sampler sampler(plain(), {4, 8, {}, {}});
  EXPECT_THROW((void)sampler.sample(std::vector<float>{1, 2, 3}), Error);
}

TEST(SamplerSettings, RangesAreChecked) {
  const auto message = [](auto change) {
    SamplerSettings settings;
    change(settings);
    try {
      validate(settings);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message([](SamplerSettings&) {}), "");
  EXPECT_EQ(message([](SamplerSettings& s) { s.top_p = 1.5F; }),
            "top-p is 1.5, but must be a number from 0 to 1");
  EXPECT_EQ(message([](SamplerSettings& s) { s.top_k = -1; }),
            "top-k is -1, but must be a whole number from 0 up");
  EXPECT_EQ(message([](SamplerSettings& s) { s.mirostat = 1; }),
            "mirostat is 1, but must be 0 (off) or 2");
  EXPECT_NE(message([](SamplerSettings& s) { s.temperature = std::nanf(""); }), "");
  EXPECT_NE(message([](SamplerSettings& s) { s.logit_bias = {{-1, 1.0F}}; }), "");
}

TEST(SamplerSettings, OrdersAreParsed) {
  EXPECT_EQ(parse_order("top_k, temperature;min-p"),
            (std::vector{SamplerStep::kTopK, SamplerStep::kTemperature, SamplerStep::kMinP}));
  EXPECT_THROW((void)parse_order("top-k,best"), Error);
  EXPECT_THROW((void)parse_order("top-k,top-k"), Error);
  EXPECT_THROW((void)parse_order(""), Error);
}

}  // namespace
}  // namespace hearth::generate
