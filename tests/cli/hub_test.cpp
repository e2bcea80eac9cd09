// pull, list, show, rm and import, as people run them.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "hub/hub_fixture.h"
#include "set_aside_files.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;

class HubCommands : public ::testing::Test {
 protected:
  HubCommands() : server_([this](const SeenRequest& request) { return hub_.answer(request); }) {}

  Program program(std::vector<std::string> arguments) const {
    Program result(std::move(arguments));
    result.home(home_.path())
        .variable("HF_ENDPOINT", server_.url())
        .variable("no_proxy", "127.0.0.1");
    return result;
  }
  ProgramResult run(std::vector<std::string> arguments) const {
    return program(std::move(arguments)).run();
  }
  fs::path store() const { return home_ / ".local/share/hearth"; }
  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  TemporaryFolder home_;
  FakeHuggingFace hub_;
  FakeServer server_;
};

TEST_F(HubCommands, go_together) {
  ProgramResult result = run({"list"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(contains(result.output, "No models yet"));
  EXPECT_FALSE(fs::exists(store()));  // looking makes nothing

  hub_.add("M-Q4_K_M.gguf", tiny_model(2, "A title"));
  result = run({"pull", "hf:o/r:Q4_K_M"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.output, "M-Q4_K_M\n");
  EXPECT_TRUE(contains(result.errors, "checked"));

  result = run({"list"});
  EXPECT_TRUE(contains(result.output, "M-Q4_K_M")) << result.output;
  EXPECT_TRUE(contains(result.output, "hf:o/r"));
  result = run({"list", "--json"});
  const auto list = nlohmann::json::parse(result.output);
  ASSERT_EQ(list["models"].size(), 1U);
  EXPECT_EQ(list["models"][0]["quant"], "Q4_K_M");
  EXPECT_TRUE(list["models"][0]["problem"].is_null());

  result = run({"show", "m-q4", "--verify"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(contains(result.output, "A title"));
  EXPECT_TRUE(contains(result.output, "Every byte"));
  result = run({"show", "M-Q4_K_M", "--json"});
  const auto shown = nlohmann::json::parse(result.output);
  EXPECT_EQ(shown["header"]["architecture"], "llama");
  EXPECT_EQ(shown["header"]["parameters"], 8192);
  EXPECT_TRUE(shown["adapters"].empty());

  // Adapters are part of the model: listed, and verified.
  const std::string sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const fs::path blob = store() / "blobs" / ("sha256-" + sha256);
  const fs::path manifest = store() / "manifests" / "M-Q4_K_M.json";
  write_file_atomically(blob, std::string("abc"));
  const std::string plain = read_file(manifest);
  auto with_adapter = nlohmann::json::parse(plain);
  with_adapter["adapters"] = {{{"name", "tone.gguf"}, {"size", 3}, {"sha256", sha256}}};
  write_file_atomically(manifest, with_adapter.dump());
  result = run({"show", "m-q4", "--verify", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(nlohmann::json::parse(result.output)["adapters"][0]["sha256"], sha256);
  EXPECT_TRUE(contains(run({"show", "m-q4"}).output, "tone.gguf"));
  write_file_atomically(blob, std::string("abd"));
  result = run({"show", "m-q4", "--verify"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "tone.gguf is damaged")) << result.errors;
  fs::remove(blob);
  write_file_atomically(manifest, plain);

  // Names mean the model for other commands, too.
  for (const char* name : {"M-Q4_K_M", "m-q4_k", "hf:o/r", "hf:o/r:q4_k_m"}) {
    result = run({"tokenize", name, "x"});
    EXPECT_FALSE(contains(result.errors, "no such file")) << name << result.errors;
    EXPECT_FALSE(contains(result.errors, "does not have")) << name << result.errors;
  }
  result = run({"tokenize", "hf:o/r:Q8_0", "x"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "hearth pull hf:o/r:Q8_0"));

  result = run({"rm", "nothing", "M-Q4_K_M"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(run({"list"}).output, "M-Q4_K_M"));  // all or none
  result = run({"rm", "M-Q4_K_M"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(fs::is_empty(store() / "blobs"));
}

TEST_F(HubCommands, ask_before_they_remove) {
  fs::create_directories(store() / "models");
  write_file_atomically(store() / "models/mine.gguf", tiny_model());
  for (const bool yes : {false, true}) {
    Terminal terminal(program({"rm", "mine"}));
    ASSERT_TRUE(terminal.wait_for("[y/N]"));
    terminal.type(yes ? "y\n" : "\n");
    EXPECT_EQ(terminal.finish(), 0);
    EXPECT_EQ(fs::exists(store() / "models/mine.gguf"), !yes);
  }
}

TEST_F(HubCommands, stay_offline_when_told) {
  ProgramResult result = program({"pull", "hf:o/r"}).variable("HEARTH_OFFLINE", "1").run();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "HEARTH_OFFLINE is set")) << result.errors;
  fs::create_directories(home_ / ".config/hearth");
  write_file_atomically(home_ / ".config/hearth/config", std::string("offline = true\n"));
  result = run({"pull", "hf:o/r"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "offline = true")) << result.errors;
  EXPECT_TRUE(server_.seen().empty());
  hub_.add("M-Q4_0.gguf", tiny_model());
  result = program({"pull", "hf:o/r"}).variable("HEARTH_OFFLINE", "0").run();
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  write_file_atomically(home_ / ".config/hearth/config", std::string("offline = maybe\n"));
  EXPECT_EQ(run({"pull", "hf:o/r"}).exit_code, 2);
}

TEST_F(HubCommands, say_what_went_wrong) {
  EXPECT_EQ(run({"pull", "hf:o"}).exit_code, 2);
  EXPECT_EQ(run({"pull", "hf:o/r", "--sha256", "abc"}).exit_code, 2);
  EXPECT_EQ(run({"pull", "unknown-name"}).exit_code, 1);
  EXPECT_EQ(run({"rm"}).exit_code, 2);
  EXPECT_EQ(run({"show", "unknown-name"}).exit_code, 1);
  EXPECT_EQ(run({"import", "--from", "elsewhere"}).exit_code, 2);
  EXPECT_EQ(run({"import"}).exit_code, 1);
  hub_.add("M-Q4_0.gguf", noise(100'000));
  hub_.announce("M-Q4_0.gguf", std::string(64, '0'));
  const ProgramResult result = run({"pull", "hf:o/r"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "SHA-256"));
  EXPECT_TRUE(contains(run({"list"}).output, "No models yet"));
}

TEST_F(HubCommands, adopt_models_of_other_programs) {
  const fs::path folder = home_ / ".lmstudio/models/publisher/repo";
  fs::create_directories(folder);
  write_file_atomically(folder / "theirs.gguf", tiny_model());
  ProgramResult result = run({"import"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(contains(result.output, "theirs"));
  result = run({"list", "--json"});
  EXPECT_NE(nlohmann::json::parse(result.output)["models"][0]["quant"], "");
  result = run({"show", "theirs", "--verify"});  // nothing was found wrong
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(contains(result.errors, "nothing to compare it with")) << result.errors;
  EXPECT_FALSE(contains(result.output, "Every byte")) << result.output;
  fs::remove(folder / "theirs.gguf");
  result = run({"list"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(contains(result.output, "Not usable")) << result.output;
  result = run({"inspect", "theirs"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "is gone")) << result.errors;
  EXPECT_EQ(run({"rm", "theirs", "--yes"}).exit_code, 0);
}

TEST_F(HubCommands, report_a_malformed_manifest) {
  hub_.add("M-Q4_0.gguf", tiny_model());
  ASSERT_EQ(run({"pull", "hf:o/r"}).exit_code, 0);
  write_file_atomically(store() / "manifests/M-Q4_0.json", std::string("\x01garbage"));
  ProgramResult result = run({"list"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(contains(result.errors, "set aside")) << result.errors;
  EXPECT_TRUE(contains(result.output, "no manifest")) << result.output;
  EXPECT_EQ(set_aside_files(store() / "manifests", "M-Q4_0.json").size(), 1U);
  ASSERT_EQ(run({"pull", "hf:o/r"}).exit_code, 0);
  result = run({"list"});
  EXPECT_FALSE(contains(result.output, "no manifest"));
  EXPECT_TRUE(contains(result.output, "M-Q4_0"));
}

}  // namespace
}  // namespace hearth::testing
