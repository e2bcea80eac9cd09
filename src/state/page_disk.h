// Pages of keys and values on disk, where only some of them have room in memory. A page of a memory
// is one piece of the file, its keys and then its values, as it is in a frame; the pages of one
// memory follow each other, so that what a layer needs is read in long runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "support/spill_file.h"
#include "tensor/tensor.h"

namespace hearth::state {

inline constexpr std::int64_t kPageCells = 64;

/// The frames of one memory: page tensors of keys and values whose pages are `stripe` bytes apart.
struct FramedMemory {
  std::size_t group = 0;
  tensor::Tensor keys, values;  // [frames, kv_heads, cells, size] or I8 [frames, kv_heads, bytes]
  std::size_t stripe = 0;       // a multiple of SpillFile::kAlignment
  std::size_t frames_at = 0;    // of the buffer
  std::int64_t pages = 0;

  /// Where frames are; null where the host cannot look, and nothing is to be moved.
  [[nodiscard]] std::byte* frame(std::int64_t index) const noexcept {
    std::byte* const host = keys.buffer->host();
    return host == nullptr ? nullptr : host + frames_at + static_cast<std::size_t>(index) * stripe;
  }
};

class PageDisk {
 public:
  /// Takes the space. Throws Error when the disk has it not. `memories` must outlive the disk.
  PageDisk(const std::filesystem::path& folder, std::span<const FramedMemory> memories);
  /// What the file takes.
  [[nodiscard]] static std::uint64_t file_bytes(std::span<const FramedMemory> memories) noexcept;

  /// Writes or reads a page of all memories of a group. Throw Error when the disk fails.
  void store(std::size_t group, std::int32_t page, std::int32_t frame) const;
  void load(std::size_t group, std::int32_t page, std::int32_t frame) const;
  /// Reads pages of memory `index` that follow each other. Throws Error.
  void read(std::size_t index, std::int32_t first, std::span<std::byte> bytes) const;

 private:
  [[nodiscard]] std::uint64_t place(std::size_t index, std::int32_t page) const noexcept {
    return offsets_[index] + static_cast<std::uint64_t>(page) * memories_[index].stripe;
  }
  std::span<const FramedMemory> memories_;
  std::vector<std::uint64_t> offsets_;
  SpillFile file_;
};

}  // namespace hearth::state
