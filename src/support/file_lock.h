// A lock between processes, held as long as the object lives.
#pragma once

#include <chrono>
#include <filesystem>

namespace hearth {

/// An exclusive advisory lock (flock) on a small file, made if need be and readable by its owner
/// only. It is left there: removing it would let two processes lock two files of one name. The
/// system frees the lock when the process ends, however it does.
class FileLock {
 public:
  /// Waits for whoever holds it. Throws Error when the file cannot be made, or the lock is not free
  /// within `patience`.
  explicit FileLock(const std::filesystem::path& path,
                    std::chrono::milliseconds patience = std::chrono::seconds(5));
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  int descriptor_ = -1;
};

}  // namespace hearth
