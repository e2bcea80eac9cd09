// The cost model of machines and engines that were not measured here: graphics processors, Apple
// chips, unified memory, other processors; llama.cpp, Ollama, MLX, LM Studio. Formulas from what
// the hardware has to do, with the few fitted shares of plan/efficiencies.h. How it was fitted and
// how well it predicts: docs/planner-model.md.
#pragma once

#include <optional>
#include <string_view>

#include "machine/machine.h"
#include "plan/efficiencies.h"
#include "plan/estimate.h"
#include "plan/workload.h"

namespace hearth::plan {

/// Which share of the weights lies in a graphics processor's memory.
struct Placement {
  double dense = 1;    // of what every token uses
  double experts = 1;  // of the routed experts
};

/// What Conditions leave open.
struct ClassOptions {
  std::optional<Placement> placement;  // instead of what the residency would choose
  int batch = 512;                     // tokens of a prompt that the engine computes at once
};

/// Of a graphics processor, by its name and how it is built in.
[[nodiscard]] HardwareClass classify(const machine::Gpu& gpu, const machine::Machine& machine);

/// Bytes that one value of keys or values takes in a KV format ("F16", "q8_0" …), blocks' scales
/// included; 2 for unknown names.
[[nodiscard]] double kv_element_bytes(std::string_view kv_type) noexcept;

/// Memory, times and speeds by the machine's data sheet (Gpu::memory_bytes_per_second,
/// Gpu::fp16_flops, Machine::read_bytes_per_second …). SpeedAt::prefill is the speed of
/// Conditions::prompt tokens that follow `depth` others. Of several graphics processors the first
/// is used. Throws Error when the machine does not tell what the residency needs.
[[nodiscard]] Estimate estimate_by_class(const Workload& workload, const machine::Machine& machine,
                                         const Conditions& conditions,
                                         const ClassOptions& options = {});

}  // namespace hearth::plan
