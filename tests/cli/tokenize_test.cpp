// hearth tokenize and hearth detokenize as processes, on a vocabulary made here.
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/base64.h"
#include "text/tiny_vocabulary.h"

namespace hearth {
namespace {

using Json = nlohmann::json;

struct Outcome {
  std::string out;
  int status = -1;
};

class TokenizeCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("hearth_tokenize_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    text::tiny_writer("llama").write(model());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::filesystem::path model() const { return folder_ / "vocabulary.gguf"; }

  /// Runs `hearth` with `arguments` in a shell, `input` as stdin; stderr goes to stdout when asked.
  Outcome run(const std::string& arguments, const std::string& input = {},
              bool errors = false) const {
    const auto file = folder_ / "stdin";
    std::ofstream(file, std::ios::binary) << input;
    const std::string command = std::string("'" HEARTH_TEST_PROGRAM "' ") + arguments + " < '" +
                                file.string() + (errors ? "' 2>&1" : "' 2>/dev/null");
    std::FILE* pipe = ::popen(command.c_str(), "r");
    Outcome outcome;
    char block[4096];
    while (const std::size_t count = std::fread(block, 1, sizeof block, pipe))
      outcome.out.append(block, count);
    outcome.status = WEXITSTATUS(::pclose(pipe));
    return outcome;
  }
  [[nodiscard]] std::string with_model(const std::string& command) const {
    return command + " '" + model().string() + "' ";
  }

  std::filesystem::path folder_;
};

TEST_F(TokenizeCommand, IdsGoThereAndBack) {
  const Outcome ids = run(with_model("tokenize") + "'hello aa'");
  ASSERT_EQ(ids.status, 0);
  EXPECT_EQ(ids.out.back(), '\n');
  EXPECT_EQ(run(with_model("detokenize") + ids.out.substr(0, ids.out.size() - 1)).out, "hello aa");
  EXPECT_EQ(run(with_model("tokenize") + "-", "hello aa").out, ids.out);
  EXPECT_EQ(run(with_model("tokenize") + "'[a]'").status, 0);
}

TEST_F(TokenizeCommand, SpecialTokensOnlyWhenAskedFor) {
  EXPECT_EQ(run(with_model("tokenize --special") + "'<|end|>'").out, "1 4\n");
  EXPECT_EQ(run(with_model("tokenize") + "'<|end|>'").out.find("4 "), std::string::npos);
  EXPECT_EQ(run(with_model("detokenize --special") + "1 4").out, "<s><|end|>");
  EXPECT_EQ(run(with_model("detokenize --plain") + "1,4").out, "");
}

TEST_F(TokenizeCommand, JsonIsValidUtf8WhateverTheBytes) {
  const std::string bytes("a\xFF\0b", 4);
  const Outcome outcome = run(with_model("tokenize --json") + "-", bytes);
  ASSERT_EQ(outcome.status, 0);
  const Json result = Json::parse(outcome.out);
  std::string joined;
  for (const Json& piece : result.at("pieces_b64"))
    joined += decode_base64(piece.get<std::string>()).value();
  EXPECT_EQ(joined, " " + bytes);
  EXPECT_EQ(result.at("pieces").size(), result.at("ids").size());
  const std::string lines = R"({"text":"hello"})"
                            "\n"
                            R"({"b64":"/w=="})"
                            "\n";
  const Outcome many = run(with_model("tokenize --jsonl"), lines);
  EXPECT_EQ(run(with_model("tokenize --jsonl") + " -", lines).out, many.out);
  EXPECT_EQ(many.status, 0);
  EXPECT_EQ(std::count(many.out.begin(), many.out.end(), '\n'), 2);
}

TEST_F(TokenizeCommand, WrongUseSaysWhatIsWrong) {
  for (const char* words : {"x", "1 -2", "1.5", "99999999999"}) {
    const Outcome outcome = run(with_model("detokenize") + words, "", true);
    EXPECT_EQ(outcome.status, 2) << words;
    EXPECT_NE(outcome.out.find("is not a token id"), std::string::npos) << outcome.out;
  }
  EXPECT_EQ(run(with_model("detokenize") + "99999", "", true).status, 1);
  EXPECT_EQ(run(with_model("tokenize"), "", true).status, 2);
  EXPECT_EQ(run(with_model("detokenize --plain --special") + "1", "", true).status, 2);
  const Outcome line = run(with_model("tokenize --jsonl"), "{\"text\":\"a\"}\n[]\n", true);
  EXPECT_EQ(line.status, 1);
  EXPECT_NE(line.out.find("line 2"), std::string::npos) << line.out;
  EXPECT_EQ(run("tokenize /no/such/file.gguf x", "", true).status, 1);
}

}  // namespace
}  // namespace hearth
