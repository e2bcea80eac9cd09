// The other byte order: numbers of the header, and tensor data as the multi-byte fields of its
// blocks.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace hearth::gguf {

/// `value` with its bytes reversed.
template <typename T>
[[nodiscard]] constexpr T byte_swapped(T value) noexcept {
  auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
  std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}

/// Reverses every multi-byte field of the blocks in `data`, in place; `data` holds whole blocks of
/// `dtype`. The fields are those of reference/quant-blocks.md: scales, and the words that carry
/// packed indices, signs and high bits.
void swap_block_fields(tensor::DType dtype, std::span<std::byte> data) noexcept;

}  // namespace hearth::gguf
