// Which processors there are, how they belong together, and where a team of threads should sit.
#pragma once

#include <string_view>
#include <vector>

namespace hearth::machine {

/// A logical processor that this process may use.
struct Processor {
  int number = 0;      // the system's
  int core = 0;        // counted from 0; processors of one core share its vector units
  int sibling = 0;     // which hyper-thread of its core, counted from 0 among the usable ones
  int node = 0;        // of memory (NUMA)
  int efficiency = 0;  // of the kind of core: higher is faster; all 0 where they are alike
};

struct Topology {
  /// In the order of the system's numbers. Empty when nothing could be found out.
  std::vector<Processor> processors;

  [[nodiscard]] bool shares_cores() const noexcept;   // some core has several hyper-threads
  [[nodiscard]] bool several_nodes() const noexcept;  // memory is nearer to some than to others
  [[nodiscard]] bool several_kinds() const noexcept;  // e.g. performance and efficiency cores
};

/// What hwloc finds, less what the affinity mask and the control group take away. Empty in builds
/// without hwloc (those for other machines, scripts/test-arm).
[[nodiscard]] Topology topology();

/// Numbers of `threads` processors, one for each thread: first the fastest kind of core, one thread
/// per core, neighbours on one memory node; then slower cores; then second hyper-threads. Empty,
/// which means that threads shall not be bound, when there are fewer processors than threads.
[[nodiscard]] std::vector<int> places_for(const Topology& topology, int threads);

/// The places of a team of `threads` on this machine, or none where the system's own choice is as
/// good: a thread that is bound cannot make way for another program, so threads are bound only
/// where the choice of processor matters (several hyper-threads, memory nodes or kinds of cores).
/// `wish` (HEARTH_PIN) overrides: "yes" binds wherever it is possible, "no" never; other words
/// throw Error.
[[nodiscard]] std::vector<int> team_places(int threads, std::string_view wish);

}  // namespace hearth::machine
