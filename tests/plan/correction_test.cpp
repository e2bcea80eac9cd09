// Corrections by measurements: medians, trust, and what is compared with what.
#include "plan/correction.h"

#include <gtest/gtest.h>

#include <vector>

namespace hearth::testing {
namespace {

using measure::Measurement;
using plan::Correction;
using plan::CorrectionSubject;
using plan::Estimate;

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kNow = 1'763'900'000;  // 23 Nov 2025

Estimate expecting(double decode, double prefill) {
  Estimate estimate;
  estimate.first_token_seconds = 2;
  estimate.memory.weights = 1e9;
  for (const std::int64_t depth : {0, 4096}) {
    plan::SpeedAt at;
    at.depth = depth;
    // Behind 4096 tokens a token takes twice as long.
    at.decode = {decode / (depth == 0 ? 1 : 2), decode * 0.9, decode * 1.1, "memory bandwidth"};
    at.prefill = {prefill, prefill * 0.9, prefill * 1.1, "arithmetic"};
    estimate.speeds.push_back(at);
  }
  return estimate;
}

measure::ModelIdentity qwen() { return {"Qwen3", "qwen3", 596'000'000, "Q4_K", 400'000'000}; }

CorrectionSubject subject() {
  CorrectionSubject result;
  result.model = qwen();
  result.version = "0.1.0";
  result.threads = 2;
  return result;
}

Measurement decoded(double tps, const char* source = "run") {
  Measurement row;
  row.taken_at = kNow - kDay;
  row.version = "0.1.0";
  row.model = qwen();
  row.threads = 2;
  row.kv_type = "F16";
  row.generated_tokens = 64;
  row.decode_tps = tps;
  row.source = source;
  return row;
}

Measurement with_depth(Measurement row, std::int64_t depth) {
  row.depth = depth - row.generated_tokens / 2;
  return row;
}

Correction correct(const std::vector<Measurement>& rows) {
  return plan::correction(expecting(40, 300), subject(), rows, kNow);
}

TEST(Correction, IsNoneWithoutRows) {
  const Correction none = correct({});
  EXPECT_EQ(none.decode.value, 1);
  EXPECT_EQ(none.prefill.value, 1);
  EXPECT_EQ(none.note, "");
  EXPECT_TRUE(plan::corrected(expecting(40, 300), none).inputs.empty());
}

TEST(Correction, GoesTowardsTheMedianTheMoreRowsThereAre) {
  const Correction one = correct({decoded(30)});
  EXPECT_GT(one.decode.value, 0.76);
  EXPECT_LT(one.decode.value, 0.95);
  EXPECT_TRUE(one.decode.same_model);
  EXPECT_EQ(one.prefill.rows, 0);
  const Correction many = correct(std::vector<Measurement>(12, decoded(30)));
  EXPECT_LT(many.decode.value, one.decode.value);
  EXPECT_NEAR(many.decode.value, 0.76, 0.02);
  // A benchmark says more than an answer.
  EXPECT_LT(correct({decoded(30, "bench")}).decode.value, one.decode.value);
}

TEST(Correction, OneSlowDayChangesLittle) {
  std::vector<Measurement> rows(8, decoded(40));
  const double usual = correct(rows).decode.value;
  rows.insert(rows.begin(), decoded(2));
  rows.push_back(decoded(2));
  EXPECT_NEAR(correct(rows).decode.value, usual, 0.01);
  EXPECT_GE(correct(std::vector<Measurement>(15, decoded(0.01))).decode.value, 0.25);
}

TEST(Correction, ForgetsWhatIsOld) {
  std::vector<Measurement> rows(15, decoded(40));
  const double recent = correct(rows).decode.value;
  rows.insert(rows.end(), 100, decoded(10));
  EXPECT_DOUBLE_EQ(correct(rows).decode.value, recent);
}

TEST(Correction, ComparesAtTheSameDepth) {
  // Behind 4096 tokens 20 is what is expected, and half way between 26.7.
  EXPECT_NEAR(correct({with_depth(decoded(20), 4096)}).decode.value, 1, 0.001);
  EXPECT_NEAR(correct({with_depth(decoded(80.0 / 3), 2048)}).decode.value, 1, 0.001);
  EXPECT_NEAR(*plan::decode_tps_at(expecting(40, 300), 8192), 40.0 / 3, 0.001);
  EXPECT_EQ(plan::decode_tps_at(Estimate{}, 0), std::nullopt);
}

TEST(Correction, OtherConditionsSayNothing) {
  std::vector<Measurement> rows(5, decoded(20));
  rows[0].threads = 1;
  rows[1].kv_type = "Q8_0";
  rows[2].exact = true;
  rows[3].mapped = true;
  rows[4].model.parameters *= 2;
  rows[4].model.file_bytes *= 2;  // no expectation was kept with it
  EXPECT_EQ(correct(rows).decode.rows, 0);
}

TEST(Correction, OtherModelsOfTheTypeSayLess) {
  Measurement other = decoded(10);
  other.model = {"Llama", "llama", 1'200'000'000, "Q4_K", 800'000'000};
  other.expected_decode_tps = 20;
  const Correction weak = correct({other});
  EXPECT_FALSE(weak.decode.same_model);
  EXPECT_EQ(weak.decode.rows, 1);
  EXPECT_LT(weak.decode.value, 0.97);
  EXPECT_GT(weak.decode.value, 0.85);
  EXPECT_EQ(weak.note, "");
  Measurement old = other;
  old.version = "0.0.9";
  EXPECT_EQ(correct({old}).decode.rows, 0);
  Measurement other_type = other;
  other_type.model.type = "Q8_0";
  EXPECT_EQ(correct({other_type}).decode.rows, 0);
  // Once the model itself was measured, only it counts.
  EXPECT_NEAR(correct({other, decoded(39)}).decode.value, 1, 0.03);
}

TEST(Correction, KnowsAModelByItsCatalogNumbers) {
  CorrectionSubject catalog = subject();
  catalog.model = {"qwen3-0.6b", "", 600'000'000, "Q4_K_M", 0};
  const std::vector<Measurement> rows = {decoded(20)};
  EXPECT_TRUE(plan::correction(expecting(40, 300), catalog, rows, kNow).decode.same_model);
  catalog.model = {};
  EXPECT_FALSE(plan::correction(expecting(40, 300), catalog, rows, kNow).decode.same_model);
}

TEST(Correction, PrefillTakesPromptsThatAreLongEnough) {
  Measurement row = decoded(40);
  row.prompt_tokens = 512;
  row.prefill_tps = 150;
  const Correction halved = correct({row, row, row});
  EXPECT_EQ(halved.prefill.rows, 3);
  EXPECT_NEAR(halved.prefill.value, 0.6, 0.02);
  row.prompt_tokens = 20;
  EXPECT_EQ(correct({row}).prefill.rows, 0);
}

TEST(Correction, NotesTheNewestRow) {
  Measurement newest = decoded(39);
  newest.taken_at = 1'762'947'600;  // 12 Nov 2025
  EXPECT_EQ(correct({newest, decoded(1)}).note, "expected 40, measured 39 tok/s here on 12 Nov");
  EXPECT_EQ(plan::day_text(1'762'947'600, kNow + 60 * kDay), "12 Nov 2025");
}

TEST(Correction, ScalesSpeedsAndTimesOnly) {
  Correction half;
  half.decode = {0.5, 2, true};
  half.prefill = {2, 1, false};
  const Estimate estimate = plan::corrected(expecting(40, 300), half);
  EXPECT_DOUBLE_EQ(estimate.speeds[0].decode.tps, 20);
  EXPECT_DOUBLE_EQ(estimate.speeds[0].decode.high, 22);
  EXPECT_DOUBLE_EQ(estimate.speeds[1].prefill.tps, 600);
  EXPECT_DOUBLE_EQ(estimate.first_token_seconds, 1);
  EXPECT_EQ(estimate.memory.weights, 1e9);
  ASSERT_EQ(estimate.inputs.size(), 2U);
  EXPECT_EQ(estimate.inputs[0], "decode times 0.50 by 2 measurements of this model here");
  EXPECT_EQ(estimate.inputs[1],
            "prefill times 2.00 by 1 measurement of other models of this type here");
}

}  // namespace
}  // namespace hearth::testing
