// hearth plan, cost and catalog as processes: what scripts rely on, and broken files of the user's.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "program.h"
#include "set_aside_files.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using Json = nlohmann::json;

ProgramResult ran(std::vector<std::string> words) { return Program(std::move(words)).run(); }

Json json_of(std::vector<std::string> words) {
  words.emplace_back("--json");
  const ProgramResult result = ran(std::move(words));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return Json::parse(result.output, nullptr, false);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void expect_candidate(const Json& candidate) {
  for (const char* key : {"model", "quant", "residency", "limited_by", "why"})
    EXPECT_TRUE(candidate.at(key).is_string()) << key;
  for (const char* key : {"total", "weights", "kv", "state", "buffers", "device"})
    EXPECT_TRUE(candidate.at("memory").at(key).is_number()) << key;
  EXPECT_TRUE(candidate.at("context_max").is_number_integer());
  EXPECT_TRUE(candidate.at("prefill_tps").is_number());
  const Json& decode = candidate.at("decode_tps");
  ASSERT_TRUE(decode.is_object());
  ASSERT_TRUE(decode.contains("0"));
  for (const auto& [depth, tps] : decode.items()) {
    EXPECT_GT(tps.get<double>(), 0) << depth;
    const Json& range = candidate.at("decode_range").at(depth);
    EXPECT_LE(range.at(0).get<double>(), tps.get<double>());
    EXPECT_GE(range.at(1).get<double>(), tps.get<double>());
  }
}

TEST(PlanCommand, JsonIsAsDocumented) {
  const Json plan = json_of({"plan", "--machine", "laptop-16gb"});
  ASSERT_TRUE(plan.at("candidates").is_array());
  ASSERT_GT(plan.at("candidates").size(), 20U);
  for (const Json& candidate : plan.at("candidates")) expect_candidate(candidate);
  const Json& first = plan.at("candidates").front();
  EXPECT_EQ(plan.at("recommended").at("model"), first.at("model"));
  EXPECT_EQ(plan.at("recommended").at("quant"), first.at("quant"));
  EXPECT_TRUE(first.at("fits").get<bool>());
  EXPECT_EQ(plan.at("engine"), "hearth");
  EXPECT_EQ(first.at("residency"), "memory");
  EXPECT_TRUE(plan.at("other_engine").contains("recommended"));
  EXPECT_TRUE(plan.at("upgrades").is_array());
}

TEST(PlanCommand, SaysWhatIsRecommendedAndWhy) {
  const ProgramResult result = ran({"plan", "--machine", "rtx-3090", "--for", "code", "--why"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(contains(result.output, "Recommended: "));
  EXPECT_TRUE(contains(result.output, "no graphics backend yet"));
  EXPECT_TRUE(contains(result.output, "llama.cpp"));
  EXPECT_TRUE(contains(result.output, "Upgrades:"));
  EXPECT_TRUE(contains(result.output, "Why each:"));
}

TEST(PlanCommand, ReportsOnOneModelInEveryFormat) {
  const Json plan = json_of({"plan", "qwen3.5-4b:q8_0", "--machine", "laptop-16gb"});
  EXPECT_EQ(plan.at("candidates").front().at("quant"), "Q8_0");
  EXPECT_GT(plan.at("candidates").size(), 4U);
  for (const Json& candidate : plan.at("candidates")) expect_candidate(candidate);
  const ProgramResult text = ran({"plan", "qwen3.5-4b", "--machine", "laptop-16gb"});
  for (const char* part : {"weights", "per token", "trained for", "32k", "<- best here"})
    EXPECT_TRUE(contains(text.output, part)) << part;
}

TEST(PlanCommand, CountsFilesAndShapes) {
  const Json shape = json_of({"plan", "shape:qwen3-0.6b:Q8_0", "--machine", "server-2core"});
  expect_candidate(shape.at("candidates").front());
  const auto file = goldens_dir() / "arch" / "qwen3.gguf";
  HEARTH_REQUIRE_FILE(file);
  expect_candidate(
      json_of({"plan", file.string(), "--machine", "server-2core"}).at("candidates").front());
}

TEST(PlanCommand, OfASmallModelHasReadableNumbers) {
  HEARTH_REQUIRE_FILE(stories_model());
  const std::vector<std::string> words = {"plan", stories_model().string(), "--machine",
                                          "server-2core"};
  const ProgramResult text = ran(words);
  EXPECT_TRUE(contains(text.output, " thousand parameters")) << text.output;
  EXPECT_FALSE(contains(text.output, "e+")) << text.output;
  const Json candidate = json_of(words).at("candidates").front();
  for (const auto& [depth, tps] : candidate.at("decode_tps").items())
    EXPECT_LT(std::stoll(depth), 512);  // what it was trained for
}

TEST(PlanCommand, UpgradesAreInGigabytesOfPowersOfTen) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "m.json",
                        std::string(R"({"version": 1, "name": "described", "read_gbs": 40,
                          "int8_gmacs": 500, "cpu": {"usable_cores": 4},
                          "memory": {"total_bytes": 16e9}, "source": "by hand"})"));
  const Json plan = json_of({"plan", "--machine", (folder / "m.json").string()});
  EXPECT_EQ(plan.at("upgrades").front().at("change"), "twice the memory (32 GB)");
}

TEST(PlanCommand, ABudgetForTheContextIsPartOfThePlan) {
  for (const char* model : {"shape:llama3-8b", "qwen3-8b"}) {
    const std::vector<std::string> words = {"plan",      model,   "--machine",  "laptop-16gb",
                                            "--context", "32768", "--kv-budget"};
    std::vector<std::string> large = words, small = words;
    large.emplace_back("100G");
    small.emplace_back("1G");
    const Json all = json_of(large).at("candidates").front();
    const Json part = json_of(small).at("candidates").front();
    expect_candidate(part);
    EXPECT_EQ(all.at("memory").at("kv_on_disk"), 0);
    EXPECT_LE(part.at("memory").at("kv"), 1e9);
    EXPECT_GE(part.at("memory").at("kv_on_disk"), all.at("memory").at("kv"));
    EXPECT_GT(part.at("disk_bytes_read_at_full_context"), 3e9);
    EXPECT_LT(part.at("decode_tps").at("32767"), 1);
    EXPECT_GT(all.at("decode_tps").at("32767"), 1);
    EXPECT_TRUE(contains(ran(small).output, "a token at its end reads"));
  }
  const ProgramResult other =
      ran({"plan", "--machine", "rtx-3090", "--engine", "llama.cpp", "--kv-budget", "4G"});
  EXPECT_EQ(other.exit_code, 2);
}

TEST(PlanCommand, PlansSeveralModelsTogether) {
  const Json plan =
      json_of({"plan", "qwen3-8b", "embeddinggemma-300m", "--machine", "laptop-16gb"});
  EXPECT_EQ(plan.at("candidates").size(), 2U);
  EXPECT_TRUE(plan.at("together").at("fits").get<bool>());
  EXPECT_LE(plan.at("together").at("memory"), plan.at("together").at("budget"));
  EXPECT_EQ(ran({"plan", "llama-3.3-70b", "gpt-oss-120b", "--machine", "laptop-8gb"}).exit_code, 3);
}

TEST(PlanCommand, ReadsAMachineFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "m.json",
                        std::string(R"({"version": 1, "name": "described", "read_gbs": 40,
                          "int8_gmacs": 500, "cpu": {"usable_cores": 4},
                          "memory": {"total_bytes": 16e9}, "source": "by hand"})"));
  const Json plan = json_of({"plan", "--machine", (folder / "m.json").string()});
  EXPECT_EQ(plan.at("machine"), "described");
  EXPECT_FALSE(plan.at("recommended").is_null());
  EXPECT_FALSE(plan.contains("other_engine"));
}

TEST(PlanCommand, RefusesWhatItDoesNotKnow) {
  const ProgramResult machine = ran({"plan", "--machine", "laptop-8g"});
  EXPECT_EQ(machine.exit_code, 2);
  EXPECT_TRUE(contains(machine.errors, "did you mean 'laptop-8gb'?")) << machine.errors;
  const ProgramResult model = ran({"plan", "qwen3.5-4c", "--machine", "phone"});
  EXPECT_EQ(model.exit_code, 2);
  EXPECT_TRUE(contains(model.errors, "qwen3.5-4b")) << model.errors;
  EXPECT_EQ(ran({"plan", "qwen3.5-4b:Q7_Z", "--machine", "phone"}).exit_code, 2);
  EXPECT_EQ(ran({"plan", "--for", "dance", "--machine", "phone"}).exit_code, 2);
  EXPECT_EQ(ran({"plan", "--predict", "x.csv"}).exit_code, 2);
  // What is a file's name is no name of the catalog.
  const ProgramResult file = ran({"plan", "missing.gguf", "--machine", "phone"});
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_TRUE(contains(file.errors, "no such file: 'missing.gguf'")) << file.errors;
  const ProgramResult folder = ran({"plan", "/", "--machine", "phone"});
  EXPECT_TRUE(contains(folder.errors, "is a folder")) << folder.errors;
  const ProgramResult budget = ran({"plan", "shape:llama3-8b", "--context", "131072", "--kv-budget",
                                    "10M", "--machine", "laptop-16gb"});
  EXPECT_TRUE(contains(budget.output, "the budget is too small")) << budget.output;
}

TEST(PlanCommand, ABrokenCatalogOfTheUsersIsReportedAndSetAside) {
  const TemporaryFolder home;
  const std::filesystem::path file = home.path() / ".config" / "hearth" / "catalog.json";
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, std::string("{ broken"));
  const ProgramResult result = Program({"plan", "--machine", "phone"}).home(home.path()).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(contains(result.errors, "catalog.json' is not valid JSON")) << result.errors;
  EXPECT_TRUE(contains(result.output, "Recommended: "));
  const auto aside = set_aside_files(file.parent_path(), "catalog.json");
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(read_file(aside.front()), "{ broken");
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(CatalogCommand, ListsAndShows) {
  const ProgramResult list = ran({"catalog", "list"});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_TRUE(contains(list.output, "qwen3.5-4b"));
  EXPECT_TRUE(contains(list.output, "CC BY 4.0"));
  const ProgramResult show = ran({"catalog", "show", "Qwen/Qwen3.5-4B"});
  EXPECT_EQ(show.exit_code, 0);
  for (const char* part : {"apache-2.0", "MMLU-Pro", "Q4_K_M", "Sources:"})
    EXPECT_TRUE(contains(show.output, part)) << part;
  EXPECT_EQ(ran({"catalog", "show", "nothing"}).exit_code, 2);
  EXPECT_GT(json_of({"catalog", "list"}).at("models").size(), 80U);
  EXPECT_EQ(json_of({"catalog", "show", "qwen3-8b"}).at("repo"), "Qwen/Qwen3-8B");
}

TEST(CostCommand, TellsPowerCloudAndBreakEven) {
  const Json cost = json_of({"cost", "qwen3.5-4b", "--machine", "laptop-16gb", "--watts", "100",
                             "--price-per-kwh", "0.5", "--hardware-price", "1000"});
  EXPECT_EQ(cost.at("watts"), 100);
  EXPECT_NEAR(cost.at("power_per_day").get<double>(),
              cost.at("hours_per_day").get<double>() * 0.1 * 0.5, 1e-9);
  ASSERT_GT(cost.at("apis").size(), 5U);
  for (const Json& api : cost.at("apis")) EXPECT_FALSE(api.at("date").get<std::string>().empty());
  EXPECT_TRUE(contains(ran({"cost", "--machine", "rtx-3090"}).output, "break-even"));
}

}  // namespace
}  // namespace hearth::testing
