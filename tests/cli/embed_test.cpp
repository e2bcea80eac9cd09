// hearth embed and hearth rerank as processes, on the small models of goldens/arch.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"
#include "shared_dir.h"

namespace hearth::testing {
namespace {

using Json = nlohmann::json;

std::string embedding_model(const std::string& name) {
  return (goldens_dir() / "arch" / (name + ".gguf")).string();
}

std::vector<std::vector<double>> vectors_of(const std::string& output) {
  std::vector<std::vector<double>> vectors;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    vectors.emplace_back();
    for (double number = 0; numbers >> number;) vectors.back().push_back(number);
  }
  return vectors;
}

double length(const std::vector<double>& vector) {
  double sum = 0;
  for (const double value : vector) sum += value * value;
  return std::sqrt(sum);
}

class EmbedCommand : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(goldens_dir() / "arch"); }
};

TEST_F(EmbedCommand, PrintsOneVectorPerText) {
  const ProgramResult result = Program({"embed", embedding_model("bert"), "a b c", "d e"}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto vectors = vectors_of(result.output);
  ASSERT_EQ(vectors.size(), 2U);
  for (const auto& vector : vectors) {
    EXPECT_EQ(vector.size(), 64U);
    EXPECT_NEAR(length(vector), 1, 1e-5);
  }
  const ProgramResult lines =
      Program({"embed", embedding_model("bert"), "-"}).input("a b c\r\nd e\n").run();
  EXPECT_EQ(lines.output, result.output);
}

TEST_F(EmbedCommand, VectorsDoNotDependOnTheOtherTexts) {
  const auto both = vectors_of(
      Program({"embed", embedding_model("modern-bert"), "--exact", "the the", "he}"}).run().output);
  const auto alone =
      vectors_of(Program({"embed", embedding_model("modern-bert"), "--exact", "he}"}).run().output);
  ASSERT_EQ(both.size(), 2U);
  ASSERT_EQ(alone.size(), 1U);
  for (std::size_t i = 0; i < alone[0].size(); ++i) EXPECT_NEAR(both[1][i], alone[0][i], 1e-6);
}

TEST_F(EmbedCommand, JsonSaysHowTheVectorsWereMade) {
  const ProgramResult result =
      Program({"embed", embedding_model("gemma-embedding-dense"), "--json", "the"}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json object = Json::parse(result.output);
  EXPECT_EQ(object.at("model"), "golden-gemma-embedding-dense");
  EXPECT_EQ(object.at("pooling"), "mean");
  EXPECT_EQ(object.at("dimensions"), 64);
  ASSERT_EQ(object.at("embeddings").size(), 1U);
  EXPECT_EQ(object.at("embeddings")[0].size(), 64U);
}

TEST_F(EmbedCommand, PoolingNoneGivesAVectorPerToken) {
  const ProgramResult lines =
      Program({"embed", embedding_model("bert"), "--pooling", "none", "a b", "c"}).run();
  const auto vectors = vectors_of(lines.output);
  ASSERT_EQ(vectors.size(), 4U + 1U + 3U) << "[CLS] a b [SEP], an empty line, [CLS] c [SEP]";
  EXPECT_TRUE(vectors[4].empty());
  const Json object = Json::parse(
      Program({"embed", embedding_model("bert"), "--pooling", "none", "--json", "a b", "c"})
          .run()
          .output);
  ASSERT_EQ(object.at("embeddings").size(), 2U);
  EXPECT_EQ(object.at("embeddings")[0].size(), 4U);
  EXPECT_EQ(object.at("embeddings")[1][2].size(), 64U);
}

TEST_F(EmbedCommand, RawVectorsPointTheSameWay) {
  const auto unit =
      vectors_of(Program({"embed", embedding_model("bert"), "--exact", "a b"}).run().output);
  const auto raw = vectors_of(
      Program({"embed", embedding_model("bert"), "--exact", "--raw", "a b"}).run().output);
  const double size = length(raw.at(0));
  EXPECT_GT(std::abs(size - 1), 0.01);
  for (std::size_t i = 0; i < raw[0].size(); ++i) EXPECT_NEAR(raw[0][i] / size, unit[0][i], 1e-5);
}

TEST_F(EmbedCommand, ChatModelsNeedToBeToldHowToPool) {
  const ProgramResult refused = Program({"embed", embedding_model("llama-plain"), "the"}).run();
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.errors.find("--pooling"), std::string::npos) << refused.errors;
  for (const char* kind : {"mean", "last", "cls"}) {
    const auto vectors =
        vectors_of(Program({"embed", embedding_model("llama-plain"), "--pooling", kind, "the the"})
                       .run()
                       .output);
    ASSERT_EQ(vectors.size(), 1U) << kind;
    EXPECT_NEAR(length(vectors[0]), 1, 1e-5);
  }
}

TEST_F(EmbedCommand, LongTextsAreAnErrorOrCut) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "a ";
  const ProgramResult refused = Program({"embed", embedding_model("bert"), text}).run();
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.errors.find("202 tokens, which is more than the 128"), std::string::npos)
      << refused.errors;
  const Json cut = Json::parse(
      Program({"embed", embedding_model("bert"), "--truncate", "--pooling", "none", "--json", text})
          .run()
          .output);
  EXPECT_EQ(cut.at("embeddings")[0].size(), 128U);
}

TEST_F(EmbedCommand, EncoderDecoderModelsEmbedByTheirEncoder) {
  const auto t5 = vectors_of(
      Program({"embed", embedding_model("t5"), "--pooling", "mean", "--exact", "the he", "he"})
          .run()
          .output);
  ASSERT_EQ(t5.size(), 2U);
  EXPECT_EQ(t5[0].size(), 64U);
  EXPECT_NEAR(length(t5[1]), 1, 1e-5);
}

TEST_F(EmbedCommand, RefusesWhatIsNoText) {
  EXPECT_EQ(Program({"embed", embedding_model("bert")}).run().exit_code, 2);
  EXPECT_EQ(Program({"embed", embedding_model("bert"), "a\xFF"}).run().exit_code, 2);
  EXPECT_EQ(Program({"embed", embedding_model("bert"), "--pooling", "best", "a"}).run().exit_code,
            2);
  const ProgramResult reranker = Program({"embed", embedding_model("bert-rank"), "a"}).run();
  EXPECT_EQ(reranker.exit_code, 1);
  EXPECT_NE(reranker.errors.find("hearth rerank"), std::string::npos);
}

TEST_F(EmbedCommand, RerankSortsByScore) {
  const ProgramResult result =
      Program({"rerank", embedding_model("bert-rank"), "a b", "c d", "e f g", "a b\tx"}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  std::istringstream lines(result.output);
  double last = INFINITY;
  std::vector<int> order;
  for (std::string line; std::getline(lines, line);) {
    double score = 0;
    int index = -1;
    ASSERT_EQ(std::sscanf(line.c_str(), "%lf\t%d\t", &score, &index), 2) << line;
    EXPECT_LE(score, last);
    last = score;
    order.push_back(index);
  }
  ASSERT_EQ(order.size(), 3U);
  const Json object =
      Json::parse(Program({"rerank", embedding_model("bert-rank"), "--json", "--top", "2", "a b"})
                      .input("c d\ne f g\na b\tx\n")
                      .run()
                      .output);
  ASSERT_EQ(object.at("results").size(), 2U);
  EXPECT_EQ(object.at("results")[0].at("index"), order[0]);
  EXPECT_EQ(object.at("results")[1].at("index"), order[1]);
}

TEST_F(EmbedCommand, RerankRefusesOtherModels) {
  EXPECT_EQ(Program({"rerank", embedding_model("bert"), "a", "b"}).run().exit_code, 1);
  EXPECT_EQ(Program({"rerank", embedding_model("bert-rank")}).run().exit_code, 2);
  std::string text;
  for (int i = 0; i < 200; ++i) text += "a ";
  EXPECT_EQ(Program({"rerank", embedding_model("bert-rank"), "a", text}).run().exit_code, 3);
  EXPECT_EQ(
      Program({"rerank", embedding_model("bert-rank"), "--truncate", "a", text}).run().exit_code,
      0);
}

}  // namespace
}  // namespace hearth::testing
