// Machines that are described instead of measured (data/machines.json), and data sheets of graphics
// processors (data/gpus.json).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"

namespace hearth::plan {

struct Preset {
  std::string key;    // "laptop-8gb"
  std::string about;  // "a laptop of 2020 with 8 GB"
  double watts = 0;   // while it generates
  machine::Machine machine;
};

/// All presets, small machines first. Throws Error only if the build was broken.
[[nodiscard]] std::vector<Preset> presets();

/// The preset `key`; nothing when there is none.
[[nodiscard]] std::optional<Preset> find_preset(std::string_view key);

/// What a vendor says about a graphics processor; 0: unknown.
struct GpuSheet {
  std::string name, vendor;
  double memory_bytes = 0, memory_bytes_per_second = 0, fp16_flops = 0;
};

[[nodiscard]] std::vector<GpuSheet> gpu_sheets();

/// The sheet whose name has the most words, all of which stand in `name`; null when none does.
/// Laptop chips share names with desktop cards and match only sheets of laptop chips.
[[nodiscard]] const GpuSheet* find_sheet(const std::vector<GpuSheet>& sheets,
                                         std::string_view name);

/// Fills in bandwidth and speed of those graphics processors that a probe could only name. Says
/// which, for people: "RTX 3060: 360 GB/s, 25.5 TFLOPS by the data sheet".
std::vector<std::string> fill_from_sheets(machine::Machine& machine);

}  // namespace hearth::plan
