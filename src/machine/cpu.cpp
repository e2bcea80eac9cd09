#include "machine/cpu.h"

#include <sched.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <thread>

#include "machine/cgroup.h"

namespace hearth::machine {
namespace {

std::optional<std::string> topology_line(const SystemFiles& files, int processor,
                                         const char* name) {
  return files.line("/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/" +
                    name);
}

#if defined(__x86_64__)
/// Half-precision conversion instructions, asked of the processor itself because clang 16 does not
/// know their name in __builtin_cpu_supports.
bool has_f16c() noexcept {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/// The VEX encoding of the byte products, which clang 16 has no name for either.
bool has_avx_vnni() noexcept {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & bit_AVXVNNI) != 0;
}

bool has_amx_int8() noexcept {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kTileAndInt8 = 1U << 24 | 1U << 25;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
         (edx & kTileAndInt8) == kTileAndInt8;
}
#endif

}  // namespace

CpuFeatures cpu_features() noexcept {
  CpuFeatures features;
#if defined(__x86_64__)
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
                  __builtin_cpu_supports("bmi2");
  features.avx_vnni = features.avx2 && has_avx_vnni();
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  features.avx512_vbmi = features.avx512 && __builtin_cpu_supports("avx512vbmi");
  features.avx512_bf16 = features.avx512 && __builtin_cpu_supports("avx512bf16");
  features.amx_int8 = has_amx_int8();
#elif defined(__aarch64__)
  features.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return features;
}

bool may_use_tiles() noexcept {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM (Linux 5.16, x86/xstate.rst)
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

std::string cpu_name() { return cpu_name(SystemFiles()); }

std::string cpu_name(const SystemFiles& files) {
  const auto value = [](const std::string& line) -> std::string {
    const std::size_t colon = line.find(':');
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return colon == std::string::npos || begin == std::string::npos ? "" : line.substr(begin);
  };
  for (const std::string& line : files.lines("/proc/cpuinfo")) {
    // Arm says the board's name at "Model" or "Hardware", and often nothing about the processor.
    if (!line.starts_with("model name") && !line.starts_with("Model\t")) continue;
    if (std::string name = value(line); !name.empty()) return name;
  }
  // The device tree: "Raspberry Pi 5 Model B".
  const std::string board = files.line("/proc/device-tree/model").value_or("");
  return board.empty() ? "unknown processor" : board;
}

int usable_processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int usable_cores() {
  const SystemFiles files;
  int cores = usable_processors();
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::set<std::pair<std::string, std::string>> distinct;
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (!CPU_ISSET(processor, &set)) continue;
      // Without topology information every processor counts as a core of its own.
      distinct.emplace(
          topology_line(files, processor, "physical_package_id").value_or("0"),
          topology_line(files, processor, "core_id").value_or("p" + std::to_string(processor)));
    }
    if (!distinct.empty()) cores = static_cast<int>(distinct.size());
  }
  const double quota = processor_quota(files);
  if (quota > 0) cores = std::min(cores, std::max(1, static_cast<int>(std::ceil(quota))));
  return cores;
}

CacheSizes cache_sizes() { return cache_sizes(SystemFiles()); }

CacheSizes cache_sizes(const SystemFiles& files) {
  CacheSizes sizes;
  for (int index = 0; index < 8; ++index) {
    const std::string folder =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    const auto level = files.line(folder + "level");
    if (!level) break;
    if (files.line(folder + "type") == "Instruction") continue;
    const std::string text = files.line(folder + "size").value_or("0");  // "32K", "1M" or bytes
    std::size_t bytes = leading_number(text).value_or(0);
    if (text.ends_with('K')) bytes <<= 10;
    if (text.ends_with('M')) bytes <<= 20;
    if (*level == "1") sizes.l1 = bytes;
    if (*level == "2") sizes.l2 = bytes;
    if (*level == "3") sizes.l3 = bytes;
  }
  return sizes;
}

}  // namespace hearth::machine
