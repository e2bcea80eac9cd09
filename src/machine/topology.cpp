#include "machine/topology.h"

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>

#include "support/error.h"

#if defined(HEARTH_HWLOC)
#include <hwloc.h>
#endif

namespace hearth::machine {
namespace {

#if defined(HEARTH_HWLOC)
struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const noexcept { hwloc_topology_destroy(topology); }
};
using TopologyHandle = std::unique_ptr<hwloc_topology, DestroyTopology>;

TopologyHandle load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return nullptr;
  TopologyHandle handle(raw);
  // Without devices and distances: milliseconds less at every start.
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING |
                                    HWLOC_TOPOLOGY_FLAG_NO_DISTANCES |
                                    HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS);
  if (hwloc_topology_load(raw) != 0) return nullptr;
  return handle;
}

int efficiency_of(hwloc_topology_t topology, hwloc_const_cpuset_t processor) {
  const int kind = hwloc_cpukinds_get_by_cpuset(topology, processor, 0);
  int efficiency = 0;
  if (kind < 0 || hwloc_cpukinds_get_info(topology, static_cast<unsigned>(kind), nullptr,
                                          &efficiency, nullptr, nullptr, 0) != 0) {
    return 0;
  }
  return std::max(efficiency, 0);
}
#endif

template <class Member>
bool differs(const std::vector<Processor>& processors, Member member) noexcept {
  return std::any_of(processors.begin(), processors.end(), [&](const Processor& processor) {
    return processor.*member != processors.front().*member;
  });
}

}  // namespace

bool Topology::shares_cores() const noexcept { return differs(processors, &Processor::sibling); }
bool Topology::several_nodes() const noexcept { return differs(processors, &Processor::node); }
bool Topology::several_kinds() const noexcept {
  return differs(processors, &Processor::efficiency);
}

Topology topology() {
  Topology result;
#if defined(HEARTH_HWLOC)
  const TopologyHandle handle = load_topology();
  if (!handle) return result;
  hwloc_topology_t const machine = handle.get();
  hwloc_obj_t processor = nullptr;
  while ((processor = hwloc_get_next_obj_by_type(machine, HWLOC_OBJ_PU, processor)) != nullptr) {
    Processor entry;
    entry.number = static_cast<int>(processor->os_index);
    entry.efficiency = efficiency_of(machine, processor->cpuset);
    const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(machine, HWLOC_OBJ_CORE, processor);
    entry.core = static_cast<int>(core != nullptr ? core->logical_index : processor->logical_index);
    entry.sibling = static_cast<int>(
        std::count_if(result.processors.begin(), result.processors.end(),
                      [&](const Processor& earlier) { return earlier.core == entry.core; }));
    if (const int node = hwloc_bitmap_first(processor->nodeset); node >= 0) entry.node = node;
    result.processors.push_back(entry);
  }
  std::sort(result.processors.begin(), result.processors.end(),
            [](const Processor& a, const Processor& b) { return a.number < b.number; });
#endif
  return result;
}

std::vector<int> places_for(const Topology& topology, int threads) {
  std::vector<int> places;
  if (static_cast<std::size_t>(std::max(threads, 0)) > topology.processors.size()) return places;
  std::vector<Processor> order = topology.processors;
  std::sort(order.begin(), order.end(), [](const Processor& a, const Processor& b) {
    return std::make_tuple(a.sibling, -a.efficiency, a.node, a.core, a.number) <
           std::make_tuple(b.sibling, -b.efficiency, b.node, b.core, b.number);
  });
  for (int thread = 0; thread < threads; ++thread) {
    places.push_back(order[static_cast<std::size_t>(thread)].number);
  }
  return places;
}

std::vector<int> team_places(int threads, std::string_view wish) {
  if (!wish.empty() && wish != "yes" && wish != "no") {
    throw Error("HEARTH_PIN is '" + printable(wish) + "'",
                "use yes or no, or leave it out: then threads are bound to processors where the "
                "choice of processor matters",
                ExitCode::kUsage);
  }
  if (wish == "no" || threads < 2) return {};
  const Topology machine = topology();
  const bool matters = machine.shares_cores() || machine.several_nodes() || machine.several_kinds();
  return wish == "yes" || matters ? places_for(machine, threads) : std::vector<int>{};
}

}  // namespace hearth::machine
