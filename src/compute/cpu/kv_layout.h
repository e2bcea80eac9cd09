// How the CPU backend keeps keys and values inside a page of a pool. A page of one KV head holds
// P cells of `size` values; nobody but this backend looks into it, so they are stored as the panels
// that the dot kernels read, and attention neither transposes nor converts them again:
//   keys    [P / 16][size][16 cells]        when P is a multiple of 16
//   values  [size / 16][P cells][16 values] when P is a multiple of 64 and size of 16
// and otherwise as rows [P][size], which attention gathers into panels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "compute/backend.h"
#include "compute/cpu/access.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

[[nodiscard]] inline bool keys_in_panels(const Tensor& pool) noexcept {
  return pool.shape[2] % kPanelRows == 0;
}
[[nodiscard]] inline bool values_in_panels(const Tensor& pool) noexcept {
  return pool.shape[2] % 64 == 0 && pool.shape[3] % kPanelRows == 0;
}

/// Writes one cell's `size` values (as `Element`s, already of the pool's type) into a page of a
/// head.
template <class Element>
void store_cell(const Element* from, std::int64_t size, KvPart part, const Tensor& pool,
                std::int64_t slot, Element* page) noexcept {
  if (part == KvPart::kKeys && keys_in_panels(pool)) {
    Element* to = page + slot / kPanelRows * size * kPanelRows + slot % kPanelRows;
    for (std::int64_t i = 0; i < size; ++i, to += kPanelRows) *to = from[i];
  } else if (part == KvPart::kValues && values_in_panels(pool)) {
    Element* to = page + slot * kPanelRows;
    for (std::int64_t i = 0; i < size; i += kPanelRows, to += pool.shape[2] * kPanelRows) {
      std::copy_n(from + i, kPanelRows, to);
    }
  } else {
    std::copy_n(from, size, page + slot * size);
  }
}

}  // namespace hearth::compute::cpu
