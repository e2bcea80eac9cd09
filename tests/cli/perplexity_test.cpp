// hearth perplexity and hearth imatrix as processes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "model/importance.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using Json = nlohmann::json;

const std::string kMeasuredStory =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big red ball under a tree. She wanted to play with it, but it was too "
    "high. "
    "Her mom came and said, \"Do not worry, Lily. I will help you.\" They were very happy and "
    "played "
    "with the ball all day.\n";

class Measuring : public ::testing::Test {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(model());
    std::ofstream(folder_ / "story.txt") << kMeasuredStory << kMeasuredStory;
  }
  static std::string model() { return (shared_dir() / "models" / "stories260K.gguf").string(); }
  [[nodiscard]] std::string file(const std::string& name) const {
    return (folder_ / name).string();
  }
  [[nodiscard]] Program program(const std::string& command,
                                const std::vector<std::string>& options = {},
                                const std::string& context = "64") const {
    std::vector<std::string> words = {command, model(), file("story.txt"), "--ctx", context};
    words.insert(words.end(), options.begin(), options.end());
    return Program(words);
  }
  /// A text that takes some seconds.
  void write_long_story() const {
    std::ofstream out(file("story.txt"));
    for (int i = 0; i < 20000; ++i) out << kMeasuredStory;
  }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(std::filesystem::directory_iterator(folder_.path()), {});
  }
  /// Fails with this code, and one line on stderr that has `text`.
  static void expect_error(const Program& program, int code, const std::string& text) {
    const ProgramResult result = program.run();
    EXPECT_EQ(result.exit_code, code) << result.errors;
    EXPECT_EQ(result.output, "");
    EXPECT_NE(result.errors.find(text), std::string::npos) << result.errors;
    EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
  }

  TemporaryFolder folder_;
};

using PerplexityCommand = Measuring;
using ImatrixCommand = Measuring;

TEST_F(PerplexityCommand, PrintsTheFigures) {
  const ProgramResult result = program("perplexity").run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
  EXPECT_TRUE(result.output.starts_with("perplexity = ")) << result.output;
  EXPECT_NE(result.output.find(" +/- "), std::string::npos);
  EXPECT_NE(result.output.find("93 tokens scored in 3 chunks of 64; "), std::string::npos)
      << result.output;
}

TEST_F(PerplexityCommand, JsonHasTheSameFigures) {
  const ProgramResult result = program("perplexity", {"--json", "--chunks", "2"}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json object = Json::parse(result.output);
  EXPECT_EQ(object.at("model"), "stories260K");
  EXPECT_EQ(object.at("text"), "story.txt");
  EXPECT_EQ(object.at("chunks"), 2);
  EXPECT_EQ(object.at("tokens_scored"), 62);
  EXPECT_GT(object.at("perplexity").at("value"), 1);
  EXPECT_GT(object.at("perplexity").at("error"), 0);
  EXPECT_GT(object.at("tokens_per_second"), 0);
  EXPECT_FALSE(object.contains("comparison"));
}

TEST_F(PerplexityCommand, ReadsStdin) {
  const auto from = [](const ProgramResult& result) {
    return Json::parse(result.output).at("perplexity");
  };
  const ProgramResult piped = Program({"perplexity", model(), "-", "--ctx", "64", "--json"})
                                  .input(kMeasuredStory + kMeasuredStory)
                                  .run();
  ASSERT_EQ(piped.exit_code, 0) << piped.errors;
  EXPECT_EQ(Json::parse(piped.output).at("text"), "stdin");
  EXPECT_EQ(from(piped), from(program("perplexity", {"--json"}).run()));
}

TEST_F(PerplexityCommand, ComparesWithASavedBase) {
  const std::string base = file("base.kl");
  const ProgramResult saved = program("perplexity", {"--save-kl-base", base}).run();
  ASSERT_EQ(saved.exit_code, 0) << saved.errors;
  EXPECT_EQ(saved.errors, "hearth: the base file will have 0.1 MB\n");
  const ProgramResult text = program("perplexity", {"--kl-base", base}).run();
  ASSERT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_EQ(text.errors, "");
  for (const char* line : {"\nbase perplexity = ", "\nratio = 1.000000 +/- ",
                           "\ndifference = ", "\nKL divergence = 0.000000 +/- 0.000000\n",
                           "\n  median 0.000000, ", "\nsame top token = 100.000 +/- 0.000 %\n"}) {
    EXPECT_NE(text.output.find(line), std::string::npos) << line << text.output;
  }
  const ProgramResult other =
      program("perplexity", {"--kl-base", base, "--json", "--exact", "--chunks", "2"}).run();
  const Json comparison = Json::parse(other.output).at("comparison");
  EXPECT_GT(comparison.at("kl_divergence").at("mean"), 0);
  EXPECT_LT(comparison.at("kl_divergence").at("mean"), 1e-3);
  EXPECT_LE(comparison.at("kl_divergence").at("median"), comparison.at("kl_divergence").at("p99"));
  EXPECT_GT(comparison.at("same_top_token").at("value"), 0.9);
  EXPECT_NEAR(comparison.at("perplexity_ratio").at("value"), 1, 0.01);
}

TEST_F(PerplexityCommand, FewerChunksInTheBaseAreSaid) {
  const std::string base = file("base.kl");
  ASSERT_EQ(program("perplexity", {"--save-kl-base", base, "--chunks", "2"}).run().exit_code, 0);
  const ProgramResult result = program("perplexity", {"--kl-base", base}).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.errors, "hearth: the base file has 2 of the text's 3 chunks: these are read\n");
}

TEST_F(PerplexityCommand, BadBasesAreOneSentence) {
  const std::string base = file("base.kl");
  ASSERT_EQ(program("perplexity", {"--save-kl-base", base}).run().exit_code, 0);
  const auto compare = [&] { return program("perplexity", {"--kl-base", base}); };
  std::ofstream(file("story.txt")) << "Then " << kMeasuredStory << kMeasuredStory;
  expect_error(compare(), 1, "is of other tokens than this text gives, from chunk 1 on");
  std::ofstream(file("story.txt")) << kMeasuredStory;
  expect_error(compare(), 1, "has 3 chunks, and the text only 1");
  std::ofstream(file("story.txt")) << kMeasuredStory << kMeasuredStory;
  expect_error(program("perplexity", {"--kl-base", base}, "32"), 2, "use --ctx 64");
  expect_error(program("perplexity", {"--kl-base", file("none.kl")}), 1, "there is no base file");
  expect_error(program("perplexity", {"--kl-base", file("story.txt")}), 1, "is not a base file");
  const std::string whole = read_file(base);
  std::ofstream(base, std::ios::binary) << whole.substr(0, whole.size() / 2);
  expect_error(compare(), 1, "is truncated");
  std::string damaged = whole;
  damaged[whole.size() / 2] ^= 1;
  std::ofstream(base, std::ios::binary) << damaged;
  expect_error(compare(), 1, "is damaged: chunk 2 does not fit its checksum");
}

TEST_F(PerplexityCommand, RefusesInOneSentence) {
  expect_error(Program({"perplexity", model(), file("none.txt")}), 1, "none.txt");
  std::ofstream(file("empty.txt"));
  expect_error(Program({"perplexity", model(), file("empty.txt")}), 2, "the text is empty");
  expect_error(Program({"perplexity", model(), "-"}), 2, "the text is empty");
  expect_error(program("perplexity", {}, "512"), 2, "less than a chunk of 512");
  expect_error(program("perplexity", {}, "3"), 2, "--ctx");
  expect_error(program("perplexity", {"--batch", "0"}), 2, "--batch");
  expect_error(program("perplexity", {"--kv", "q9"}), 2, "--kv");
  expect_error(program("perplexity", {"--kl-base", "a", "--save-kl-base", "b"}), 2, "excludes");
  expect_error(program("perplexity", {"--save-kl-base", file("story.txt")}), 2,
               "would be overwritten");
  expect_error(program("perplexity", {"more"}), 2, "unexpected argument 'more'");
  const std::string bert = (goldens_dir() / "arch" / "bert.gguf").string();
  expect_error(Program({"perplexity", bert, file("story.txt")}), 1, "does not go on with a text");
}

TEST_F(PerplexityCommand, InterruptingSaysHowFarItCameAndLeavesNothing) {
  write_long_story();
  Terminal terminal(program("perplexity", {"--save-kl-base", file("base.kl")}));
  ASSERT_TRUE(terminal.wait_for("chunks, perplexity "));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_NE(terminal.screen().find("hearth: interrupted after "), std::string::npos);
  EXPECT_EQ(files(), 1);
}

TEST_F(ImatrixCommand, InterruptingLeavesNothing) {
  write_long_story();
  Terminal terminal(program("imatrix", {"-o", file("im.gguf")}));
  ASSERT_TRUE(terminal.wait_for("chunks; "));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_NE(terminal.screen().find("interrupted; nothing was written"), std::string::npos);
  EXPECT_EQ(files(), 1);
}

TEST_F(ImatrixCommand, WritesAFile) {
  const std::string out = file("im.gguf");
  const ProgramResult result = program("imatrix", {"-o", out}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
  EXPECT_TRUE(result.output.starts_with(out + ": 35 tensors from 3 chunks of 64; "))
      << result.output;
  const model::ImportanceMatrix matrix = model::read_importance(out);
  EXPECT_EQ(matrix.chunk_count, 3U);
  EXPECT_EQ(matrix.chunk_size, 64U);
  EXPECT_EQ(matrix.datasets, std::vector<std::string>{"story.txt"});
  const model::Importance* query = matrix.find("blk.0.attn_q.weight");
  ASSERT_NE(query, nullptr);
  EXPECT_EQ(query->counts, std::vector<float>{192});
  EXPECT_EQ(matrix.find("output.weight"), nullptr);
}

TEST_F(ImatrixCommand, MeasuresTheOutputWhenAsked) {
  const std::string out = file("im.gguf");
  const ProgramResult result =
      program("imatrix", {"-o", out, "--process-output", "--chunks", "1", "--json"}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json object = Json::parse(result.output);
  EXPECT_EQ(object.at("tensors"), 36);
  EXPECT_EQ(object.at("chunks"), 1);
  EXPECT_TRUE(object.at("unreached_experts").empty());
}

TEST_F(ImatrixCommand, WarnsOfExpertsThatNothingReached) {
  const std::string moe = (goldens_dir() / "arch" / "llama-moe.gguf").string();
  const std::string out = file("im.gguf");
  const ProgramResult result =
      Program({"imatrix", moe, "-", "-o", out, "--ctx", "4", "--chunks", "1"})
          .input("aaaa aaaa aaaa")
          .run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.errors.find("hearth: warning: no token reached some experts of "),
            std::string::npos)
      << result.errors;
  EXPECT_NE(result.errors.find("_exps.weight"), std::string::npos) << result.errors;
}

TEST_F(ImatrixCommand, RefusesInOneSentenceAndLeavesNothing) {
  const std::string out = file("im.gguf");
  expect_error(program("imatrix"), 2, "--output is required");
  expect_error(program("imatrix", {"-o", out}, "4096"), 2, "less than a chunk of 4096");
  expect_error(program("imatrix", {"-o", file("story.txt")}), 2, "would be overwritten");
  expect_error(program("imatrix", {"-o", file("none/im.gguf")}), 1, "none/im.gguf");
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace hearth::testing
