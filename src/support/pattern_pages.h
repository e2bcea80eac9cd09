// Memory that reads like a large file in the page cache and takes little: random weights of a model
// that nobody has.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace hearth {

/// Pages without a name in the file system, to be filled once and mapped many times. Move-only.
class PatternPages {
 public:
  /// `bytes` must be a multiple of the page size. Throws Error (ExitCode::kDoesNotFit) when the
  /// system refuses.
  explicit PatternPages(std::size_t bytes);
  PatternPages(PatternPages&& other) noexcept;
  PatternPages& operator=(PatternPages&&) = delete;
  PatternPages(const PatternPages&) = delete;
  PatternPages& operator=(const PatternPages&) = delete;
  ~PatternPages();

  /// Where to write; gone after seal().
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }
  /// Ends writing: the pages then take no addresses of their own.
  void seal() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  friend class PatternMemory;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int descriptor_ = -1;
};

/// A range of addresses of zeros, parts of which repeat patterns. Pages are shared and read-only
/// where a pattern is, as those of a file mapping are, and cost the same to touch first. Move-only.
class PatternMemory {
 public:
  static constexpr std::size_t kPage = 4096;

  /// Throws Error (ExitCode::kDoesNotFit) when the system refuses the addresses.
  explicit PatternMemory(std::size_t bytes);
  PatternMemory(PatternMemory&& other) noexcept;
  PatternMemory& operator=(PatternMemory&&) = delete;
  PatternMemory(const PatternMemory&) = delete;
  PatternMemory& operator=(const PatternMemory&) = delete;
  ~PatternMemory();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }
  /// Lets [offset, offset + size) repeat `pattern`, beginning at its byte `phase`. Offset and phase
  /// are multiples of kPage; the rest of the last page gets the pattern, too. Throws Error.
  void repeat(const PatternPages& pattern, std::size_t offset, std::size_t size, std::size_t phase);
  /// Gives back the page tables of all patterns, as a file that is not used any more would be: the
  /// pages no longer count as this process's. They can still be read.
  void forget() const noexcept;

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::vector<std::span<std::byte>> repeated_;
};

}  // namespace hearth
