// What this machine can do at most: the limits that every speed of an engine is a fraction of.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "support/thread_team.h"

namespace hearth::measure {

/// What the buffer that is read lies in.
enum class Pages { kHuge, kSmall };

/// Measures with all threads of a team at once. Other programs disturb: measure repeatedly, in turn
/// with what is compared, and take medians.
class MachineSpeed {
 public:
  /// `instruction_set` as in CpuOptions. Allocates `buffer_bytes` of such pages, which should be
  /// several times the last-level cache. Throws Error.
  explicit MachineSpeed(ThreadTeam& team, const std::string& instruction_set = {},
                        std::size_t buffer_bytes = std::size_t{512} << 20,
                        Pages pages = Pages::kHuge);
  ~MachineSpeed();

  /// Bytes per second of reading the buffer once, front to back, in shares of 1 MiB, by the first
  /// `threads` threads of the team (0: all).
  [[nodiscard]] double read_bandwidth(int threads = 0);
  /// Int8 multiply-adds per second of the dot-product instruction on registers, over about
  /// `seconds`.
  [[nodiscard]] double int8_peak(double seconds = 0.05);
  /// The same of the bfloat16 dot-product instruction; 0 where the instruction set has none.
  [[nodiscard]] double bf16_peak(double seconds = 0.05);
  /// The same of fused multiply-adds of floats.
  [[nodiscard]] double f32_peak(double seconds = 0.05);
  /// Memory that this holds.
  [[nodiscard]] std::size_t buffer_bytes() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::measure
