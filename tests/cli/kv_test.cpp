// KV formats on the command line: inspect states what is allocated, everything takes --kv, eval
// prints its tables.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "program.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using Json = nlohmann::json;

Json inspect(const std::string& model, const std::string& kv, const std::string& context) {
  const ProgramResult run =
      Program({"inspect", model, "--ctx", context, "--kv", kv, "--json"}).run();
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  return Json::parse(run.output);
}

/// Acceptance 3 of issue 6.
TEST(KvCommand, UniformThreeBitsAreAFifthOfF16) {
  for (const char* shape : {"shape:llama3-8b", "shape:qwen3.5-9b"}) {
    const Json f16 = inspect(shape, "f16", "131072");
    const Json three = inspect(shape, "tq3u", "131072");
    const double ratio =
        three.at("memory").at("kv").get<double>() / f16.at("memory").at("kv").get<double>();
    EXPECT_LE(ratio, 0.2) << shape;
    EXPECT_EQ(three.at("memory").at("kv_f16"), f16.at("memory").at("kv"));
    EXPECT_EQ(three.at("kv_format"), "tq3u");
    EXPECT_TRUE(three.at("kv_kept_otherwise").empty());
    const Json ladder = inspect(shape, "tq3", "131072");
    EXPECT_GT(ladder.at("memory").at("kv"), three.at("memory").at("kv"));
    EXPECT_FALSE(ladder.at("kv_kept_otherwise").empty());
  }
}

TEST(KvCommand, InspectSaysWhatIsKeptOtherwise) {
  const ProgramResult run =
      Program({"inspect", "shape:gemma3-4b", "--ctx", "32768", "--kv", "q8_0:tq4"}).run();
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NE(run.output.find("sliding windows keep 8 bits"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("q8_0:tq4"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("in F16"), std::string::npos) << run.output;
}

Json inspect_with_budget(const std::string& machine) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "m.json", machine);
  const ProgramResult run = Program({"inspect", "shape:llama3-8b", "--ctx", "131072", "--kv-budget",
                                     "4G", "--machine", (folder / "m.json").string(), "--json"})
                                .run();
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  return run.exit_code == 0 ? Json::parse(run.output) : Json::object();
}

TEST(KvCommand, InspectSaysWhatADiskAllows) {
  const std::string machine = R"({"version": 1, "name": "described", "source": "by hand",
      "cpu": {"usable_cores": 4}, "memory": {"total_bytes": 16e9})";
  const Json known = inspect_with_budget(machine + R"(, "read_gbs": 40, "int8_gmacs": 500,
      "disks": [{"path": "/", "sequential_gbs": 1}, {"path": "/b", "sequential_gbs": 2}]})");
  const double bytes = known.at("per_token").at("disk_bytes_read_at_full_context").get<double>();
  EXPECT_GT(bytes, 10e9);
  EXPECT_EQ(known.at("expected").at("disk_bytes_per_second"), 2e9);
  EXPECT_NEAR(known.at("expected").at("tokens_per_second_at_full_context").get<double>(),
              2e9 / bytes, 1e-6);
  EXPECT_GT(known.at("expected").at("with_all_in_memory").get<double>(), 2e9 / bytes);
  // What is not known is null, and the rest is told all the same.
  const Json no_disk = inspect_with_budget(machine + R"(, "read_gbs": 40, "int8_gmacs": 500})");
  EXPECT_EQ(no_disk.at("per_token"), known.at("per_token"));
  EXPECT_TRUE(no_disk.at("expected").at("disk_bytes_per_second").is_null());
  EXPECT_TRUE(no_disk.at("expected").at("tokens_per_second_at_full_context").is_null());
  const Json no_speed =
      inspect_with_budget(machine + R"(, "disks": [{"path": "/", "sequential_gbs": 2}]})");
  EXPECT_EQ(no_speed.at("expected").at("disk_bytes_per_second"), 2e9);
  EXPECT_TRUE(no_speed.at("expected").at("with_all_in_memory").is_null());
}

TEST(KvCommand, InspectAndBenchReadSettingsAsRunDoes) {
  // "file": as the file says.
  EXPECT_EQ(Program({"inspect", "shape:llama3-8b", "--rope-scaling", "file", "--kv-budget", "off"})
                .run()
                .exit_code,
            0);
  const ProgramResult scaled =
      Program({"inspect", "shape:llama3-8b", "--rope-scaling", "linear:2"}).run();
  EXPECT_NE(scaled.output.find("scaled by linear:2"), std::string::npos) << scaled.output;
  EXPECT_EQ(Program({"inspect", "shape:llama3-8b", "--machine", "nope"}).run().exit_code, 2);
  for (const char* command : {"inspect", "bench"})
    EXPECT_EQ(Program({command, "shape:llama3-8b", "--rope-scaling", "wide:2"}).run().exit_code, 2);
}

TEST(KvCommand, UnknownFormatsAreRefused) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"inspect", "shape:llama3-8b", "--kv", "tq9"},
           {"plan", "shape:llama3-8b", "--kv", "f16:tq4"},
           {"bench", "shape:llama3-8b", "--kv", "q4_0"},
           {"eval", "kv", "--synthetic", "--formats", "tq3,tq1"}}) {
    const ProgramResult run = Program(words).run();
    EXPECT_EQ(run.exit_code, 2) << words.front();
    EXPECT_NE(run.errors.find("format"), std::string::npos) << run.errors;
  }
}

TEST(KvCommand, EvalNeedsSomethingToEvaluate) {
  EXPECT_EQ(Program({"eval", "kv"}).run().exit_code, 2);
  EXPECT_EQ(Program({"eval"}).run().exit_code, 2);
}

TEST(KvCommand, EvaluatesAModel) {
  const auto model = shared_dir() / "models" / "stories260K.gguf";
  HEARTH_REQUIRE_FILE(model);
  const ProgramResult run = Program({"eval", "kv", model.string(), "--tokens", "400", "--formats",
                                     "f32,tq4,tq2,tq4u", "--json"})
                                .run();
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const Json rows = Json::parse(run.output).at("formats");
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[0].at("format"), "f16");
  EXPECT_EQ(rows[0].at("kl_divergence").at("value"), 0);
  EXPECT_EQ(rows[0].at("same_top_token").at("value"), 1);
  EXPECT_LT(rows[1].at("kl_divergence").at("value"), 1e-3);
  for (const Json& row : rows) EXPECT_GT(row.at("perplexity").at("value"), 1);
}

TEST(KvCommand, ATextTooShortToBeCodedIsTold) {
  const auto model = shared_dir() / "models" / "stories260K.gguf";
  HEARTH_REQUIRE_FILE(model);
  for (const int tokens : {200, 400}) {
    const ProgramResult run = Program({"eval", "kv", model.string(), "--tokens",
                                       std::to_string(tokens), "--formats", "f32,tq4", "--json"})
                                  .run();
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    const Json rows = Json::parse(run.output).at("formats");
    EXPECT_TRUE(rows[1].at("coded_tokens").is_null());
    EXPECT_EQ(rows[2].at("coded_tokens"), tokens == 200 ? 0 : 192);
    EXPECT_EQ(run.errors.find("nothing was coded in tq4") != std::string::npos, tokens == 200)
        << run.errors;
  }
  std::string text;
  for (int i = 0; i < 100; ++i) text += "Once upon a time there was a little dog. ";
  const ProgramResult run = Program({"perplexity", model.string(), "-", "--ctx", "128", "--chunks",
                                     "1", "--kv", "tq4", "--json"})
                                .input(text)
                                .run();
  EXPECT_EQ(Json::parse(run.output).at("coded_tokens"), 0) << run.errors;
  EXPECT_NE(run.errors.find("nothing was coded"), std::string::npos) << run.errors;
}

TEST(KvCommand, CodedKeysAndValuesGenerate) {
  const auto model = shared_dir() / "models" / "stories260K.gguf";
  HEARTH_REQUIRE_FILE(model);
  for (const char* kv : {"tq4", "q8_0:tq3", "q4_0r"}) {
    const ProgramResult run = Program({"run", model.string(), "--raw", "--temp", "0", "-n", "300",
                                       "--kv", kv, "Once upon a time"})
                                  .run();
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_GT(run.output.size(), 200U) << kv;
  }
}

}  // namespace
}  // namespace hearth::testing
