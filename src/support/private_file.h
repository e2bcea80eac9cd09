// Files that only their owner may read, written so that they are either whole or not there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace hearth {

/// Makes `folder` (and what is above it) if needed. Throws Error when it cannot be made, is not a
/// folder, or belongs to somebody else. A new one is readable by its owner only (0700); one that is
/// there stays as it is: what else is in it is not ours to close.
void make_private_folder(const std::filesystem::path& folder);
/// Closes a folder to everybody but its owner (0700). Throws Error.
void close_to_others(const std::filesystem::path& folder);

/// A file being written under a temporary name (".tmp-" and six characters) in the folder it will
/// be in, mode 0600, locked as long as it is open, so that what a killed process left behind can
/// be told from what another one is writing. Removed when destroyed before publish().
class UnpublishedFile {
 public:
  /// Throws Error when it cannot be made.
  explicit UnpublishedFile(const std::filesystem::path& folder);
  UnpublishedFile(const UnpublishedFile&) = delete;
  UnpublishedFile& operator=(const UnpublishedFile&) = delete;
  ~UnpublishedFile();

  /// Appends. Throws Error when the disk refuses (full, limits, broken).
  void write(std::span<const std::byte> bytes);
  /// Writes at a place that was written before.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Makes the bytes durable. Throws Error.
  void sync();
  /// Gives the synced file its name in the folder, over what had it, and makes that durable.
  /// Throws Error.
  void publish(const std::string& name);

  /// Removes what processes that are gone left behind in `folder`.
  static void remove_abandoned(const std::filesystem::path& folder) noexcept;

 private:
  std::filesystem::path folder_;
  std::string temporary_;
  int descriptor_ = -1;
};

/// A file open for reading at any place; it stays readable when its name is gone. Move-only.
class ReadFile {
 public:
  /// Throws Error when it cannot be opened or is not a regular file.
  explicit ReadFile(const std::filesystem::path& path);
  ReadFile(ReadFile&& other) noexcept;
  ReadFile& operator=(ReadFile&&) = delete;
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;
  ~ReadFile();

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Fills `bytes` from `offset` on. Throws Error when the file ends early or the disk fails.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;
  /// Throws Error unless it is the user's own and nobody else may read or write it.
  void require_secret() const;
  /// Says that [offset, offset + size) will be read soon.
  void will_read(std::uint64_t offset, std::uint64_t size) const noexcept;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
};

/// A small file that holds a secret. Throws Error when it cannot be read, has more than `most`
/// bytes, belongs to another user, or when anyone but its owner may read or write it.
[[nodiscard]] std::vector<std::byte> read_secret_file(const std::filesystem::path& path,
                                                      std::size_t most);
/// Writes one (0600); it and its name are durable. Throws Error when there is a file of that name
/// already.
void write_secret_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Overwrites a few bytes in place, without changing the file's size; only if `known` (up to 64
/// bytes) is what is at `known_at`. False when it cannot or is not.
bool overwrite(const std::filesystem::path& path, std::uint64_t offset,
               std::span<const std::byte> bytes, std::uint64_t known_at = 0,
               std::span<const std::byte> known = {}) noexcept;

/// Makes the names in a folder durable. Throws Error.
void sync_folder(const std::filesystem::path& folder);

/// Bytes that an ordinary user can still write there; nothing when the system does not say.
[[nodiscard]] std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) noexcept;

/// Changes whenever a name in the folder does: what stat(2) says of it. 0 when it cannot be asked.
[[nodiscard]] std::uint64_t folder_stamp(const std::filesystem::path& folder) noexcept;

/// Seconds and nanoseconds of the last change as one number, and the size, of a file.
struct FileStamp {
  std::int64_t modified = 0;
  std::uint64_t size = 0;
};
[[nodiscard]] FileStamp file_stamp(const std::filesystem::path& path);

}  // namespace hearth
