// How messages name files.
#pragma once

#include <filesystem>
#include <string>

#include "support/error.h"

namespace hearth {

/// `path`, printable and cut when it is very long.
[[nodiscard]] inline std::string shown_path(const std::filesystem::path& path) {
  return printable(path.string(), kPathLimit);
}

}  // namespace hearth
