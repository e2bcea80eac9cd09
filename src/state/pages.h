// Sums of pages and bytes that several files of this folder need.
#pragma once

#include <cstddef>
#include <cstdint>

#include "state/page_disk.h"
#include "tensor/tensor.h"

namespace hearth::state {

/// Pages that hold so many cells.
[[nodiscard]] inline std::int64_t pages_for(std::int64_t cells) noexcept {
  return (cells + kPageCells - 1) / kPageCells;
}

/// Of all elements of a tensor.
[[nodiscard]] inline std::size_t bytes_of(const tensor::Tensor& t) noexcept {
  return tensor::row_bytes(t.dtype, static_cast<std::size_t>(t.elements()));
}

}  // namespace hearth::state
