// Writing tar archives (POSIX ustar), for files that only their owner may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "support/private_file.h"

namespace hearth::cli {

/// An archive that appears under its name only when complete, mode 0600. All throw Error.
class TarFile {
 public:
  explicit TarFile(const std::filesystem::path& path);
  /// Adds a whole file under a name of at most 99 bytes.
  void add(const std::string& name, const std::filesystem::path& file);
  void finish();

 private:
  TarFile(const std::filesystem::path& path, const std::filesystem::path& target);

  std::string name_;
  UnpublishedFile file_;
};

}  // namespace hearth::cli
