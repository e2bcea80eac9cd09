// File systems that models lie on, and reading a disk without the page cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "machine/system_files.h"

namespace hearth::machine {

/// What a block device is, found by its numbers: partitions, encryption and volume groups are
/// followed to the disk below. "unknown" when the system does not say.
struct DeviceFacts {
  std::string name;  // "nvme0n1"
  std::string kind;  // as Disk::kind
};
[[nodiscard]] DeviceFacts device_facts(const SystemFiles& files, unsigned major, unsigned minor);

/// The disk that a file system of kind `magic` (statfs(2)) on device `major`:`minor` is on.
[[nodiscard]] DeviceFacts file_system_facts(const SystemFiles& files, std::uint64_t magic,
                                            unsigned major, unsigned minor);

/// The file systems that `folders` are on, each once, with the first folder's path; of a folder
/// that does not exist yet, its nearest parent that does. Nothing is measured. Asks the real file
/// systems; `files` only tells about devices.
[[nodiscard]] std::vector<Disk> disks_of(const SystemFiles& files,
                                         const std::vector<std::filesystem::path>& folders);

/// Bytes that this process may still write on the file system of `folder`, or 0.
[[nodiscard]] std::uint64_t free_bytes(const std::filesystem::path& folder);

/// A file without a name, on the file system of a folder: it is gone when the process ends,
/// however it ends. Reads and writes pass by the page cache: offsets, sizes and addresses must be
/// multiples of kAlignment.
class DirectFile {
 public:
  static constexpr std::size_t kAlignment = 4096;

  /// Nothing where the file system takes no such file or no direct access, or may not be written.
  [[nodiscard]] static std::optional<DirectFile> make(const std::filesystem::path& folder);
  DirectFile(DirectFile&& other) noexcept;
  DirectFile& operator=(DirectFile&&) = delete;
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;
  ~DirectFile();

  /// Whether all of it was done. Safe to call from several threads.
  [[nodiscard]] bool write(std::span<const std::byte> bytes, std::uint64_t offset) const noexcept;
  [[nodiscard]] bool read(std::span<std::byte> bytes, std::uint64_t offset) const noexcept;
  /// Waits until what was written is on the disk.
  [[nodiscard]] bool sync() const noexcept;

 private:
  explicit DirectFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace hearth::machine
