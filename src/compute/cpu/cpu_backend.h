// The CPU backend: threads, SIMD kernels chosen at run time, weights packed into huge pages.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "compute/backend.h"

namespace hearth::compute {

struct CpuOptions {
  /// 0: as many as the machine has physical cores that this process may use.
  int threads = 0;
  /// Activations stay float32 and the order of every reduction is independent of batch, chunking
  /// and thread count.
  bool exact = false;
  /// Instruction set: "" chooses the best one this CPU has; HEARTH_CPU overrides; otherwise a name
  /// that cpu_instruction_sets() lists. Throws Error when unknown or not available.
  std::string instruction_set;
};

[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);

/// Names of the kernel sets that were compiled in and that this CPU can run, best first
/// (docs/processors.md: "avx512vnni", "neon" ..., always "portable").
[[nodiscard]] std::vector<std::string> cpu_instruction_sets();

/// What make_cpu_backend would choose.
[[nodiscard]] std::string chosen_cpu_instruction_set();

}  // namespace hearth::compute
