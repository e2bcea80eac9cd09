// Contexts of which only a part has room in memory (spec::Setup::kv_budget): the rest is on disk
// and is read by every pass, a token's or a prompt's piece (docs/kv.md).
#pragma once

#include <algorithm>
#include <cstdint>

#include "machine/machine.h"

namespace hearth::plan {

/// Bytes per second that the fastest disk of a machine reads in order; 0: not known.
[[nodiscard]] double disk_rate(const machine::Machine& machine) noexcept;
/// What is taken where that is not known.
inline constexpr double kUnknownDisk = 1e9;

/// How long a pass that computes for `seconds` waits for `bytes` from a disk: it reads while the
/// layers compute, so that the slower of the two counts. `rate` must be positive.
[[nodiscard]] constexpr double disk_wait(double bytes, double rate, double seconds) noexcept {
  return std::max(0.0, bytes / rate - seconds);
}

/// Keys and values of a sequence, in bytes.
struct KvNeed {
  double growing = 0;    // of the whole context: may be on disk
  double fixed = 0;      // windows and the like: stays in memory
  double per_token = 0;  // of growing
  int layers = 0;        // that keep some of it; 0: not known
  std::int64_t context = 0;
};

/// What a budget makes of them.
struct KvDivision {
  double memory = 0;     // taken of the budget, or all
  double disk = 0;       // size of the file; 0: there is none
  double in_memory = 0;  // of what grows
  bool enough = true;    // false: the budget has no room for what a pass needs at once
  /// What a pass reads from the disk that sees `growing` bytes, each of them once.
  [[nodiscard]] double read(double growing) const noexcept {
    return disk > 0 ? std::max(0.0, growing - in_memory) : 0;
  }
  /// Whether that is enough, and the file not larger than `most` bytes (0: any size).
  [[nodiscard]] bool within(std::uint64_t most) const noexcept {
    return enough && (most == 0 || disk <= static_cast<double>(most));
  }
};

/// As the engine divides (state/memory_disk.cpp), but for roundings. `budget` 0: all in memory.
[[nodiscard]] KvDivision divide_kv(const KvNeed& need, double budget) noexcept;

}  // namespace hearth::plan
