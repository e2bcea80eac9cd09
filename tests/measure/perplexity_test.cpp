// Perplexities and comparisons against the plainest computation.
#include "measure/perplexity.h"

#include <cmath>

#include "measure/base_file.h"
#include "measured.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using measure::measure_perplexity;
using measure::PerplexityOptions;
using measure::PerplexityResult;
using measure::TokenChunks;
using measure::WantedLogits;

constexpr const char* kStory =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big red ball under a tree. She wanted to play with it, but it was too "
    "high. "
    "Her mom came and said, \"Do not worry, Lily. I will help you.\" They were very happy and "
    "played "
    "with the ball all day. When the sun went down, Lily and her mom went home to eat dinner.";

/// The negative log-likelihoods of the second half of every chunk but its first token, from logits
/// that were computed one token at a time.
std::vector<double> plain_nll(const std::filesystem::path& path, const TokenChunks& chunks) {
  const auto model = load_measured(path, chunks.size(), 1, 1, WantedLogits::kAll);
  std::vector<double> nll;
  for (std::int64_t c = 0; c < chunks.count(); ++c) {
    const auto sequence = model->new_sequence();
    const auto tokens = chunks.chunk(c);
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const model::BatchRow row{
          .sequence = sequence.get(), .token = tokens[i], .wants_logits = true};
      const std::span<const float> logits = model->run({&row, 1});
      if (i < tokens.size() / 2) continue;
      long double sum = 0;
      for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
      const auto next = static_cast<std::size_t>(tokens[i + 1]);
      nll.push_back(static_cast<double>(std::log(sum) - logits[next]));
    }
  }
  return nll;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double standard_error(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += (value - mean(values)) * (value - mean(values));
  const auto n = static_cast<double>(values.size());
  return std::sqrt(sum / (n - 1) / n);
}

PerplexityResult measured(const std::filesystem::path& path, const TokenChunks& chunks,
                          std::int64_t batch, PerplexityOptions options = {}, bool fast = false) {
  const auto model =
      load_measured(path, chunks.size(), chunks.count(), batch, WantedLogits::kSecondHalf, fast);
  options.threads = 2;
  return measure_perplexity(*model, chunks, options);
}

TokenChunks story_chunks(std::int64_t size, std::int64_t most = 0) {
  const gguf::File file = gguf::File::open(stories_model());
  return {*text::Tokenizer::create(file.metadata()), kStory, size, most};
}

class Stories : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(stories_model()); }
};

TEST_F(Stories, ChunksBeginWithBosAndDropTheRest) {
  const TokenChunks chunks = story_chunks(32);
  const gguf::File file = gguf::File::open(stories_model());
  const auto tokenizer = text::Tokenizer::create(file.metadata());
  const auto tokens = tokenizer->encode(std::string_view(kStory), {.add_special = true});
  ASSERT_EQ(chunks.count(), static_cast<std::int64_t>(tokens.size() / 32));
  ASSERT_GE(chunks.count(), 3);
  for (std::int64_t c = 0; c < chunks.count(); ++c) {
    const auto chunk = chunks.chunk(c);
    EXPECT_EQ(chunk[0], tokenizer->special().bos);
    for (std::size_t i = 1; i < 32; ++i) {
      EXPECT_EQ(chunk[i], tokens[static_cast<std::size_t>(c) * 32 + i]);
    }
  }
  EXPECT_EQ(story_chunks(32, 2).count(), 2);
  EXPECT_THROW(story_chunks(1024), Error);
  EXPECT_THROW(TokenChunks(*tokenizer, "", 32), Error);
}

/// Several sequences per pass, one, and parts of one.
TEST_F(Stories, PerplexityEqualsThePlainComputation) {
  const TokenChunks chunks = story_chunks(32);
  const std::vector<double> nll = plain_nll(stories_model(), chunks);
  ASSERT_EQ(static_cast<std::int64_t>(nll.size()), chunks.count() * 15);
  for (const std::int64_t batch : {1, 7, 20, 40, 70, 512}) {
    const PerplexityResult result = measured(stories_model(), chunks, batch);
    EXPECT_EQ(result.chunks, chunks.count());
    EXPECT_EQ(result.scored, static_cast<std::int64_t>(nll.size()));
    EXPECT_EQ(result.evaluated, chunks.count() * 31);
    EXPECT_NEAR(result.nll.value, mean(nll), 1e-6) << batch;
    EXPECT_NEAR(result.nll.error, standard_error(nll), 1e-6);
    EXPECT_NEAR(result.perplexity.value, std::exp(mean(nll)), 1e-5);
    EXPECT_NEAR(result.perplexity.error, std::exp(mean(nll)) * standard_error(nll), 1e-5);
    EXPECT_FALSE(result.comparison);
  }
  // A trained model on a text of its kind.
  EXPECT_LT(std::exp(mean(nll)), 8);
}

TEST_F(Stories, TheFastPathIsNear) {
  const TokenChunks chunks = story_chunks(48);
  const double exact = measured(stories_model(), chunks, 512).perplexity.value;
  const double fast = measured(stories_model(), chunks, 512, {}, /*fast=*/true).perplexity.value;
  EXPECT_NEAR(fast, exact, 0.01 * exact);
}

TEST_F(Stories, OddChunksScoreTheSecondHalf) {
  const TokenChunks chunks = story_chunks(33);
  const std::vector<double> nll = plain_nll(stories_model(), chunks);
  const PerplexityResult result = measured(stories_model(), chunks, 512);
  EXPECT_EQ(result.scored, chunks.count() * 16);
  EXPECT_NEAR(result.nll.value, mean(nll), 1e-6);
}

TEST_F(Stories, ComparedWithItselfNothingDiffers) {
  const TemporaryFolder folder;
  const TokenChunks chunks = story_chunks(32);
  PerplexityOptions save;
  save.save = folder / "base.kl";
  const PerplexityResult base = measured(stories_model(), chunks, 512, save);
  PerplexityOptions compare;
  compare.base = folder / "base.kl";
  const PerplexityResult same = measured(stories_model(), chunks, 20, compare);
  ASSERT_TRUE(same.comparison);
  const measure::Comparison& c = *same.comparison;
  EXPECT_NEAR(c.base_perplexity.value, base.perplexity.value, 1e-5);
  EXPECT_NEAR(c.base_perplexity.error, base.perplexity.error, 1e-5);
  EXPECT_NEAR(c.ratio.value, 1, 1e-6);
  EXPECT_NEAR(c.difference.value, 0, 1e-5);
  EXPECT_LT(c.divergence.value, 1e-7);
  EXPECT_LT(c.divergences.largest, 1e-6);
  EXPECT_LT(c.probability_change_rms, 1e-6);
  EXPECT_EQ(c.same_best.value, 1);
  EXPECT_EQ(c.same_best.error, 0);
}

TEST_F(Stories, BasesOfOtherTextsAreRefused) {
  const TemporaryFolder folder;
  TokenChunks chunks = story_chunks(32);
  PerplexityOptions save;
  save.save = folder / "base.kl";
  (void)measured(stories_model(), chunks, 512, save);
  const auto complaint = [&](TokenChunks of, std::int64_t vocabulary, bool whole) -> std::string {
    try {
      match_base(of, folder / "base.kl", vocabulary, whole);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(complaint(chunks, 512, true), "");
  EXPECT_NE(complaint(chunks, 513, true).find("vocabulary of 512"), std::string::npos);
  EXPECT_NE(complaint(story_chunks(40), 512, true).find("chunks of 32"), std::string::npos);
  EXPECT_NE(complaint(story_chunks(32, 2), 512, true).find("the text only 2"), std::string::npos);
  EXPECT_EQ(complaint(story_chunks(32, 2), 512, false), "");
  std::vector<text::TokenId> other;
  for (std::int64_t c = 0; c < chunks.count(); ++c) {
    other.insert(other.end(), chunks.chunk(c).begin(), chunks.chunk(c).end());
  }
  other[40] ^= 1;
  const TokenChunks changed(other, 32);
  EXPECT_NE(complaint(changed, 512, true).find("from chunk 2 on"), std::string::npos);
  PerplexityOptions compare;
  compare.base = folder / "base.kl";
  EXPECT_THROW((void)measured(stories_model(), changed, 512, compare), Error);
}

/// A quantized model against another one, by the plain sums over both models' logits.
TEST(Comparison, EqualsThePlainComputation) {
  HEARTH_REQUIRE_FILE(golden_model("llama-256-Q4_K_M"));
  const TemporaryFolder folder;
  const TokenChunks chunks(golden_prompt("llama-256-Q4_K_M"), 24);
  ASSERT_EQ(chunks.count(), 2);
  PerplexityOptions save;
  save.save = folder / "base.kl";
  (void)measured(golden_model("llama-256-Q8_0"), chunks, 512, save);
  PerplexityOptions compare;
  compare.base = folder / "base.kl";
  const auto result = measured(golden_model("llama-256-Q4_K_M"), chunks, 512, compare);

  const auto p_model = load_measured(golden_model("llama-256-Q8_0"), 24, 1, 24, WantedLogits::kAll);
  const auto q_model =
      load_measured(golden_model("llama-256-Q4_K_M"), 24, 1, 24, WantedLogits::kAll);
  const auto log_softmax = [&](model::LoadedModel& model, std::int64_t chunk) {
    const auto sequence = model.new_sequence();
    std::vector<model::BatchRow> rows;
    for (const text::TokenId token : chunks.chunk(chunk)) {
      rows.push_back({.sequence = sequence.get(), .token = token, .wants_logits = true});
    }
    const std::span<const float> logits = model.run(rows);
    const auto size = static_cast<std::size_t>(model.spec().logits);
    std::vector<std::vector<double>> result_rows;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = logits.subspan(i * size, size);
      long double sum = 0;
      for (const float logit : row) sum += std::exp(static_cast<long double>(logit));
      auto& out = result_rows.emplace_back();
      for (const float logit : row) out.push_back(static_cast<double>(logit - std::log(sum)));
    }
    return result_rows;
  };
  std::vector<double> divergences, p_nll, q_nll, change, change_squared, same, ratio;
  for (std::int64_t c = 0; c < 2; ++c) {
    const auto p = log_softmax(*p_model, c);
    const auto q = log_softmax(*q_model, c);
    for (std::size_t i = 12; i < 23; ++i) {
      double sum = 0;
      for (std::size_t t = 0; t < p[i].size(); ++t) {
        sum += std::exp(p[i][t]) * (p[i][t] - q[i][t]);
      }
      divergences.push_back(sum);
      const auto next = static_cast<std::size_t>(chunks.chunk(c)[i + 1]);
      p_nll.push_back(-p[i][next]);
      q_nll.push_back(-q[i][next]);
      ratio.push_back(p[i][next] - q[i][next]);
      change.push_back(std::exp(q[i][next]) - std::exp(p[i][next]));
      change_squared.push_back(change.back() * change.back());
      const auto best = [](const std::vector<double>& row) {
        return std::max_element(row.begin(), row.end()) - row.begin();
      };
      same.push_back(best(p[i]) == best(q[i]) ? 1 : 0);
    }
  }
  ASSERT_TRUE(result.comparison);
  const measure::Comparison& m = *result.comparison;
  EXPECT_GT(m.divergence.value, 1e-4);
  EXPECT_NEAR(m.divergence.value, mean(divergences), 1e-4 * mean(divergences) + 1e-7);
  EXPECT_NEAR(m.divergence.error, standard_error(divergences), 1e-5);
  EXPECT_NEAR(m.divergences.largest, *std::max_element(divergences.begin(), divergences.end()),
              1e-5);
  EXPECT_NEAR(m.base_perplexity.value, std::exp(mean(p_nll)), 1e-3);
  EXPECT_NEAR(result.perplexity.value, std::exp(mean(q_nll)), 1e-3);
  EXPECT_NEAR(m.ratio.value, std::exp(mean(ratio)), 1e-6);
  EXPECT_NEAR(m.ratio.error, std::exp(mean(ratio)) * standard_error(ratio), 1e-6);
  EXPECT_NEAR(m.difference.value, std::exp(mean(q_nll)) - std::exp(mean(p_nll)), 1e-3);
  // The error of the difference, from the values of every token.
  std::vector<double> linear;
  for (std::size_t i = 0; i < p_nll.size(); ++i) {
    linear.push_back(std::exp(mean(q_nll)) * q_nll[i] - std::exp(mean(p_nll)) * p_nll[i]);
  }
  EXPECT_NEAR(m.difference.error, standard_error(linear), 1e-3 * standard_error(linear));
  EXPECT_NEAR(m.probability_change.value, mean(change), 1e-6);
  EXPECT_NEAR(m.probability_change.error, standard_error(change), 1e-6);
  EXPECT_NEAR(m.probability_change_rms, std::sqrt(mean(change_squared)), 1e-6);
  EXPECT_NEAR(m.same_best.value, mean(same), 1e-12);
  EXPECT_NEAR(m.same_best.error, standard_error(same), 1e-9);
}

TEST(Distribution, PercentilesLieBetweenNeighbours) {
  std::vector<float> values;
  for (int i = 1000; i >= 0; --i) values.push_back(static_cast<float>(i));
  const measure::Distribution d = measure::distribution_of(values);
  EXPECT_DOUBLE_EQ(d.median, 500);
  EXPECT_DOUBLE_EQ(d.percentile_90, 900);
  EXPECT_NEAR(d.percentile_99_9, 999, 1e-9);
  EXPECT_DOUBLE_EQ(d.largest, 1000);
  EXPECT_DOUBLE_EQ(measure::distribution_of({1, 2}).median, 1.5);
  EXPECT_DOUBLE_EQ(measure::distribution_of({3}).percentile_99, 3);
}

TEST(ChunkSetup, RefusesModelsThatDoNotGoOn) {
  HEARTH_REQUIRE_FILE(golden_model("bert"));
  for (const char* name : {"bert", "t5"}) {
    const auto spec = model::describe_model(gguf::File::open(golden_model(name)), {64});
    EXPECT_THROW((void)measure::chunk_setup({}, spec, 32, 1, 512, WantedLogits::kNone), Error);
  }
}

TEST(ChunkSetup, CodedKeysAndValuesAreLookedBackOn) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  const auto spec = model::describe_model(gguf::File::open(golden_model("llama-plain")), {512});
  const auto rows = [&](const char* format, std::int64_t batch) {
    spec::Setup setup;
    setup.kv_type = spec::parse_kv_format(format);
    return measure::chunk_setup(setup, spec, 512, 4, batch, WantedLogits::kNone).setup.batch_rows;
  };
  EXPECT_GT(rows("q8_0", 512), 64);
  EXPECT_EQ(rows("tq2", 512), 64);
  EXPECT_EQ(rows("q8_0:tq4", 512), 64);
  EXPECT_EQ(rows("tq2", 16), 16);
}

/// Every model that goes on with a text can be measured, and batching changes nothing.
TEST(Families, DoNotMindTheBatching) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  for (const char* name : {"gemma2", "deepseek2", "falcon-h1", "rwkv7", "qwen3next", "gpt-oss"}) {
    const TokenChunks chunks(golden_prompt(name), 16);
    ASSERT_GE(chunks.count(), 2) << name;
    const double one = measured(golden_model(name), chunks, 15).nll.value;
    const double many = measured(golden_model(name), chunks, 512).nll.value;
    EXPECT_NEAR(one, many, 1e-5) << name;
    EXPECT_GT(one, 0) << name;
  }
}

}  // namespace
}  // namespace hearth::testing
