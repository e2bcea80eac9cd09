#include "machine/processors.h"

#include <algorithm>
#include <map>
#include <set>

#include "machine/cgroup.h"
#include "machine/cpu.h"

namespace hearth::machine {
namespace {

std::string processor_folder(int number) {
  return "/sys/devices/system/cpu/cpu" + std::to_string(number) + "/";
}

double max_ghz(const SystemFiles& files, int processor) {
  const auto kilohertz = files.number(processor_folder(processor) + "cpufreq/cpuinfo_max_freq");
  return static_cast<double>(kilohertz.value_or(0)) / 1e6;
}

std::vector<CoreKind> kinds_of(const SystemFiles& files, const Topology& topology) {
  std::map<int, CoreKind, std::greater<>> kinds;  // by efficiency
  std::map<int, std::set<int>> cores;
  for (const Processor& processor : topology.processors) {
    CoreKind& kind = kinds[processor.efficiency];
    kind.efficiency = processor.efficiency;
    kind.threads += 1;
    kind.max_ghz = std::max(kind.max_ghz, max_ghz(files, processor.number));
    cores[processor.efficiency].insert(processor.core);
    kind.cores = static_cast<int>(cores[processor.efficiency].size());
  }
  std::vector<CoreKind> result;
  for (const auto& [efficiency, kind] : kinds) result.push_back(kind);
  return result;
}

/// Throttle events are counted per core and package since the start, on Intel.
bool slowed_by_heat(const SystemFiles& files) {
  for (const std::string& name : files.list("/sys/devices/system/cpu")) {
    if (!name.starts_with("cpu") || !leading_number(std::string_view(name).substr(3))) continue;
    const std::string folder = "/sys/devices/system/cpu/" + name + "/thermal_throttle/";
    if (files.number(folder + "core_throttle_count").value_or(0) > 0) return true;
    if (files.number(folder + "package_throttle_count").value_or(0) > 0) return true;
  }
  // Raspberry Pi: bits 1 to 3 are now, 17 to 19 since the start (frequency capped, throttled, soft
  // temperature limit); 0 and 16 are low voltage.
  const std::string bits =
      files.line("/sys/devices/platform/soc/soc:firmware/get_throttled").value_or("");
  const std::string_view digits = std::string_view(bits).substr(bits.starts_with("0x") ? 2 : 0);
  return (leading_number(digits, 16).value_or(0) & 0xE000E) != 0;
}

bool mentions(const SystemFiles& files, const std::string& path, std::string_view word) {
  const auto text = files.text(path, std::size_t{1} << 16);
  return text && text->find(word) != std::string::npos;
}

std::string container_name(const SystemFiles& files) {
  if (files.exists("/run/.containerenv")) return "podman";
  // systemd's convention (systemd.io/CONTAINER_INTERFACE): "lxc", "systemd-nspawn", "docker" …
  if (const auto name = files.line("/run/systemd/container"); name && !name->empty()) return *name;
  if (const auto environment = files.text("/proc/1/environ", std::size_t{1} << 16)) {
    const std::string all = std::string(1, '\0') + *environment;
    const std::string mark = std::string(1, '\0') + "container=";
    if (const std::size_t at = all.find(mark); at != std::string::npos) {
      const std::string name = all.c_str() + at + mark.size();
      if (!name.empty()) return name.substr(0, 40);
    }
  }
  if (files.exists("/var/run/secrets/kubernetes.io") ||
      mentions(files, "/proc/self/cgroup", "kubepods")) {
    return "kubernetes";
  }
  if (files.exists("/.dockerenv") || mentions(files, "/proc/self/cgroup", "/docker")) {
    return "docker";
  }
  if (mentions(files, "/proc/self/cgroup", "/lxc")) return "lxc";
  if (mentions(files, "/proc/sys/kernel/osrelease", "icrosoft")) return "wsl";
  return {};
}

}  // namespace

Processors processors(const SystemFiles& files, const Topology& topology, int usable_cores,
                      int usable_processors) {
  Processors result;
  result.name = cpu_name(files);
  result.usable_cores = usable_cores;
  result.kinds = kinds_of(files, topology);
  if (result.kinds.empty()) {
    result.kinds.push_back({usable_cores, usable_processors, max_ghz(files, 0), 0});
  }
  std::set<int> nodes;
  for (const Processor& processor : topology.processors) nodes.insert(processor.node);
  result.nodes = std::max(1, static_cast<int>(nodes.size()));
  const CacheSizes caches = cache_sizes(files);
  result.l1_bytes = caches.l1;
  result.l2_bytes = caches.l2;
  result.l3_bytes = caches.l3;
  return result;
}

Power power(const SystemFiles& files) {
  Power result;
  bool mains = false, plugged = false, discharging = false;
  for (const std::string& name : files.list("/sys/class/power_supply")) {
    const std::string folder = "/sys/class/power_supply/" + name + "/";
    const std::string type = files.line(folder + "type").value_or("");
    // Mice and headsets have batteries of their own.
    if (files.line(folder + "scope") == "Device") continue;
    if (type == "Battery") {
      if (const auto percent = files.number(folder + "capacity"); percent && *percent <= 100) {
        result.battery_percent = static_cast<int>(*percent);
      }
      if (files.line(folder + "status") == "Discharging") discharging = true;
    } else if (const auto online = files.number(folder + "online")) {
      mains = true;
      plugged = plugged || *online > 0;
    }
  }
  if (discharging || (mains && !plugged)) {
    result.source = "battery";
  } else if (plugged || result.battery_percent >= 0) {
    result.source = "mains";
  }
  result.governor = files.line(processor_folder(0) + "cpufreq/scaling_governor").value_or("");
  result.throttled = slowed_by_heat(files);
  return result;
}

Limits limits(const SystemFiles& files) {
  Limits result;
  result.container = container_name(files);
  if (const auto memory = group_memory(files)) result.memory_bytes = memory->limit;
  result.processors = processor_quota(files);
  if (result.container.empty() && (result.memory_bytes > 0 || result.processors > 0)) {
    result.container = "cgroup";
  }
  return result;
}

}  // namespace hearth::machine
