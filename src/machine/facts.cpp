#include "machine/facts.h"

#include <algorithm>

#include "machine/cpu.h"
#include "machine/devices.h"
#include "machine/disks.h"
#include "machine/memory.h"
#include "machine/processors.h"
#include "machine/topology.h"

namespace hearth::machine {
namespace {

constexpr double kToolSeconds = 3;

}  // namespace

Machine machine_facts(const SystemFiles& files, const std::vector<std::filesystem::path>& folders) {
  Machine machine;
  machine.gpus = gpus(files, kToolSeconds);
  machine.npus = npus(files);
  machine.cpu = processors(files, topology(), usable_cores(), usable_processors());
  machine.name = machine.cpu.name;
  machine.memory = main_memory(files);
  machine.memory.unified = std::any_of(machine.gpus.begin(), machine.gpus.end(),
                                       [](const Gpu& gpu) { return gpu.integrated; });
  machine.disks = disks_of(files, folders);
  machine.limits = limits(files);
  machine.power = power(files);
  return machine;
}

void refresh_facts(Machine& machine, const SystemFiles& files) {
  const bool unified = machine.memory.unified;
  machine.memory = main_memory(files);
  machine.memory.unified = unified;
  machine.limits = limits(files);
  machine.power = power(files);
  for (Disk& disk : machine.disks) disk.free_bytes = free_bytes(disk.path);
}

std::string what_changed(const Machine& facts, const SystemFiles& files) {
  if (facts.cpu.name != cpu_name(files)) return "the processor is another one";
  if (facts.cpu.usable_cores != usable_cores()) return "the number of usable cores is another one";
  const double then = static_cast<double>(facts.memory.total_bytes);
  const double now = static_cast<double>(main_memory(files).total_bytes);
  // The kernel's own share differs a little from one start to the next.
  if (std::abs(then - now) > 0.01 * std::max(then, now)) return "the size of memory is another one";
  return {};
}

}  // namespace hearth::machine
