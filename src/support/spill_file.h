// A file for what has no room in memory: private, without a name, and gone with the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace hearth {

/// `size` bytes of disk, taken when it is made, so that writing does not run out of it later. Mode
/// 0600 and unlinked at once: nobody can open it, and nothing is left behind however the process
/// ends. Where the file system can, reads and writes pass by the page cache, which would otherwise
/// take the very memory that was to be saved. Different places may be read and written by
/// different threads at once.
class SpillFile {
 public:
  /// What offsets, sizes and addresses must be multiples of.
  static constexpr std::size_t kAlignment = 512;

  /// Makes the folder if needed; one that is there keeps its permissions, as the file needs none of
  /// them. Throws Error when the folder cannot be used or the disk has not `size` bytes left.
  SpillFile(const std::filesystem::path& folder, std::uint64_t size);
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;
  ~SpillFile();

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Whether reads and writes pass by the page cache.
  [[nodiscard]] bool direct() const noexcept { return direct_; }
  /// Throw Error when the disk fails.
  void write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  void reserve();
  [[nodiscard]] bool works_directly() const noexcept;

  std::filesystem::path folder_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
  bool direct_ = false;
};

}  // namespace hearth
