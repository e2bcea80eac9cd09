// Files: whole-file reading and read-only mappings that survive truncation.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace hearth {

/// A read-only mapping of a whole file. Move-only; unmapped on destruction.
///
/// If the file is truncated while mapped, touching the lost pages raises SIGBUS; a process-wide
/// handler (installed by the first mapping) puts zero pages there instead and marks the mapping
/// damaged, so that the reader can throw an Error
/// (`check()`) instead of crashing.
class Mapping {
 public:
  Mapping() = default;
  /// Maps `path`. Throws Error naming the path when it does not exist, is not a regular file, or
  /// cannot be read.
  explicit Mapping(const std::filesystem::path& path);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  /// Gives back the page tables: what was read no longer counts as memory of this process. It can
  /// be read again, from the page cache while it is there.
  void forget_pages() const noexcept;

  /// Throws Error if pages of the mapping were lost since it was made (the file was truncated).
  void check() const;
  /// Says that bytes() [offset, offset + size) are not needed soon: they no longer count as this
  /// process's memory, and are fetched again when they are read.
  void release(std::size_t offset, std::size_t size) const noexcept;
  /// True once a page was lost. Async-signal-safe writer, relaxed reader.
  [[nodiscard]] bool damaged() const noexcept;

 private:
  void release() noexcept;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int slot_ = -1;
};

/// The bytes of a file. Throws Error when it cannot be read or is larger than `limit` bytes.
[[nodiscard]] std::string read_file(const std::filesystem::path& path,
                                    std::size_t limit = std::size_t{1} << 30);

/// A file being written that appears under its name only when complete: the bytes go to a temporary
/// file beside `path`, which `commit` syncs and renames over `path`. Destruction without a commit
/// removes it. Small writes are gathered.
class AtomicFile {
 public:
  /// Throws Error when the temporary file cannot be made.
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Throws Error when the disk refuses.
  void write(std::span<const std::byte> bytes);
  /// Makes what was written durable and closes the temporary file; only `commit` may follow. Throws
  /// Error.
  void sync();
  /// Syncs if that was not done, and renames. Throws Error when the bytes cannot be made durable or
  /// the name cannot be taken; nothing is left behind then.
  void commit();

 private:
  [[noreturn]] void fail() const;
  void flush();
  void write_through(std::span<const std::byte> bytes) const;

  std::filesystem::path path_;
  std::string temporary_;  // empty once committed or moved from
  std::vector<std::byte> pending_;
  int descriptor_ = -1;
};

/// Writes `bytes` to a temporary file beside `path`, syncs it and renames it over `path`: nothing
/// is lost on failure.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, const std::string& text);

}  // namespace hearth
