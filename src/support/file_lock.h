// A lock across processes: flock(2) on a file of its own, which only its owner may read. It goes
// away with the process that holds it, however that ends.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>

namespace hearth {

/// Held while it exists. Move-only.
class FileLock {
 public:
  /// Takes the lock, making its file if needed. While another process has it, waits; `on_wait` is
  /// called once before. Throws Error when the file cannot be made or locked, and with
  /// ExitCode::kInterrupted when a signal arrives while `cancel` is set.
  [[nodiscard]] static FileLock take(const std::filesystem::path& path,
                                     const std::function<void()>& on_wait = {},
                                     const std::atomic<bool>* cancel = nullptr);
  /// The lock, or nothing when another process (or another FileLock of this one) has it.
  [[nodiscard]] static std::optional<FileLock> try_take(const std::filesystem::path& path);

  /// The lock, or Error when another process does not free it within `patience`.
  [[nodiscard]] static FileLock take_within(const std::filesystem::path& path,
                                            std::chrono::milliseconds patience);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

  /// Removes the lock's file; who waits for it makes it anew. Only while the lock is held.
  void remove_file() const noexcept;

 private:
  FileLock(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace hearth
