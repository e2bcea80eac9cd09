// What was set aside (support/set_aside.h) in a folder.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace hearth::testing {

/// The files in `folder` that were called `name` (any, when empty) before, oldest first.
inline std::vector<std::filesystem::path> set_aside_files(const std::filesystem::path& folder,
                                                          const std::string& name = {}) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    const std::size_t end = file.find(".bad-");
    if (end != std::string::npos && (name.empty() || file.substr(0, end) == name))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace hearth::testing
