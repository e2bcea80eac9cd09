#include "measure/probe.h"

#include <gtest/gtest.h>

#include <fstream>

#include "machine/cpu.h"
#include "measure/machine_file.h"
#include "support/error.h"
#include "support/file.h"
#include "set_aside_files.h"
#include "temporary_folder.h"

namespace hearth::measure {
namespace {

/// Without disks, and with the least of everything else.
ProbeOptions quick() {
  ProbeOptions options;
  options.memory_seconds = options.arithmetic_seconds = options.kernel_seconds = 0.001;
  options.memory_bytes = std::size_t{8} << 20;
  return options;
}

void put(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Probe, MeasuresAndKeeps) {
  testing::TemporaryFolder folder;
  const std::filesystem::path cache = folder / "deep" / "machine.json";
  std::vector<std::string> said;
  ProbeOptions options = quick();
  options.progress = [&](std::string_view what) { said.emplace_back(what); };
  const ProbedMachine first = cached_or_probed(cache, options);
  EXPECT_FALSE(first.cached);
  EXPECT_GT(said.size(), 3U);
  const machine::Machine& m = first.machine;
  EXPECT_GT(m.measured_at, 1700000000);
  EXPECT_GT(m.read_bytes_per_second, 0);
  EXPECT_GT(m.int8_multiply_adds, 0);
  EXPECT_GT(m.f32_multiply_adds, 0);
  EXPECT_FALSE(m.cpu.instruction_sets.empty());
  // One to all threads, in both kinds of pages.
  ASSERT_GE(m.reads.size(), 2U);
  EXPECT_EQ(m.reads.front().threads, 1);
  EXPECT_EQ(m.reads.back().threads, machine::usable_cores());
  EXPECT_TRUE(m.reads.front().huge_pages);
  EXPECT_FALSE(m.reads.back().huge_pages);

  said.clear();
  const ProbedMachine second = cached_or_probed(cache, options);
  EXPECT_TRUE(second.cached);
  // Only what stays true: that others kept the machine busy when it was measured.
  EXPECT_EQ(second.remarks.size(), second.machine.disturbed_by > 0 ? 1U : 0U);
  EXPECT_TRUE(said.empty());
  EXPECT_EQ(second.machine.measured_at, m.measured_at);
  EXPECT_EQ(second.machine.reads.size(), m.reads.size());

  const ProbedMachine third = cached_or_probed(cache, options, /*refresh=*/true);
  EXPECT_FALSE(third.cached);
  EXPECT_FALSE(said.empty());
}

TEST(Probe, FreeMemoryOfTheCacheIsThatOfNow) {
  testing::TemporaryFolder folder;
  const std::filesystem::path cache = folder / "machine.json";
  ProbedMachine probed = cached_or_probed(cache, quick());
  probed.machine.memory.available_bytes = 1;
  put(cache, machine_text(probed.machine));
  EXPECT_GT(cached_or_probed(cache, quick()).machine.memory.available_bytes, 1U);
}

TEST(Probe, AnotherMachinesCacheIsReplacedWithAWord) {
  testing::TemporaryFolder folder;
  const std::filesystem::path cache = folder / "machine.json";
  machine::Machine other = unmeasured_machine(quick());
  other.cpu.usable_cores += 1;
  put(cache, machine_text(other));
  const ProbedMachine probed = cached_or_probed(cache, quick());
  EXPECT_FALSE(probed.cached);
  ASSERT_GE(probed.remarks.size(), 1U);
  EXPECT_EQ(probed.remarks[0],
            "what was measured earlier is not used: the number of usable cores is another one");
  EXPECT_TRUE(cached_or_probed(cache, quick()).cached);
}

TEST(Probe, ABrokenCacheIsSetAside) {
  testing::TemporaryFolder folder;
  const std::filesystem::path cache = folder / "machine.json";
  std::size_t times = 0;
  for (const char* broken : {"", "{", "[1]", R"({"version": 99})", R"({"version": 1, "cpu": 5})"}) {
    put(cache, broken);
    const CacheLook look = look_into_cache(cache);
    EXPECT_FALSE(look.usable);
    ASSERT_EQ(look.found.remarks.size(), 1U) << broken;
    EXPECT_NE(look.found.remarks[0].find("set aside as machine.json.bad"), std::string::npos)
        << look.found.remarks[0];
    EXPECT_FALSE(std::filesystem::exists(cache));
    // None overwrites an earlier one.
    ASSERT_EQ(testing::set_aside_files(folder.path()).size(), ++times);
    bool kept = false;
    for (const auto& file : testing::set_aside_files(folder.path())) {
      kept = kept || read_file(file) == broken;
    }
    EXPECT_TRUE(kept) << broken;
  }
}

TEST(Probe, ACacheThatCannotBeWrittenIsARemark) {
  testing::TemporaryFolder folder;
  put(folder / "file", "x");
  const ProbedMachine probed = cached_or_probed(folder / "file" / "machine.json", quick());
  ASSERT_GE(probed.remarks.size(), 1U);
  EXPECT_TRUE(probed.remarks.back().starts_with("what was measured could not be kept"));
}

TEST(Probe, StopsWhenAsked) {
  testing::TemporaryFolder folder;
  const std::atomic<bool> stop{true};
  ProbeOptions options = quick();
  options.stop = &stop;
  try {
    (void)cached_or_probed(folder / "machine.json", options);
    ADD_FAILURE() << "did not stop";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInterrupted);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "machine.json"));
}

}  // namespace
}  // namespace hearth::measure
