// Keeping a broken file of ours for people to look at, out of the way of the next one.
#pragma once

#include <filesystem>

namespace hearth {

/// Renames `path` to "NAME.bad-YYYYMMDD-HHMMSS" (of UTC; with "-2", … when that exists) in the same
/// folder and returns the new path. Throws Error when it cannot be renamed.
std::filesystem::path set_aside(const std::filesystem::path& path);

}  // namespace hearth
