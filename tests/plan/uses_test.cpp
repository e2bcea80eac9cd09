#include "plan/uses.h"

#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace hearth::plan {
namespace {

CatalogModel scored(std::initializer_list<Score> scores, double parameters = 8e9) {
  CatalogModel model;
  model.name = "m";
  model.parameters = parameters;
  model.scores = scores;
  return model;
}

Score score(const char* benchmark, double value) { return {benchmark, value, "", "here", ""}; }

TEST(Uses, HasThoseThatTheCommandOffers) {
  const Uses uses = builtin_uses();
  for (const char* name : {"chat", "code", "agent", "rag", "embed", "vision", "tiny"}) {
    const Use& use = uses.use(name);
    EXPECT_FALSE(use.roles.empty()) << name;
    EXPECT_FALSE(use.measures.empty()) << name;
    EXPECT_GE(use.context, use.depth) << name;
    EXPECT_LE(use.min_tps, use.comfortable_tps) << name;
  }
  try {
    (void)uses.use("dance");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    EXPECT_NE(error.hint().find("chat"), std::string::npos);
  }
}

TEST(Uses, EveryMeasureOfAUseIsOfSomeModel) {
  const Uses uses = builtin_uses();
  const Catalog catalog = builtin_catalog();
  for (const Use& use : uses.uses) {
    for (const auto& [benchmark, weight] : use.measures) {
      bool found = false;
      for (const CatalogModel& model : catalog.models) {
        for (const Score& known : model.scores) found = found || known.benchmark == benchmark;
      }
      EXPECT_TRUE(found) << use.name << ": " << benchmark;
    }
  }
}

TEST(Quality, IsTheScoreItselfOnTheCommonScale) {
  const Uses uses = builtin_uses();
  const Quality quality = quality_of(scored({score("MMLU-Pro", 60)}), uses.use("chat"), uses);
  EXPECT_NEAR(quality.value, 60, 1);  // the size is weak evidence, too
  EXPECT_EQ(quality.benchmark, "MMLU-Pro");
  EXPECT_EQ(quality.source, "here");
  EXPECT_FALSE(quality.guessed);
}

TEST(Quality, OfSeveralModesTheBestCountsAndUnknownBenchmarksDoNot) {
  const Uses uses = builtin_uses();
  const Quality quality =
      quality_of(scored({score("MMLU-Pro", 50), score("MMLU-Pro", 70), score("Juggling", 1)}),
                 uses.use("chat"), uses);
  EXPECT_NEAR(quality.value, 70, 1.5);
  EXPECT_EQ(quality.measures, 1);
}

TEST(Quality, OneWeakScoreDoesNotOutweighTheSize) {
  const Uses uses = builtin_uses();
  const Use& chat = uses.use("chat");
  const double weak = quality_of(scored({score("IFEval", 92)}, 3e9), chat, uses).value;
  const double strong = quality_of(scored({score("MMLU-Pro", 70)}, 3e9), chat, uses).value;
  EXPECT_LT(weak, 66);  // on the scale, 92 in IFEval alone would be 70
  EXPECT_GT(strong, 67);
}

TEST(Quality, SaysWhetherItTookThinking) {
  const Uses uses = builtin_uses();
  CatalogModel model = scored({score("MMLU-Pro", 50)});
  const auto thinking = [&](const char* mode) {
    model.scores.front().mode = mode;
    return quality_of(model, uses.use("chat"), uses).thinking;
  };
  EXPECT_TRUE(thinking("thinking"));
  EXPECT_TRUE(thinking("card, thinking"));
  EXPECT_FALSE(thinking("thinking off"));
  EXPECT_FALSE(thinking("no thinking"));
  EXPECT_FALSE(thinking("5-shot"));
}

TEST(Quality, WithoutScoresIsGuessedFromTheSizeAndSaysSo) {
  const Uses uses = builtin_uses();
  const Quality small = quality_of(scored({}, 1e9), uses.use("chat"), uses);
  const Quality large = quality_of(scored({}, 30e9), uses.use("chat"), uses);
  EXPECT_TRUE(small.guessed);
  EXPECT_TRUE(small.benchmark.empty());
  EXPECT_GT(large.value, small.value + 10);
}

TEST(Quantizations, LoseMoreWithFewerBitsAndInSmallModels) {
  const Uses uses = builtin_uses();
  const CatalogModel small = scored({}, 1e9), large = scored({}, 70e9);
  double previous = -1;
  for (const char* name : {"Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "IQ3_XXS", "IQ2_M"}) {
    const QuantInfo* quant = uses.quant(name);
    ASSERT_NE(quant, nullptr) << name;
    EXPECT_GT(uses.loss_percent(*quant, small), uses.loss_percent(*quant, large)) << name;
    EXPECT_GT(uses.loss_percent(*quant, small), previous) << name;
    previous = uses.loss_percent(*quant, small);
  }
  CatalogModel published = scored({}, 20e9);
  published.published_quant = "MXFP4";
  EXPECT_EQ(uses.loss_percent(*uses.quant("MXFP4"), published), 0);
}

TEST(Quantizations, AreFoundByTheirUsualNames) {
  const Uses uses = builtin_uses();
  EXPECT_EQ(uses.quant("UD-Q4_K_XL"), uses.quant("Q4_K_M"));
  EXPECT_EQ(uses.quant("UD-Q6_K"), uses.quant("Q6_K"));
  EXPECT_EQ(uses.quant("Q9_Z"), nullptr);
  EXPECT_EQ(uses.quant(""), nullptr);
  EXPECT_EQ(uses.quant("_XL"), nullptr);
}

TEST(Uses, RefusesWhatIsNotOne) {
  EXPECT_THROW((void)parse_uses("{}", "'t'"), Error);
  EXPECT_THROW((void)parse_uses(R"({"format": "hearth-uses-1", "uses": {"a": {"measures":
                                   {"Unknown": 1}}}})",
                                "'t'"),
               Error);
}

}  // namespace
}  // namespace hearth::plan
