// Other programs that take this computer's time or memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "machine/system_files.h"

namespace hearth::machine {

/// A process at one moment.
struct ProcessState {
  std::string name;
  std::uint64_t ticks = 0;  // of processor time since it began
  std::uint64_t resident_bytes = 0;
};
/// All processes that can be seen, by number; kernel threads and this process are left out.
[[nodiscard]] std::map<int, ProcessState> process_states(const SystemFiles& files);

struct BusyProcess {
  int number = 0;
  std::string name;
  double processors = 0;  // it kept busy
  std::uint64_t resident_bytes = 0;
};
/// Who was busy between two moments `seconds` apart, or holds memory now: those that took at least
/// `least_processors` or hold at least `least_bytes`, the busiest first.
[[nodiscard]] std::vector<BusyProcess> busy_processes(const std::map<int, ProcessState>& before,
                                                      const std::map<int, ProcessState>& after,
                                                      double seconds, double least_processors,
                                                      std::uint64_t least_bytes);

/// Processor time since the system started, in seconds times processors.
struct ProcessorTime {
  double busy = 0;    // of all programs and the system
  double stolen = 0;  // that a hypervisor gave to other machines
  double own = 0;     // of busy, this process
};
[[nodiscard]] ProcessorTime processor_time(const SystemFiles& files);

}  // namespace hearth::machine
