// hearth probe and hearth doctor as processes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "program.h"
#include "support/file.h"
#include "set_aside_files.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using Json = nlohmann::json;

TEST(ProbeCommand, MeasuresOnceAndRemembers) {
  const TemporaryFolder home;
  const std::filesystem::path cache = home.path() / ".cache" / "hearth" / "machine.json";
  const ProgramResult first = Program({"probe", "--json"}).home(home.path()).run();
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  const Json machine = Json::parse(first.output);
  for (const char* key : {"cpu", "memory", "read_gbs", "int8_gmacs", "disks", "gpus", "npus",
                          "limits", "measured_at"}) {
    EXPECT_TRUE(machine.contains(key)) << key;
  }
  EXPECT_GT(machine["read_gbs"].get<double>(), 0);
  EXPECT_GT(machine["int8_gmacs"].get<double>(), 0);
  EXPECT_FALSE(machine["disks"].empty());
  EXPECT_EQ(read_file(cache), first.output);
  EXPECT_EQ(first.errors.find("not be kept"), std::string::npos) << first.errors;
  // Nothing else was left in the home folder, whose disk was measured.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(home.path()), {}), 1);

  const ProgramResult again = Program({"probe", "--json"}).home(home.path()).run();
  EXPECT_EQ(Json::parse(again.output)["measured_at"], machine["measured_at"]);
  const ProgramResult text = Program({"probe"}).home(home.path()).run();
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_NE(text.output.find("GB/s"), std::string::npos);
  EXPECT_NE(text.output.find("hearth probe --refresh"), std::string::npos);
  EXPECT_EQ(text.errors, "");
}

TEST(DoctorCommand, FindsThisMachineRight) {
  const ProgramResult result = Program({"doctor", "--json"}).run();
  EXPECT_EQ(result.exit_code, 0) << result.output << result.errors;
  const Json json = Json::parse(result.output);
  EXPECT_TRUE(json["right"].get<bool>());
  EXPECT_GE(json["self_test"].size(), 6U);
  EXPECT_TRUE(json["advice"].is_array());
}

TEST(DoctorCommand, TestsTheChosenKernelsOnly) {
  const ProgramResult result = Program({"doctor"}).variable("HEARTH_CPU", "portable").run();
  EXPECT_EQ(result.exit_code, 0) << result.output << result.errors;
  EXPECT_NE(result.output.find("portable"), std::string::npos);
  EXPECT_EQ(result.output.find("avx"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("Setup"), std::string::npos);
}

TEST(DoctorCommand, ABrokenCacheIsSetAsideNotFatal) {
  const TemporaryFolder home;
  const std::filesystem::path cache = home.path() / ".cache" / "hearth" / "machine.json";
  std::filesystem::create_directories(cache.parent_path());
  std::ofstream(cache) << "{broken";
  const ProgramResult result =
      Program({"doctor"}).home(home.path()).variable("HEARTH_CPU", "portable").run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.errors.find("machine.json.bad"), std::string::npos) << result.errors;
  const auto aside = set_aside_files(cache.parent_path(), "machine.json");
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(read_file(aside.front()), "{broken");
}

TEST(DoctorCommand, UnknownKernelsAreAnError) {
  const ProgramResult result = Program({"doctor"}).variable("HEARTH_CPU", "abacus").run();
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.errors.find("abacus"), std::string::npos);
}

}  // namespace
}  // namespace hearth::testing
