#include "plan/presets.h"

#include <gtest/gtest.h>

#include <set>

#include "measure/machine_file.h"

namespace hearth::plan {
namespace {

TEST(Presets, ThereAreThoseThatPeopleHave) {
  std::set<std::string> keys;
  for (const Preset& preset : presets()) EXPECT_TRUE(keys.insert(preset.key).second);
  for (const char* key :
       {"laptop-8gb", "laptop-16gb", "rtx-3060", "rtx-3070-ti", "rtx-3090", "rtx-4090", "rtx-5090",
        "strix-halo-128gb", "mac-m1", "mac-m1-max", "mac-m2-ultra", "mac-m3-max", "mac-m3-ultra",
        "mac-m4-max", "raspberry-pi-5", "phone", "server-2core"})
    EXPECT_TRUE(keys.contains(key)) << key;
}

TEST(Presets, AreCompleteMachines) {
  for (const Preset& preset : presets()) {
    SCOPED_TRACE(preset.key);
    const machine::Machine& machine = preset.machine;
    EXPECT_FALSE(machine.name.empty());
    EXPECT_FALSE(machine.source.empty());
    EXPECT_EQ(machine.measured_at, 0);
    EXPECT_GT(machine.cpu.usable_cores, 0);
    EXPECT_GT(machine.read_bytes_per_second, 5e9);
    EXPECT_LT(machine.read_bytes_per_second, 1e12);
    EXPECT_GT(machine.int8_multiply_adds, 1e11);
    EXPECT_GT(machine.memory.total_bytes, machine.memory.available_bytes);
    EXPECT_GT(machine.memory.available_bytes, machine.memory.total_bytes / 3);
    EXPECT_FALSE(machine.disks.empty());
    EXPECT_GT(preset.watts, 0);
    EXPECT_EQ(machine.memory.unified,
              machine.family == "apple" || preset.key == "strix-halo-128gb");
    for (const machine::Gpu& gpu : machine.gpus) EXPECT_GT(gpu.memory_bytes_per_second, 0);
  }
}

TEST(Presets, SurviveBeingWrittenAsAMachineFile) {
  for (const Preset& preset : presets()) {
    const std::string text = measure::machine_text(preset.machine);
    EXPECT_EQ(measure::machine_text(measure::parse_machine(text, "'t'")), text) << preset.key;
  }
}

TEST(Presets, UnknownOnesAreNone) { EXPECT_FALSE(find_preset("abacus").has_value()); }

TEST(DataSheets, TheLongestNameWins) {
  const auto sheets = gpu_sheets();
  const auto name = [&](const char* gpu) {
    const GpuSheet* sheet = find_sheet(sheets, gpu);
    return sheet == nullptr ? std::string() : sheet->name;
  };
  EXPECT_EQ(name("NVIDIA GeForce RTX 3070 Ti"), "RTX 3070 Ti");
  EXPECT_EQ(name("NVIDIA GeForce RTX 3070"), "RTX 3070");
  EXPECT_EQ(name("AMD Radeon RX 7900 XTX (RADV NAVI31)"), "RX 7900 XTX");
  EXPECT_EQ(name("Apple M2 Ultra"), "Apple M2 Ultra");
  EXPECT_EQ(name("NVIDIA H200"), "H200");
  // Laptop chips share names with desktop cards, but not speeds.
  EXPECT_EQ(name("NVIDIA GeForce RTX 4090 Laptop GPU"), "");
  EXPECT_EQ(name("NVIDIA GeForce RTX 5070 Laptop GPU"), "RTX 5070 Laptop");
  EXPECT_EQ(name("llvmpipe"), "");
  EXPECT_EQ(name(""), "");
}

TEST(DataSheets, FillInOnlyWhatIsMissing) {
  machine::Machine machine;
  machine.gpus.resize(2);
  machine.gpus[0].name = "NVIDIA GeForce RTX 3090";
  machine.gpus[1].name = "NVIDIA GeForce RTX 3090";
  machine.gpus[1].memory_bytes_per_second = 5e11;
  EXPECT_EQ(fill_from_sheets(machine).size(), 2U);
  EXPECT_DOUBLE_EQ(machine.gpus[0].memory_bytes_per_second, 936e9);
  EXPECT_DOUBLE_EQ(machine.gpus[0].fp16_flops, 71e12);
  EXPECT_DOUBLE_EQ(machine.gpus[1].memory_bytes_per_second, 5e11);
  EXPECT_TRUE(fill_from_sheets(machine).empty());
}

}  // namespace
}  // namespace hearth::plan
