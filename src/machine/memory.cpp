#include "machine/memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include "machine/cgroup.h"

namespace hearth::machine {
namespace {

std::optional<std::size_t> smallest_limit(const std::string& file_v2, const std::string& file_v1) {
  std::optional<std::size_t> smallest;
  for (const std::string& line : cgroup_lines(file_v2, "memory", file_v1)) {
    char* end = nullptr;
    const unsigned long long value = std::strtoull(line.c_str(), &end, 10);
    // "max" (version 2) and values near 2^63 (version 1) mean no limit.
    if (end == line.c_str() || value >= (1ULL << 60)) continue;
    smallest = std::min<std::size_t>(smallest.value_or(value), value);
  }
  return smallest;
}

}  // namespace

MemoryFacts memory_facts() {
  MemoryFacts facts;
  std::ifstream stream("/proc/meminfo");
  for (std::string line; std::getline(stream, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t bytes = std::strtoull(line.c_str() + colon + 1, nullptr, 10) * 1024;
    if (line.compare(0, colon, "MemTotal") == 0) facts.total = bytes;
    if (line.compare(0, colon, "MemAvailable") == 0) facts.available = bytes;
  }
  if (const auto limit = smallest_limit("memory.max", "memory.limit_in_bytes");
      limit && *limit < facts.total) {
    facts.total = *limit;
    // The group's use includes page cache, which can be dropped, so this is a lower bound on what
    // is left.
    const std::size_t used = smallest_limit("memory.current", "memory.usage_in_bytes").value_or(0);
    facts.available = std::min(facts.available, *limit - std::min(*limit, used));
  }
  return facts;
}

ProcessMemory process_memory() {
  ProcessMemory memory;
  std::ifstream stream("/proc/self/status");
  for (std::string line; std::getline(stream, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t bytes = std::strtoull(line.c_str() + colon + 1, nullptr, 10) * 1024;
    if (line.compare(0, colon, "VmRSS") == 0) memory.resident = bytes;
    if (line.compare(0, colon, "RssAnon") == 0) memory.anonymous = bytes;
  }
  return memory;
}

}  // namespace hearth::machine
