// Facts about this computer's memory, as far as this process may use it.
#pragma once

#include <cstddef>

namespace hearth::machine {

struct MemoryFacts {
  std::size_t total = 0;  // bytes of main memory, or the cgroup's limit when that is smaller
  std::size_t available =
      0;  // bytes that can be taken now without swapping (MemAvailable, within the cgroup's limit)
};

/// Reads the system's present state. Zeroes when the system does not say.
[[nodiscard]] MemoryFacts memory_facts();

}  // namespace hearth::machine
