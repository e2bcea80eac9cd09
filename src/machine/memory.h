// Facts about this computer's memory, as far as this process may use it.
#pragma once

#include <cstddef>

#include "machine/machine.h"
#include "machine/system_files.h"

namespace hearth::machine {

struct MemoryFacts {
  std::size_t total = 0;  // bytes of main memory, or the cgroup's limit when that is smaller
  std::size_t available =
      0;  // bytes that can be taken now without swapping (MemAvailable, within the cgroup's limit)
};

/// Reads the system's present state. Zeroes when the system does not say.
[[nodiscard]] MemoryFacts memory_facts();

/// Main memory as the planner sees it: a container's limit is the machine's memory. Zeroes where
/// the system does not say; `unified` is left false.
[[nodiscard]] MainMemory main_memory(const SystemFiles& files);

/// What this process holds in main memory now, in bytes.
struct ProcessMemory {
  std::size_t resident = 0;   // VmRSS
  std::size_t anonymous = 0;  // of it, what is not backed by a file
};

/// Zeroes when the system does not say.
[[nodiscard]] ProcessMemory process_memory();

}  // namespace hearth::machine
