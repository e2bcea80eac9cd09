#include "measure/machine_speed.h"

#include <gtest/gtest.h>

#include "machine/cpu.h"

namespace hearth::measure {
namespace {

TEST(MachineSpeed, MeasuresWhatThereIs) {
  ThreadTeam team(1);
  MachineSpeed machine(team, "portable", std::size_t{4} << 20);
  EXPECT_EQ(machine.buffer_bytes(), std::size_t{4} << 20);
  EXPECT_GT(machine.read_bandwidth(), 0);
  EXPECT_GT(machine.int8_peak(0.001), 0);
  EXPECT_GT(machine.f32_peak(0.001), 0);
  EXPECT_EQ(machine.bf16_peak(0.001), 0);
}

}  // namespace
}  // namespace hearth::measure
