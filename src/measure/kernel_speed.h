// How fast this engine's own kernels are here: what the planner prices counted work with
// (plan/processor_estimate.h). The CPU backend multiplies random weights; no model is needed.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"
#include "tensor/dtype.h"

namespace hearth::measure {

/// The formats that are measured when nothing else is asked for, the most used first: one of every
/// family of kernels. The estimate takes for the others the nearest of these.
[[nodiscard]] std::span<const tensor::DType> measured_formats() noexcept;

struct KernelPlan {
  int threads = 0;              // 0: all usable cores
  std::string instruction_set;  // as in CpuOptions
  std::vector<tensor::DType> formats{measured_formats().begin(), measured_formats().end()};
  /// Rounds end when so many seconds are over; there are at least one and at most `rounds`. Formats
  /// that the first round has no time left for are left out, from the end of the list.
  double seconds = 3.5;
  int rounds = 9;
  /// Weights of one format. All formats are read in turn, so together they should be several times
  /// the last-level cache.
  std::size_t format_bytes = std::size_t{20} << 20;
  /// When it becomes true, Error (ExitCode::kInterrupted) is thrown. May be null.
  const std::atomic<bool>* cancel = nullptr;
  /// Told what is under way, for people. May be empty.
  std::function<void(std::string_view)> on_progress;
};

struct KernelSpeeds {
  std::vector<machine::KernelSpeed> kernels;  // in the order of KernelPlan::formats
  machine::EngineSpeed engine;
};

/// How many of the plan's formats are measured where so many bytes of memory are free (0: unknown):
/// each takes KernelPlan::format_bytes, all else 240 MiB, and half of what is free is left alone.
/// Throws Error when not even one fits.
[[nodiscard]] std::size_t formats_that_fit(const KernelPlan& plan, std::size_t available);

/// Measures in interleaved rounds; of each time the mean of the middle half. Formats that do not
/// fit into memory are left out. Throws Error: not enough memory, an unknown instruction set.
[[nodiscard]] KernelSpeeds kernel_speeds(const KernelPlan& plan);

}  // namespace hearth::measure
