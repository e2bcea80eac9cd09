#include "machine/cgroup.h"

#include <fstream>

namespace hearth::machine {
namespace {

// Reads `file` in `root` + `group` and in every parent of the group up to the root.
void collect(const std::string& root, std::string group, const std::string& file,
             std::vector<std::string>& lines) {
  for (;;) {
    std::string path = root;
    path += group;
    path += '/';
    path += file;
    if (auto line = system_line(path)) lines.push_back(std::move(*line));
    const std::size_t slash = group.find_last_of('/');
    if (group.empty() || slash == std::string::npos) return;
    group.erase(slash);
  }
}

}  // namespace

std::optional<std::string> system_line(const std::string& path) {
  std::ifstream stream(path);
  std::string line;
  if (!stream || !std::getline(stream, line)) return std::nullopt;
  return line;
}

std::vector<std::string> cgroup_lines(const std::string& file_v2, const std::string& controller,
                                      const std::string& file_v1) {
  std::vector<std::string> lines;
  std::ifstream groups("/proc/self/cgroup");
  // Lines are "number:controllers:path"; the version 2 hierarchy has number 0 and no controllers.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1) == "/" ? "" : line.substr(second + 1);
    if (controllers == ",,") {
      collect("/sys/fs/cgroup", group, file_v2, lines);
    } else if (controllers.find("," + controller + ",") != std::string::npos) {
      // Inside a container the group's own path is often not visible; its root then is.
      collect("/sys/fs/cgroup/" + controller, group, file_v1, lines);
    }
  }
  return lines;
}

}  // namespace hearth::machine
