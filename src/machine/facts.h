// Everything that can be known about this computer without measuring.
#pragma once

#include <filesystem>
#include <vector>

#include "machine/machine.h"
#include "machine/system_files.h"

namespace hearth::machine {

/// The machine less its speeds: cores, memory, limits, power, the disks that `folders` are on,
/// graphics and neural processors. Takes some seconds at most, and only where a vendor's tool or a
/// driver hangs. `cpu.instruction_sets` is left empty (the compute room knows).
[[nodiscard]] Machine machine_facts(const SystemFiles& files,
                                    const std::vector<std::filesystem::path>& folders);

/// Brings what changes by the minute up to date: memory in use, power, limits, and free space of
/// the disks, by their paths. Takes about a millisecond; starts no other program.
void refresh_facts(Machine& machine, const SystemFiles& files);

/// Whether `facts` were found on the machine that this is now: the same processor, usable cores
/// and size of memory. Empty: they were; else what differs, "the processor is another one".
[[nodiscard]] std::string what_changed(const Machine& facts, const SystemFiles& files);

}  // namespace hearth::machine
