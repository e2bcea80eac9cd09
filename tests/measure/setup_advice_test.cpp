#include "measure/setup_advice.h"

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace hearth::measure {
namespace {

/// A machine with nothing to say against it.
SetupFacts good() {
  SetupFacts facts;
  facts.machine.memory = {16000000000, 12000000000, 8000000000, 0, "madvise", false};
  facts.machine.power = {"mains", 100, "performance", false};
  facts.models = {"/models", "nvme0n1", "nvme", 1000000000000, 500000000000, 3e9, {}};
  facts.usable_processors = facts.online_processors = 8;
  return facts;
}

std::vector<std::string> names(const SetupFacts& facts) {
  std::vector<std::string> result;
  for (const Advice& advice : setup_advice(facts)) {
    EXPECT_FALSE(advice.what.empty());
    EXPECT_FALSE(advice.fix.empty());
    result.push_back(advice.name);
  }
  return result;
}

using Names = std::vector<std::string>;

TEST(SetupAdvice, NoneWhenAllIsWell) { EXPECT_EQ(names(good()), Names{}); }

TEST(SetupAdvice, NoneForWhatIsUnknown) {
  SetupFacts facts;
  EXPECT_EQ(names(facts), Names{});
}

TEST(SetupAdvice, OneForEachTrouble) {
  const auto with = [](auto change) {
    SetupFacts facts = good();
    change(facts);
    return names(facts);
  };
  EXPECT_EQ(with([](auto& f) { f.machine.memory.huge_pages = "never"; }), Names{"huge-pages"});
  EXPECT_EQ(with([](auto& f) { f.machine.power.governor = "powersave"; }), Names{"governor"});
  EXPECT_EQ(with([](auto& f) { f.machine.power.throttled = true; }), Names{"heat"});
  EXPECT_EQ(with([](auto& f) { f.machine.power.source = "battery"; }), Names{"battery"});
  EXPECT_EQ(with([](auto& f) { f.machine.memory.swap_used_bytes = 2000000000; }), Names{"swap"});
  EXPECT_EQ(with([](auto& f) { f.machine.memory.swap_used_bytes = 100000000; }), Names{});
  EXPECT_EQ(with([](auto& f) { f.machine.memory.available_bytes = 1500000000; }), Names{"memory"});
  EXPECT_EQ(with([](auto& f) { f.machine.limits.processors = 1.5; }), Names{"quota"});
  EXPECT_EQ(with([](auto& f) { f.machine.limits.processors = 8; }), Names{});
  EXPECT_EQ(with([](auto& f) { f.usable_processors = 2; }), Names{"affinity"});
  EXPECT_EQ(with([](auto& f) { f.machine.limits.memory_bytes = 16000000000; }),
            Names{"memory-limit"});
  EXPECT_EQ(with([](auto& f) { f.machine.limits.memory_bytes = 99000000000; }), Names{});
  EXPECT_EQ(with([](auto& f) { f.models.sequential_bytes_per_second = 1.2e8; }),
            Names{"slow-disk"});
  EXPECT_EQ(with([](auto& f) {
              f.models.kind = "hdd";
              f.models.sequential_bytes_per_second = 0;
            }),
            Names{"slow-disk"});
  EXPECT_EQ(with([](auto& f) { f.models.kind = "memory"; }), Names{"disk-in-memory"});
  EXPECT_EQ(with([](auto& f) { f.models.free_bytes = 1000; }), Names{"full-disk"});
}

TEST(SetupAdvice, NamesTheBusiestPrograms) {
  SetupFacts facts = good();
  facts.others = {{7, "cc1plus\n", 1.2, 900000000},
                  {9, "database", 0.05, 9000000000},
                  {11, "idle", 0.05, 1000}};
  facts.others_processors = 1.94;
  const std::vector<Advice> advice = setup_advice(facts);
  ASSERT_EQ(advice.size(), 2U);
  EXPECT_EQ(advice[0].what,
            "other programs keep 1.9 of 8 processors busy; the busiest: cc1plus\\x0a (process 7)");
  EXPECT_EQ(advice[1].what, "database (process 9) holds 9.0 GB of memory");
  // Many small ones are busy, too; of many large ones three are named.
  facts.others.clear();
  EXPECT_EQ(setup_advice(facts).at(0).what, "other programs keep 1.9 of 8 processors busy");
  for (int i = 0; i < 50; ++i) facts.others.push_back({100 + i, "many", 1, 9000000000});
  EXPECT_EQ(setup_advice(facts).size(), 4U);
  facts = good();
  facts.stolen_processors = 1;
  EXPECT_EQ(names(facts), Names{"stolen"});
}

TEST(SetupAdvice, FactsOfThisMachine) {
  testing::TemporaryFolder folder;
  machine::Machine machine;
  machine.disks.push_back({folder.path().string(), "", "ssd", 0, 0, 123e6, {}});
  const SetupFacts facts = setup_facts(machine, (folder / "models").string(), 0);
  EXPECT_EQ(facts.models.path, (folder / "models").string());
  EXPECT_EQ(facts.models.sequential_bytes_per_second, 123e6);
  EXPECT_GT(facts.models.total_bytes, 0U);
  EXPECT_GE(facts.usable_processors, 1);
}

}  // namespace
}  // namespace hearth::measure
