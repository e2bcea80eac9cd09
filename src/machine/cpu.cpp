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
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "machine/cgroup.h"

namespace hearth::machine {
namespace {

std::string topology_file(int processor, const char* name) {
  return "/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/" + name;
}

// "32K", "1M" or plain bytes.
std::size_t parse_size(const std::string& text) {
  char* end = nullptr;
  const std::size_t value = std::strtoull(text.c_str(), &end, 10);
  if (*end == 'K') return value << 10;
  if (*end == 'M') return value << 20;
  return value;
}

// The cgroup's CPU quota in processors, or 0 when there is none.
double cpu_quota() {
  double quota = 0;
  const auto lower = [&quota](double cores) {
    if (cores > 0 && (quota == 0 || cores < quota)) quota = cores;
  };
  for (const std::string& line : cgroup_lines("cpu.max", "cpu", "cpu.cfs_quota_us")) {
    // Version 2: "QUOTA PERIOD" or "max PERIOD"; version 1: "QUOTA" or "-1", the period (almost
    // always 100 ms) elsewhere.
    char* end = nullptr;
    const double microseconds = std::strtod(line.c_str(), &end);
    if (end == line.c_str() || microseconds <= 0) continue;
    const double period = std::strtod(end, nullptr);
    lower(microseconds / (period > 0 ? period : 100000));
  }
  return quota;
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

std::string cpu_name() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);) {
    if (line.compare(0, 10, "model name") != 0) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

int usable_processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int usable_cores() {
  int cores = usable_processors();
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::set<std::pair<std::string, std::string>> distinct;
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (!CPU_ISSET(processor, &set)) continue;
      // Without topology information every processor counts as a core of its own.
      distinct.emplace(system_line(topology_file(processor, "physical_package_id")).value_or("0"),
                       system_line(topology_file(processor, "core_id"))
                           .value_or("p" + std::to_string(processor)));
    }
    if (!distinct.empty()) cores = static_cast<int>(distinct.size());
  }
  const double quota = cpu_quota();
  if (quota > 0) cores = std::min(cores, std::max(1, static_cast<int>(std::ceil(quota))));
  return cores;
}

CacheSizes cache_sizes() {
  CacheSizes sizes;
  for (int index = 0; index < 8; ++index) {
    const std::string folder =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    const auto level = system_line(folder + "level");
    if (!level) break;
    if (system_line(folder + "type").value_or("") == "Instruction") continue;
    const std::size_t bytes = parse_size(system_line(folder + "size").value_or("0"));
    if (*level == "1") sizes.l1 = bytes;
    if (*level == "2") sizes.l2 = bytes;
    if (*level == "3") sizes.l3 = bytes;
  }
  return sizes;
}

}  // namespace hearth::machine
