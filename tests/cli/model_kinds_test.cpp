// What commands say to models of the wrong kind, and what logits refuses.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

std::string model(const std::string& name) {
  return (goldens_dir() / "arch" / (name + ".gguf")).string();
}

class ModelKinds : public ::testing::Test {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(goldens_dir() / "arch"); }

  /// One sentence on stderr that holds `words`, and `code`.
  static void expect_refusal(std::vector<std::string> arguments, int code,
                             const std::string& words) {
    const ProgramResult result = Program(std::move(arguments)).run();
    EXPECT_EQ(result.exit_code, code) << result.errors;
    EXPECT_TRUE(result.errors.starts_with("hearth: ")) << result.errors;
    EXPECT_NE(result.errors.find(words), std::string::npos) << result.errors;
    EXPECT_EQ(result.output, "");
  }
  /// logits of two tokens of `name` with more arguments, into a file of its own.
  [[nodiscard]] std::vector<std::string> logits(const std::string& name,
                                                std::vector<std::string> more) const {
    std::vector<std::string> all = {"logits", model(name), "--tokens",
                                    "1,2",    "--out",     (folder_ / "rows.f32").string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  TemporaryFolder folder_;
};

TEST_F(ModelKinds, ADraftModelAloneIsRefused) {
  expect_refusal({"run", model("eagle3"), "a"}, 1, "cannot run alone");
  expect_refusal({"embed", model("eagle3"), "--pooling", "mean", "a"}, 1, "cannot run alone");
  expect_refusal(logits("eagle3", {}), 1, "--target");
}

TEST_F(ModelKinds, InspectDescribesADraftModel) {
  const ProgramResult text = Program({"inspect", model("eagle3")}).run();
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_NE(text.output.find("cannot run alone"), std::string::npos) << text.output;
  const ProgramResult json = Program({"inspect", model("eagle3"), "--json"}).run();
  EXPECT_TRUE(nlohmann::json::parse(json.output).at("memory").is_null());
}

TEST_F(ModelKinds, InspectNamesLearnedPositions) {
  const std::string text = Program({"inspect", model("gpt2")}).run().output;
  EXPECT_NE(text.find("learned"), std::string::npos) << text;
  EXPECT_EQ(text.find("no position encoding"), std::string::npos) << text;
}

TEST_F(ModelKinds, InspectKnowsHowLongAContextCanBe) {
  expect_refusal({"inspect", model("gpt2"), "--ctx", "5000"}, 3, "--ctx 128");
}

TEST_F(ModelKinds, AQueryThatIsTooLongIsNotCut) {
  std::string query;
  for (int i = 0; i < 500; ++i) query += "hello ";
  expect_refusal({"rerank", model("bert-rank"), "--truncate", query, "b"}, 3, "shorten the query");
}

TEST_F(ModelKinds, RunRefusesModelsThatDoNotContinueTexts) {
  expect_refusal({"run", model("bert"), "a"}, 1, "hearth embed");
  expect_refusal({"run", model("t5"), "a"}, 1, "encoder");
}

TEST_F(ModelKinds, RerankSaysThatAModelIsNoReranker) {
  expect_refusal({"rerank", model("qwen3"), "a", "b"}, 1, "not a reranker");
}

TEST_F(ModelKinds, LogitsNeverOverwritesWhatItReads) {
  const std::string copy = (folder_ / "copy.gguf").string();
  write_file_atomically(copy, read_file(model("qwen3")));
  const auto size = std::filesystem::file_size(copy);
  expect_refusal({"logits", copy, "--tokens", "1", "--out", copy}, 2, "overwrite");
  std::filesystem::create_symlink(copy, folder_ / "link");
  expect_refusal({"logits", copy, "--tokens", "1", "--out", (folder_ / "link").string()}, 2,
                 "overwrite");
  EXPECT_EQ(std::filesystem::file_size(copy), size);
}

TEST_F(ModelKinds, LogitsRefusesFlagsWithoutEffect) {
  expect_refusal(logits("bert", {"--greedy", "2"}), 2, "hidden states");
  expect_refusal(logits("qwen35-mtp", {"--draft", "2", "--per-token"}), 2, "hidden states");
  expect_refusal(logits("qwen35-mtp", {"--draft-prompt"}), 2, "--draft N");
  expect_refusal(logits("qwen2vl", {"--positions", "missing.json"}), 2, "--image-embd");
  expect_refusal(logits("qwen2vl", {"--image-at", "0"}), 2, "--image-embd");
}

TEST_F(ModelKinds, RowsOfAnImageCountForTheContext) {
  const std::string image = (folder_ / "image.f32").string();
  write_file_atomically(image, std::string(std::size_t{4} * 64 * 4, '\0'));
  expect_refusal(logits("qwen2vl", {"--image-embd", image, "--image-at", "1", "--ctx", "5"}), 3,
                 "6 tokens");
  expect_refusal(logits("bert", {"--image-embd", image, "--image-at", "1"}), 1, "images");
}

}  // namespace
}  // namespace hearth::testing
