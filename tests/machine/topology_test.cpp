#include "machine/topology.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "machine/cpu.h"
#include "support/error.h"

namespace hearth::machine {
namespace {

using Places = std::vector<int>;

// {number, core, sibling, node, efficiency}
Topology desktop() {  // two fast cores of two hyper-threads and two slow cores
  return {{{0, 0, 0, 0, 1},
           {1, 0, 1, 0, 1},
           {2, 1, 0, 0, 1},
           {3, 1, 1, 0, 1},
           {4, 2, 0, 0, 0},
           {5, 3, 0, 0, 0}}};
}
Topology server() {  // two nodes of two cores; second hyper-threads are numbered last
  return {{{0, 0, 0, 0, 0},
           {1, 2, 0, 1, 0},
           {2, 1, 0, 0, 0},
           {3, 3, 0, 1, 0},
           {4, 0, 1, 0, 0},
           {5, 2, 1, 1, 0},
           {6, 1, 1, 0, 0},
           {7, 3, 1, 1, 0}}};
}

TEST(Topology, FastCoresFirstThenSlowOnesThenHyperThreads) {
  EXPECT_EQ(places_for(desktop(), 2), (Places{0, 2}));
  EXPECT_EQ(places_for(desktop(), 4), (Places{0, 2, 4, 5}));
  EXPECT_EQ(places_for(desktop(), 6), (Places{0, 2, 4, 5, 1, 3}));
}

TEST(Topology, OneThreadPerCoreNodeByNode) {
  EXPECT_EQ(places_for(server(), 2), (Places{0, 2}));
  EXPECT_EQ(places_for(server(), 4), (Places{0, 2, 1, 3}));
}

TEST(Topology, MoreThreadsThanProcessorsAreNotBound) {
  EXPECT_TRUE(places_for(desktop(), 7).empty());
  EXPECT_TRUE(places_for({}, 2).empty());
}

TEST(Topology, TellsWhatMakesTheChoiceMatter) {
  EXPECT_TRUE(desktop().shares_cores());
  EXPECT_TRUE(desktop().several_kinds());
  EXPECT_FALSE(desktop().several_nodes());
  EXPECT_TRUE(server().several_nodes());
  EXPECT_FALSE(server().several_kinds());
  const Topology plain{{{0, 0, 0, 0, 0}, {1, 1, 0, 0, 0}}};
  EXPECT_FALSE(plain.shares_cores() || plain.several_nodes() || plain.several_kinds());
}

TEST(Topology, OfThisMachineHoldsTheUsableProcessorsOnce) {
  const Topology here = topology();
  if (here.processors.empty()) GTEST_SKIP() << "this build has no hwloc";
  std::set<int> numbers;
  for (const Processor& processor : here.processors) {
    EXPECT_TRUE(numbers.insert(processor.number).second);
  }
  EXPECT_EQ(static_cast<int>(numbers.size()), usable_processors());
}

#if defined(HEARTH_HWLOC)
TEST(Topology, ReadsNodesCoresAndHyperThreads) {
  // hwloc's own variable for descriptions of machines that are not there.
  setenv("HWLOC_SYNTHETIC", "node:2 core:3 pu:2", 1);
  const Topology machine = topology();
  unsetenv("HWLOC_SYNTHETIC");
  ASSERT_EQ(machine.processors.size(), 12U);
  EXPECT_TRUE(machine.shares_cores());
  EXPECT_TRUE(machine.several_nodes());
  EXPECT_EQ(places_for(machine, 6), (Places{0, 2, 4, 6, 8, 10}));
}
#endif

TEST(Topology, PinOnlyKnowsYesAndNo) {
  EXPECT_TRUE(team_places(2, "no").empty());
  EXPECT_TRUE(team_places(1, "yes").empty());
  EXPECT_THROW(team_places(2, "maybe"), Error);
}

}  // namespace
}  // namespace hearth::machine
