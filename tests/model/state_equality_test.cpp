// What a sequence remembers, for every kind of mixer: neighbours in a pass, cutting back, forks and
// saved states change nothing in the logits.
#include <array>
#include <cstddef>

#include "compute/cpu/cpu_backend.h"
#include "golden_case.h"
#include "shared_dir.h"

namespace hearth::testing {
namespace {

using model::BatchRow;
using state::SequenceState;

/// Longer than a page and than the windows of the golden models.
constexpr std::size_t kTokens = 150;

class StateEquality : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
    const GoldenCase golden(GetParam());
    prompt_ = golden.ids("prompt_tokens");
    model_ = std::make_unique<ModelOnBackend>(
        golden.model(),
        compute::make_cpu_backend({.threads = 2, .exact = true, .instruction_set = ""}));
  }

  /// A text of its own for every `seed`, of tokens of the golden prompt.
  [[nodiscard]] std::vector<std::int32_t> text(std::size_t seed) const {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < kTokens; ++i)
      tokens.push_back(prompt_[(i * (2 * seed + 1) + i * i / 7 + seed) % prompt_.size()]);
    return tokens;
  }

  static void add_rows(std::vector<BatchRow>& rows, SequenceState& sequence,
                       std::span<const std::int32_t> tokens) {
    for (const std::int32_t token : tokens)
      rows.push_back({.sequence = &sequence, .token = token, .wants_logits = true});
  }

  std::vector<float> evaluate(SequenceState& sequence, std::span<const std::int32_t> tokens) {
    std::vector<BatchRow> rows;
    add_rows(rows, sequence, tokens);
    return model_->run_rows(rows);
  }

  /// Logits of a text that is evaluated alone, at once.
  std::vector<float> alone(std::span<const std::int32_t> tokens) {
    const auto sequence = model_->new_sequence();
    return evaluate(*sequence, tokens);
  }

  /// The logits of rows from `first` on.
  [[nodiscard]] std::span<const float> from(std::span<const float> logits,
                                            std::size_t first) const {
    return logits.subspan(first * static_cast<std::size_t>(model_->spec().logits));
  }

  void expect_equal(std::span<const float> values, std::span<const float> expected,
                    const char* what) const {
    ASSERT_EQ(values.size(), expected.size()) << what;
    EXPECT_LE(nmse(values, expected), golden_tolerance(GetParam())) << what;
  }

  std::vector<std::int32_t> prompt_;
  std::unique_ptr<ModelOnBackend> model_;
};

TEST_P(StateEquality, SequencesOfOnePassDoNotSeeEachOther) {
  const std::array<std::vector<std::int32_t>, 2> texts = {text(0), text(1)};
  const std::array<std::vector<float>, 2> expected = {alone(texts[0]), alone(texts[1])};
  ASSERT_NE(expected[0], expected[1]);

  const std::array<std::unique_ptr<SequenceState>, 2> sequences = {model_->new_sequence(),
                                                                   model_->new_sequence()};
  // Rows of either sequence in one pass, in turns first; sometimes one of them has none.
  constexpr std::array<std::array<std::size_t, 2>, 6> kRows = {
      {{5, 1}, {1, 1}, {0, 20}, {40, 33}, {1, 0}, {30, 2}}};
  std::array<std::vector<float>, 2> logits;
  std::array<std::size_t, 2> done = {0, 0};
  const auto width = static_cast<std::size_t>(model_->spec().logits);
  for (std::size_t pass = 0; done[0] < kTokens || done[1] < kTokens; ++pass) {
    std::array<std::size_t, 2> count{};
    std::vector<BatchRow> rows;
    const std::size_t first = pass % 2;
    for (const std::size_t s : {first, 1 - first}) {
      count[s] = std::min(kRows[pass % kRows.size()][s], kTokens - done[s]);
      add_rows(rows, *sequences[s], std::span(texts[s]).subspan(done[s], count[s]));
    }
    if (rows.empty()) continue;
    const std::vector<float> result = model_->run_rows(rows);
    const auto split = result.begin() + static_cast<std::ptrdiff_t>(count[first] * width);
    logits[first].insert(logits[first].end(), result.begin(), split);
    logits[1 - first].insert(logits[1 - first].end(), split, result.end());
    for (const std::size_t s : {0, 1}) done[s] += count[s];
  }
  expect_equal(logits[0], expected[0], "first text");
  expect_equal(logits[1], expected[1], "second text");
}

TEST_P(StateEquality, EvaluatesAgainAfterCuttingBack) {
  const std::vector<std::int32_t> tokens = text(2);
  const std::vector<std::int32_t> others = text(3);
  const std::vector<float> expected = alone(tokens);
  const auto sequence = model_->new_sequence();
  // Prefixes of the text, then rows of another text, which are taken back again.
  std::size_t done = 0;
  std::vector<float> logits;
  for (const std::size_t target : {1, 30, 75, 149, 150}) {
    const std::vector<float> part =
        evaluate(*sequence, std::span(tokens).subspan(done, target - done));
    logits.insert(logits.end(), part.begin(), part.end());
    done = target;
    evaluate(*sequence, std::span(others).first(target % 2 == 0 ? 13 : 1));
    ASSERT_EQ(sequence->truncate(static_cast<std::int64_t>(done)), static_cast<std::int64_t>(done))
        << "after " << target;
  }
  expect_equal(logits, expected, "after wrong rows were taken back");

  // To somewhere in the past: wherever the sequence says that it is now.
  for (const std::int64_t wanted : {140, 101, 64, 30, 7, 0}) {
    const std::int64_t left = sequence->truncate(wanted);
    ASSERT_LE(left, wanted);
    ASSERT_EQ(sequence->length(), left);
    const auto first = static_cast<std::size_t>(left);
    expect_equal(evaluate(*sequence, std::span(tokens).subspan(first)), from(expected, first),
                 "after cutting back");
  }
}

TEST_P(StateEquality, ForksGoTheirOwnWays) {
  const std::vector<std::int32_t> tokens = text(4);
  std::vector<std::int32_t> others = text(5);
  constexpr std::size_t kFork = 70;
  std::copy_n(tokens.begin(), kFork, others.begin());
  const std::vector<float> expected = alone(tokens);
  const std::vector<float> expected_fork = alone(others);

  const auto sequence = model_->new_sequence();
  evaluate(*sequence, std::span(tokens).first(kFork));
  const auto fork = sequence->fork();
  // First the fork writes, then the original, then both.
  std::vector<float> of_fork = evaluate(*fork, std::span(others).subspan(kFork, 9));
  std::vector<float> of_first = evaluate(*sequence, std::span(tokens).subspan(kFork, 1));
  std::vector<BatchRow> rows;
  add_rows(rows, *sequence, std::span(tokens).subspan(kFork + 1));
  add_rows(rows, *fork, std::span(others).subspan(kFork + 9));
  const std::vector<float> both = model_->run_rows(rows);
  const auto split =
      both.begin() + static_cast<std::ptrdiff_t>((kTokens - kFork - 1) *
                                                 static_cast<std::size_t>(model_->spec().logits));
  of_first.insert(of_first.end(), both.begin(), split);
  of_fork.insert(of_fork.end(), split, both.end());
  expect_equal(of_first, from(expected, kFork), "the original");
  expect_equal(of_fork, from(expected_fork, kFork), "the fork");

  // A fork that is cut back into pages that it shares leaves them alone.
  const std::int64_t left = fork->truncate(40);
  std::vector<std::int32_t> rest(others.begin() + left, others.end());
  evaluate(*fork, rest);
  const std::int64_t back = sequence->truncate(kFork);
  const auto skip = static_cast<std::size_t>(back);
  expect_equal(evaluate(*sequence, std::span(tokens).subspan(skip)), from(expected, skip),
               "the original after its fork was cut back");
}

TEST_P(StateEquality, SavedStatesGoOnAsBefore) {
  const std::vector<std::int32_t> tokens = text(6);
  const std::vector<float> expected = alone(tokens);
  for (const std::size_t saved_at : {1, 64, 101}) {
    auto sequence = model_->new_sequence();
    evaluate(*sequence, std::span(tokens).first(saved_at));
    const std::vector<std::byte> bytes = sequence->save();
    evaluate(*sequence, text(7));  // pages that are found again are not those that were saved
    sequence.reset();
    const auto loaded = model_->new_sequence();
    loaded->load(bytes);
    expect_equal(evaluate(*loaded, std::span(tokens).subspan(saved_at)), from(expected, saved_at),
                 "after loading");
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, StateEquality,
                         ::testing::Values("deepseek2", "deepseek32", "deepseek4", "falcon-h1",
                                           "gemma3n", "gemma4-e2b", "glm-dsa", "gpt-oss", "jamba",
                                           "kimi-linear", "lfm2", "llama4", "mamba", "mamba2",
                                           "mimo2", "nemotron_h_moe", "qwen35", "rwkv7",
                                           "smallthinker"),
                         case_name);

}  // namespace
}  // namespace hearth::testing
