#include "machine/cgroup.h"

#include <algorithm>
#include <cstdlib>

namespace hearth::machine {
namespace {

/// A folder of the hierarchy.
struct Group {
  std::string folder;    // ends with a slash
  bool unified = false;  // version 2
};

void add_with_parents(const std::string& mount, std::string path, bool unified,
                      std::vector<Group>& groups) {
  for (;;) {
    groups.push_back({mount + path + "/", unified});
    const std::size_t slash = path.find_last_of('/');
    if (path.empty() || slash == std::string::npos) return;
    path.erase(slash);
  }
}

/// The group of this process and all its parents that can be seen. Inside a container the group's
/// own path is often not visible; its root then is.
std::vector<Group> groups_of(const SystemFiles& files, const std::string& controller) {
  std::vector<Group> groups;
  // Lines are "number:controllers:path"; the version 2 hierarchy has number 0 and no controllers.
  for (const std::string& line : files.lines("/proc/self/cgroup")) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1) == "/" ? "" : line.substr(second + 1);
    if (controllers == ",,") {
      add_with_parents("/sys/fs/cgroup", path, true, groups);
      add_with_parents("/sys/fs/cgroup/unified", path, true, groups);  // beside version 1
    } else if (controllers.find("," + controller + ",") != std::string::npos) {
      add_with_parents("/sys/fs/cgroup/" + controller, path, false, groups);
    }
  }
  return groups;
}

/// Page cache that is the first to go when the group needs memory.
std::uint64_t droppable(const SystemFiles& files, const Group& group) {
  const std::string name = group.unified ? "inactive_file " : "total_inactive_file ";
  for (const std::string& line : files.lines(group.folder + "memory.stat")) {
    if (line.starts_with(name)) {
      return leading_number(std::string_view(line).substr(name.size())).value_or(0);
    }
  }
  return 0;
}

/// Processors that one group's files grant, or 0.
double quota_of(const SystemFiles& files, const Group& group) {
  if (group.unified) {  // "QUOTA PERIOD" or "max PERIOD", in microseconds
    const auto line = files.line(group.folder + "cpu.max");
    const std::vector<std::string> words = words_of(line.value_or(""));
    if (words.size() != 2) return 0;
    const auto quota = leading_number(words[0]);
    const auto period = leading_number(words[1]);
    return quota && period && *period > 0
               ? static_cast<double>(*quota) / static_cast<double>(*period)
               : 0;
  }
  const auto quota = files.number(group.folder + "cpu.cfs_quota_us");  // "-1": none
  const auto period = files.number(group.folder + "cpu.cfs_period_us");
  if (!quota || *quota == 0) return 0;
  return static_cast<double>(*quota) /
         static_cast<double>(period && *period > 0 ? *period : 100000);
}

}  // namespace

std::optional<GroupMemory> group_memory(const SystemFiles& files) {
  std::optional<GroupMemory> result;
  for (const Group& group : groups_of(files, "memory")) {
    const auto limit =
        files.number(group.folder + (group.unified ? "memory.max" : "memory.limit_in_bytes"));
    // "max" (version 2) and values near 2^63 (version 1) mean no limit.
    if (!limit || *limit >= (std::uint64_t{1} << 60)) continue;
    const std::uint64_t used =
        files.number(group.folder + (group.unified ? "memory.current" : "memory.usage_in_bytes"))
            .value_or(0);
    const std::uint64_t kept = used - std::min(used, droppable(files, group));
    const std::uint64_t left = *limit - std::min(*limit, kept);
    if (!result) result = GroupMemory{*limit, left};
    result->limit = std::min(result->limit, *limit);
    result->available = std::min(result->available, left);
  }
  return result;
}

double processor_quota(const SystemFiles& files) {
  double least = 0;
  for (const Group& group : groups_of(files, "cpu")) {
    const double quota = quota_of(files, group);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  return least;
}

}  // namespace hearth::machine
