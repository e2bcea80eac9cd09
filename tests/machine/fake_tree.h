// A tree of system files made for a test.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "machine/system_files.h"
#include "temporary_folder.h"

namespace hearth::machine {

class FakeTree {
 public:
  FakeTree& file(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root() + path).substr(0, (root() + path).rfind('/')));
    std::ofstream(root() + path, std::ios::binary) << text;
    return *this;
  }
  /// `target` is below the root, too.
  FakeTree& link(const std::string& path, const std::string& target) {
    std::filesystem::create_directories((root() + path).substr(0, (root() + path).rfind('/')));
    std::filesystem::create_directories(root() + target);
    std::filesystem::create_symlink(root() + target, root() + path);
    return *this;
  }
  FakeTree& folder(const std::string& path) {
    std::filesystem::create_directories(root() + path);
    return *this;
  }
  [[nodiscard]] std::string root() const { return folder_->path().string(); }
  [[nodiscard]] SystemFiles files() const { return SystemFiles(root()); }

 private:
  std::shared_ptr<testing::TemporaryFolder> folder_ = std::make_shared<testing::TemporaryFolder>();
};

}  // namespace hearth::machine
