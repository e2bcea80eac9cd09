// The processor as the planner sees it.
#pragma once

#include "machine/machine.h"
#include "machine/system_files.h"
#include "machine/topology.h"

namespace hearth::machine {

/// Name, kinds of cores (of those that this process may use), memory nodes and caches.
/// `instruction_sets` is left empty: which kernels there are is the compute room's to say.
/// `topology` may be empty (nothing could be found out): then all cores are alike.
/// `usable_cores` and `usable_processors` as in machine/cpu.h.
[[nodiscard]] Processors processors(const SystemFiles& files, const Topology& topology,
                                    int usable_cores, int usable_processors);

/// Power source, battery, governor, and whether heat has slowed the processor since the start.
[[nodiscard]] Power power(const SystemFiles& files);

/// What contains this process: "docker", "podman", "lxc", "kubernetes", "wsl" …, the service
/// manager's name for it, "cgroup" when there is only a limit, or nothing; and its limits.
[[nodiscard]] Limits limits(const SystemFiles& files);

}  // namespace hearth::machine
