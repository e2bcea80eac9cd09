// Files that commands write: where a name is that of something else, and of links.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "program.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;

class OutputFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(stories());
    std::ofstream text(folder_ / "story.txt");
    for (int i = 0; i < 40; ++i) text << "Once upon a time there was a little dog. ";
  }
  static fs::path stories() { return shared_dir() / "models" / "stories260K.gguf"; }
  [[nodiscard]] std::string file(const std::string& name) const {
    return (folder_ / name).string();
  }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(folder_.path()), {});
  }
  /// Every command that writes a file, which is `out`.
  [[nodiscard]] std::vector<std::vector<std::string>> commands(const std::string& out) const {
    const std::string model = stories().string();
    return {{"quantize", model, out, "Q4_0", "--force"},
            {"imatrix", model, file("story.txt"), "-c", "64", "-o", out, "--force"},
            {"perplexity", model, file("story.txt"), "-c", "64", "--save-kl-base", out, "--force"},
            {"bench", model, "-p", "4", "-n", "0", "-r", "1", "--export", out}};
  }

  TemporaryFolder folder_;
};

TEST_F(OutputFiles, ReplaceNoPipe) {
  ASSERT_EQ(::mkfifo(file("pipe").c_str(), 0600), 0);
  for (const std::vector<std::string>& words : commands(file("pipe"))) {
    const ProgramResult result = Program(words).run();
    EXPECT_EQ(result.exit_code, 2) << words.front() << result.errors;
    EXPECT_NE(result.errors.find("is not a regular file; name a file to write"), std::string::npos)
        << words.front() << ": " << result.errors;
    EXPECT_TRUE(fs::is_fifo(file("pipe"))) << words.front();
  }
}

TEST_F(OutputFiles, GoWhereALinkLeads) {
  fs::create_directory(folder_ / "there");
  fs::create_symlink("there/out", folder_ / "link");
  for (const std::vector<std::string>& words : commands(file("link"))) {
    write_file_atomically(folder_ / "there" / "out", std::string("old"));
    const ProgramResult result = Program(words).run();
    EXPECT_EQ(result.exit_code, 0) << words.front() << ": " << result.errors;
    EXPECT_TRUE(fs::is_symlink(folder_ / "link")) << words.front();
    EXPECT_NE(read_file(folder_ / "there" / "out"), "old") << words.front();
  }
}

TEST_F(OutputFiles, ThatTookLongAreNotReplacedUnasked) {
  write_file_atomically(folder_ / "out", std::string("old"));
  for (std::vector<std::string> words : commands(file("out"))) {
    const auto force = std::find(words.begin(), words.end(), "--force");
    if (force == words.end()) continue;
    words.erase(force);
    const ProgramResult result = Program(words).run();
    EXPECT_EQ(result.exit_code, 1) << words.front() << result.errors;
    EXPECT_NE(result.errors.find("out' exists already; use --force to replace it"),
              std::string::npos)
        << words.front() << ": " << result.errors;
    EXPECT_EQ(read_file(folder_ / "out"), "old") << words.front();
  }
}

TEST_F(OutputFiles, OfLogitsAppearWhenTheyAreComplete) {
  Terminal terminal(Program({"logits", stories().string(), "--tokens", "1", "--greedy", "200000",
                             "--ctx", "200001", "--out", file("rows")}));
  // Until it is interrupted it writes, but not under the name.
  for (int i = 0; i < 100'000'000 && files() < 2; ++i) {
  }
  EXPECT_EQ(files(), 2);
  EXPECT_FALSE(fs::exists(file("rows")));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_NE(terminal.screen().find("interrupted; nothing was written"), std::string::npos);
  EXPECT_EQ(files(), 1);  // the story
}

}  // namespace
}  // namespace hearth::testing
