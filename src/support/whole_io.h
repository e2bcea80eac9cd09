// Reading and writing all of some bytes through a file descriptor: calls that were interrupted or
// did only a part are gone on with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace hearth {

/// write(2): at the file's own place. False, with errno, when the system refuses.
[[nodiscard]] bool write_whole(int descriptor, std::span<const std::byte> bytes) noexcept;
/// pwrite(2) at `offset`. False, with errno, when the system refuses.
[[nodiscard]] bool write_whole_at(int descriptor, std::uint64_t offset,
                                  std::span<const std::byte> bytes) noexcept;
/// pread(2) from `offset` on: how many bytes there were, fewer than asked for only where the file
/// ends. Nothing, with errno, when the system refuses.
[[nodiscard]] std::optional<std::size_t> read_whole_at(int descriptor, std::uint64_t offset,
                                                       std::span<std::byte> bytes) noexcept;

}  // namespace hearth
