// Limits that a container (control group, version 1 or 2) sets on this process.
#pragma once

#include <cstdint>
#include <optional>

#include "machine/system_files.h"

namespace hearth::machine {

/// What is left of the tightest memory limit, in bytes.
struct GroupMemory {
  std::uint64_t limit = 0;  // smallest of the group's and its parents'
  std::uint64_t available =
      0;  // least that any of them leaves, page cache that can be dropped included
};
/// Nothing where no group has a limit.
[[nodiscard]] std::optional<GroupMemory> group_memory(const SystemFiles& files);

/// The CPU quota in processors (1.5: one and a half), or 0 when there is none.
[[nodiscard]] double processor_quota(const SystemFiles& files);

}  // namespace hearth::machine
