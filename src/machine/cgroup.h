// Limits that a container (control group) sets on this process. Internal to the machine room.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hearth::machine {

/// The first line of a small system file such as those of /proc and /sys; nothing when it cannot be
/// read.
[[nodiscard]] std::optional<std::string> system_line(const std::string& path);

/// The same file of this process's control group and of all its parents that can be seen (version 2
/// hierarchy, then the version 1 one of `controller`), each one's first line.
[[nodiscard]] std::vector<std::string> cgroup_lines(const std::string& file_v2,
                                                    const std::string& controller,
                                                    const std::string& file_v1);

}  // namespace hearth::machine
