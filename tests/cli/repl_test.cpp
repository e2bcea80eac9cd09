// The chat on a terminal. Every step waits for what the program prints.
#include <gtest/gtest.h>

#include "gguf/writer.h"
#include "program.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

/// The stories model with a chat template, in a folder that is the program's home too.
class ReplTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path stories = shared_dir() / "models" / "stories260K.gguf";
    HEARTH_REQUIRE_FILE(stories);
    const gguf::File file = gguf::File::open(stories);
    gguf::Writer writer;
    writer.copy(file.metadata());
    writer.set("tokenizer.chat_template",
               "{% for message in messages %}{{ message.content }} {% endfor %}");
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      writer.add_tensor(tensor.name, tensor.dtype,
                        std::vector<std::int64_t>(tensor.shape, tensor.shape + tensor.dimensions),
                        file.data(tensor));
    }
    model_ = folder_ / "chat.gguf";
    writer.write(model_);
  }

  Program chat(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"run", model_.string(), "--temp", "0", "-n", "6"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program program(std::move(arguments));
    program.home(folder_.path());
    return program;
  }

  TemporaryFolder folder_;
  std::filesystem::path model_;
};

constexpr const char* kReplReady = "\x1b[?2004h";  // the editor waits for a line

TEST_F(ReplTest, TalksAndLeaves) {
  const Program program = chat();
  Terminal terminal(program);
  ASSERT_TRUE(terminal.wait_for("/help"));
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("Once upon a time\r");
  ASSERT_TRUE(terminal.wait_for("\x1b[?2004l"));
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("/stats\r");
  ASSERT_TRUE(terminal.wait_for("generated  6 tokens"));
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("/retry\r");
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("/quit\r");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(read_file(folder_ / ".local/state/hearth/history"),
            "Once upon a time\n/stats\n/retry\n/quit\n");
}

TEST_F(ReplTest, CommandsAndTheirErrors) {
  const Program program = chat();
  Terminal terminal(program);
  const auto expect = [&](const std::string& line, const std::string& answer) {
    ASSERT_TRUE(terminal.wait_for(kReplReady));
    terminal.type(line + "\r");
    EXPECT_TRUE(terminal.wait_for(answer)) << line << "\n" << terminal.screen();
  };
  expect("/retry", "there is no answer to retry");
  expect("/set temp 0.25", "temp = 0.25");
  expect("/set temp hot", "'hot' is not a number");
  expect("/set temp", "temp = 0.25");
  expect("/set temp default", "temp = 0");
  expect("/set tepm 1", "did you mean 'temp'?");
  expect("/set ctx 4", "cannot be changed");
  expect("/sytsem", "did you mean '/system'?");
  expect("/system Be brief.", "System message: Be brief.");
  expect("Hello", "\x1b[?2004l");
  const std::string file = (folder_ / "talk.json").string();
  expect("/save " + file, "Saved 2 messages");
  expect("/clear", "forgotten");
  expect("/retry", "there is no answer to retry");
  expect("/system none", "No system message.");
  expect("/load " + file, "Loaded 2 messages");
  expect("/system", "System message: Be brief.");
  expect("/load /nowhere", "no such file");
  expect("/help", "Ctrl-C stops the reply");
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(ReplTest, SavesOverNothingButConversations) {
  std::filesystem::copy_file(model_, folder_ / "precious.gguf");
  const std::uintmax_t size = std::filesystem::file_size(folder_ / "precious.gguf");
  const Program program = chat();
  Terminal terminal(program);
  const auto expect = [&](const std::string& line, const std::string& answer) {
    ASSERT_TRUE(terminal.wait_for(kReplReady));
    terminal.type(line + "\r");
    EXPECT_TRUE(terminal.wait_for(answer)) << line << "\n" << terminal.screen();
  };
  expect("/save ~/precious.gguf", "there is no message to save");
  expect("Hello", "\x1b[?2004l");
  expect("/save ~/precious.gguf", "is not a saved conversation: it stays as it is");
  expect("/save \"~/a talk.json\"", "Saved 2 messages");
  expect("/save ~/a talk.json", "Saved 2 messages");
  expect("   ", "");
  expect("/save ~/a talk.json", "Saved 2 messages");
  expect("/clear", "forgotten");
  expect("/save ~/a talk.json", "there is no message to save");
  expect("/load \"~/a talk.json\"", "Loaded 2 messages");
  expect("/quit", "");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "precious.gguf"), size);
  EXPECT_EQ(std::filesystem::status(folder_ / "a talk.json").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(ReplTest, LoadsAllOfAConversationOrNothing) {
  write_file_atomically(folder_ / "hot.json", R"({"format": "hearth-conversation-1",
    "settings": {"min-p": "0.5", "temp": "hot"}, "messages": [{"role": "user", "content": "a"}]})");
  const Program program = chat();
  Terminal terminal(program);
  const auto expect = [&](const std::string& line, const std::string& answer) {
    ASSERT_TRUE(terminal.wait_for(kReplReady));
    terminal.type(line + "\r");
    EXPECT_TRUE(terminal.wait_for(answer)) << line << "\n" << terminal.screen();
  };
  expect("/load ~/hot.json", "nothing was loaded from");
  expect("/set min-p", "min-p = 0.05");
  expect("/retry", "there is no answer to retry");
  expect("/quit", "");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(ReplTest, ARetryTakesAnotherSeed) {
  const Program program = chat({"--temp", "1", "--seed", "7", "--stats"});
  Terminal terminal(program);
  const auto expect = [&](const std::string& line, const std::string& answer) {
    ASSERT_TRUE(terminal.wait_for(kReplReady));
    terminal.type(line + "\r");
    EXPECT_TRUE(terminal.wait_for(answer)) << line << "\n" << terminal.screen();
  };
  expect("Once", "seed 7");
  expect("/retry", "seed 8");
  expect("/retry", "seed 9");
  expect("Once", "seed 7");
  expect("/quit", "");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(ReplTest, MessagesOfSeveralLines) {
  const Program program = chat();
  Terminal terminal(program);
  const std::string file = (folder_ / "talk.json").string();
  for (const std::string& line : std::vector<std::string>{"one\\", "two", "\"\"\"three",
                                                          "four\"\"\"", "/save " + file, "/quit"}) {
    ASSERT_TRUE(terminal.wait_for(kReplReady));
    terminal.type(line + "\r");
  }
  EXPECT_EQ(terminal.finish(), 0);
  const std::string saved = read_file(file);
  EXPECT_NE(saved.find("\"one\\ntwo\""), std::string::npos) << saved;
  EXPECT_NE(saved.find("\"three\\nfour\""), std::string::npos) << saved;
}

TEST_F(ReplTest, ControlCStopsTheReplyAndNotTheProgram) {
  const Program program = chat({"-n", "-1", "--overflow", "shift", "--stop", "", "--logit-bias",
                                "1=-inf", "--logit-bias", "2=-inf", "--ctx", "4096"});
  Terminal terminal(program);
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("Once upon a time\r");
  ASSERT_TRUE(terminal.wait_for("there was"));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.wait_for(kReplReady)) << terminal.screen();
  terminal.type("\x03");
  ASSERT_TRUE(terminal.wait_for("/quit or press Ctrl-D"));
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("abc\x03");  // drops the line
  ASSERT_TRUE(terminal.wait_for(kReplReady));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(ReplTest, OneAnswerOnATerminalEndsWith130WhenInterrupted) {
  const Program program = chat(
      {"-n", "-1", "--logit-bias", "1=-inf", "--logit-bias", "2=-inf", "--ctx", "4096", "Once"});
  Terminal terminal(program);
  ASSERT_TRUE(terminal.wait_for("a"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
}

TEST_F(ReplTest, UpFindsTheModelInTheStore) {
  std::filesystem::create_directories(folder_ / ".local/share/hearth/models");
  std::filesystem::copy_file(model_, folder_ / ".local/share/hearth/models/tiny-chat.gguf");
  for (const auto& arguments :
       {std::vector<std::string>{"up"}, {"up", "tiny"}, {"run", "tiny-chat"}}) {
    Program program(arguments);
    program.home(folder_.path());
    Terminal terminal(program);
    ASSERT_TRUE(terminal.wait_for(kReplReady)) << terminal.screen();
    terminal.type("/quit\r");
    EXPECT_EQ(terminal.finish(), 0);
  }
}

}  // namespace
}  // namespace hearth::testing
