// How fast a disk can be read, by the page cache: what loading a model and fetching single experts
// cost.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace hearth::measure {

struct DiskPlan {
  double seconds = 3;  // all parts together, about
  std::uint64_t file_bytes = std::uint64_t{256} << 20;
  std::vector<std::uint32_t> blocks = {4096, 16384, 65536, 131072, 524288};
  std::vector<int> queue_depths = {1, 16};
  const std::atomic<bool>* stop = nullptr;  // set: end early, with what was measured
};

struct DiskSpeed {
  double sequential_bytes_per_second = 0;  // 4 MiB blocks, several at once; 0: not measured
  std::vector<machine::RandomRead> random;
  std::string trouble;  // why (the rest) was not measured: "only 1.2 GB are free"; empty: all was
};

/// Writes random bytes to a nameless file on the file system of `folder` (machine::DirectFile: it
/// is gone however the process ends), as many as a third of the time allows, and reads them past
/// the page cache. Leaves at least 1 GB free. Throws nothing.
[[nodiscard]] DiskSpeed measure_disk(const std::filesystem::path& folder, const DiskPlan& plan);

}  // namespace hearth::measure
