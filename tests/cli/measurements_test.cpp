// Benchmarks and answers are kept, shared and left alone.
#include "cli/measurements.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "measure/measurement_store.h"
#include "program.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

namespace fs = std::filesystem;
using measure::Measurement;
using measure::MeasurementStore;

/// A folder with the name of a person in it, as home folders have.
class MeasurementsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(stories_model());
    home_ = folder_ / "ada-lovelace";
    fs::create_directories(home_);
    model_ = home_ / "secret-project.gguf";
    fs::copy_file(stories_model(), model_);
  }
  [[nodiscard]] Program hearth(std::vector<std::string> arguments) const {
    Program program(std::move(arguments));
    program.home(home_);
    return program;
  }
  [[nodiscard]] fs::path store() const { return home_ / ".local/state/hearth/measurements.db"; }
  [[nodiscard]] std::vector<Measurement> rows() const {
    const std::optional<MeasurementStore> opened = MeasurementStore::open_existing(store(), {});
    if (!opened) return {};
    return opened->find({.machine = cli::this_machine_fingerprint()});
  }
  /// An answer that is long enough for a row.
  [[nodiscard]] std::vector<std::string> answer() const {
    return {"run", model_.string(), "--raw",  "--temp",           "0", "-n", "40", "-t",
            "1",   "--logit-bias",  "2=-inf", "A private thought"};
  }

  TemporaryFolder folder_;
  fs::path home_, model_;
};

TEST_F(MeasurementsTest, AnAnswerIsARow) {
  const ProgramResult result = hearth(answer()).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
  const std::vector<Measurement> kept = rows();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].source, "run");
  EXPECT_EQ(kept[0].generated_tokens, 40);
  EXPECT_GT(kept[0].decode_tps.value_or(0), 0);
  EXPECT_EQ(kept[0].prefill_tps, std::nullopt);  // of a few words it says nothing
  EXPECT_EQ(kept[0].model.architecture, "llama");
  EXPECT_EQ(kept[0].threads, 1);
  EXPECT_EQ(kept[0].kv_type, "F16");
  EXPECT_GT(kept[0].context, 0);
  // Neither what was said nor where the model lies.
  const std::string bytes = read_file(store());
  for (const char* secret : {"private", "thought", "secret-project", "ada-lovelace"})
    EXPECT_EQ(bytes.find(secret), std::string::npos) << secret;
}

TEST_F(MeasurementsTest, ALongPromptIsARow) {
  std::string prompt;
  for (int i = 0; i < 200; ++i) prompt += "once upon a time ";
  const ProgramResult result =
      hearth({"run", model_.string(), "--raw", "-n", "1", "-c", "4096", "-"}).input(prompt).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const std::vector<Measurement> kept = rows();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_GT(kept[0].prefill_tps.value_or(0), 0);
  EXPECT_EQ(kept[0].decode_tps, std::nullopt);
}

TEST_F(MeasurementsTest, AShortAnswerIsNone) {
  ASSERT_EQ(hearth({"run", model_.string(), "--raw", "-n", "5", "Once"}).run().exit_code, 0);
  EXPECT_FALSE(fs::exists(store()));
}

TEST_F(MeasurementsTest, NothingIsKeptWhereThatIsNotWanted) {
  EXPECT_EQ(hearth(answer()).variable("HEARTH_NO_MEASUREMENTS", "1").run().exit_code, 0);
  EXPECT_EQ(hearth(answer()).variable("HEARTH_MEASUREMENTS", "false").run().exit_code, 0);
  std::vector<std::string> words = answer();
  words.insert(words.begin() + 2, "--measurements=false");
  EXPECT_EQ(hearth(words).run().exit_code, 0);
  fs::create_directories(home_ / ".config/hearth");
  write_file_atomically(home_ / ".config/hearth/config", std::string("measurements = false\n"));
  EXPECT_EQ(hearth(answer()).run().exit_code, 0);
  const std::vector<std::string> bench = {"bench", model_.string(), "-p", "0", "-n", "32", "-r",
                                          "1"};
  EXPECT_EQ(hearth(bench).run().exit_code, 0);
  EXPECT_FALSE(fs::exists(store()));
}

TEST_F(MeasurementsTest, ABrokenStoreIsToldAndDoesNotDisturb) {
  fs::create_directories(store().parent_path());
  write_file_atomically(store(), std::string("not a database"));
  const ProgramResult result = hearth(answer()).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.output, "");
  EXPECT_NE(result.errors.find("set aside as 'measurements.db.bad-"), std::string::npos)
      << result.errors;
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1);
  EXPECT_EQ(rows().size(), 1U);
}

TEST_F(MeasurementsTest, AStoreThatCannotBeMadeDoesNotDisturb) {
  fs::create_directories(home_ / ".local");
  write_file_atomically(home_ / ".local/state", std::string("a file"));
  const ProgramResult result = hearth(answer()).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.errors, "");
}

TEST_F(MeasurementsTest, ABenchmarkIsKeptAndShared) {
  const fs::path shared = folder_ / "bench.json";
  const ProgramResult result = hearth({"bench", model_.string(), "-p", "128", "-n", "32", "-r", "1",
                                       "-d", "0,16", "-b", "1,2", "--export", shared.string()})
                                   .run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const std::vector<Measurement> kept = rows();
  ASSERT_EQ(kept.size(), 4U);  // prompt and answer at each depth, of one sequence
  std::set<std::int64_t> depths;
  for (const Measurement& row : kept) {
    EXPECT_EQ(row.source, "bench");
    EXPECT_NE(row.prefill_tps.has_value(), row.decode_tps.has_value());
    EXPECT_GT(row.read_bytes_per_second.value_or(0), 0);
    depths.insert(row.depth);
  }
  EXPECT_EQ(depths, (std::set<std::int64_t>{0, 16}));

  const std::string text = read_file(shared);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["hearth_bench"], 1);
  EXPECT_EQ(json["model"]["architecture"], "llama");
  EXPECT_EQ(json["model"]["parameters"], 260'032);
  EXPECT_EQ(json["rows"].size(), 4U);
  EXPECT_GT(json["rows"][0]["decode_tps"].get<double>(), 0);
  EXPECT_GT(json["machine"]["memory_gib"].get<double>(), 0);
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const char* user = getlogin();
  const std::vector<std::string> secrets = {
      "secret-project", "ada-lovelace", folder_.path().string(), host, user != nullptr ? user : ""};
  for (const std::string& secret : secrets) {
    if (secret.size() > 2) {
      EXPECT_EQ(text.find(secret), std::string::npos) << secret;
    }
  }
  EXPECT_EQ(text.find('/'), std::string::npos) << text;
}

TEST_F(MeasurementsTest, AnExportDoesNotReplaceTheModel) {
  const std::string before = read_file(model_);
  const ProgramResult result =
      hearth({"bench", model_.string(), "--export", model_.string()}).run();
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.errors.find("would overwrite the model"), std::string::npos) << result.errors;
  EXPECT_EQ(read_file(model_), before);
  EXPECT_EQ(hearth({"bench", model_.string(), "--export", (folder_ / "no/such.json").string()})
                .run()
                .exit_code,
            2);
}

generate::GenerateResult generated(std::int64_t prompt, std::int64_t tokens) {
  generate::GenerateResult result;
  result.prompt_tokens = prompt;
  result.generated_tokens = tokens;
  result.prompt_seconds = 1;
  result.generate_seconds = 2;
  return result;
}

TEST(AnswerMeasurement, CountsPassesAndExpectations) {
  plan::Estimate expected;
  plan::SpeedAt start;
  start.decode.tps = 50;
  start.prefill.tps = 400;
  expected.speeds = {start};
  spec::Setup setup;
  setup.threads = 3;
  generate::GenerateResult result = generated(300, 101);
  result.reused_tokens = 100;
  const std::optional<Measurement> row = cli::answer_measurement({}, setup, result, expected, 1000);
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->depth, 100);
  EXPECT_EQ(row->prompt_tokens, 200);
  EXPECT_EQ(row->prefill_tps, 200);
  EXPECT_EQ(row->decode_tps, 50);
  EXPECT_EQ(row->expected_decode_tps, 50);
  EXPECT_EQ(row->expected_prefill_tps, 400);
  EXPECT_EQ(row->threads, 3);
  EXPECT_EQ(row->taken_at, 1000);
  EXPECT_FALSE(cli::answer_measurement({}, setup, generated(100, 31), expected, 0).has_value());
  setup.kv_budget = 1'000'000;
  EXPECT_FALSE(cli::answer_measurement({}, setup, result, expected, 0).has_value());
  setup.kv_budget = 0;
  result.shifts = 1;
  EXPECT_FALSE(cli::answer_measurement({}, setup, result, expected, 0).has_value());
}

}  // namespace
}  // namespace hearth::testing
