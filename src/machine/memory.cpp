#include "machine/memory.h"

#include <algorithm>
#include <string>

#include "machine/cgroup.h"

namespace hearth::machine {
namespace {

/// The value of "NAME:   123 kB", in bytes.
std::uint64_t kilobytes_at(const std::string& line, std::size_t colon) {
  const std::size_t digit = line.find_first_of("0123456789", colon);
  if (digit == std::string::npos) return 0;
  return leading_number(std::string_view(line).substr(digit)).value_or(0) * 1024;
}

/// The word in brackets of "always [madvise] never".
std::string chosen_word(const std::string& line) {
  const std::size_t begin = line.find('[');
  const std::size_t end = line.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  return line.substr(begin + 1, end - begin - 1);
}

}  // namespace

MainMemory main_memory(const SystemFiles& files) {
  MainMemory memory;
  std::uint64_t swap_free = 0;
  for (const std::string& line : files.lines("/proc/meminfo")) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::uint64_t bytes = kilobytes_at(line, colon);
    const std::string_view name = std::string_view(line).substr(0, colon);
    if (name == "MemTotal") memory.total_bytes = bytes;
    if (name == "MemAvailable") memory.available_bytes = bytes;
    if (name == "SwapTotal") memory.swap_total_bytes = bytes;
    if (name == "SwapFree") swap_free = bytes;
  }
  memory.swap_used_bytes = memory.swap_total_bytes - std::min(memory.swap_total_bytes, swap_free);
  if (const auto group = group_memory(files); group && group->limit < memory.total_bytes) {
    memory.total_bytes = group->limit;
    memory.available_bytes = std::min(memory.available_bytes, group->available);
  }
  memory.huge_pages =
      chosen_word(files.line("/sys/kernel/mm/transparent_hugepage/enabled").value_or(""));
  return memory;
}

MemoryFacts memory_facts() {
  const MainMemory memory = main_memory(SystemFiles());
  return {memory.total_bytes, memory.available_bytes};
}

ProcessMemory process_memory() {
  ProcessMemory memory;
  for (const std::string& line : SystemFiles().lines("/proc/self/status")) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t bytes = kilobytes_at(line, colon);
    if (line.compare(0, colon, "VmRSS") == 0) memory.resident = bytes;
    if (line.compare(0, colon, "RssAnon") == 0) memory.anonymous = bytes;
  }
  return memory;
}

}  // namespace hearth::machine
