// How the CPU backend keeps keys and values inside a page of a pool. A page of one KV head holds
// P cells of `size` values; nobody but this backend looks into it, so they are stored as the panels
// that the kernels read, and attention neither transposes nor converts them again.
//
//   panels  keys    [P / 16][size][16 cells]          when P is a multiple of 16
//           values  [size / 16][P cells][16 values]   when P is a multiple of 64 and size of 16
//   pairs   keys    [P / 64][size / 2][64 cells][2 values]
//           values  [P / 64][size / 64][32 cell pairs][64 values][2 cells]
//           16-bit numbers for kernels with dot products of bfloat16, when P is a multiple of 64
//           and size of 2 or 16; the last values of a size that is no multiple of 64 are a narrower
//           block. A tile of 64 cells is read from front to back, as the hardware expects it.
//           Blocks (Q8_0): first the tile's scales [size / 32][64 cells], then its bytes like so.
//   rows    [P][size] otherwise, and blocks; attention gathers them into panels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "compute/backend.h"
#include "compute/cpu/access.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

enum class KvLayout : std::uint8_t { kRows, kPanels, kPairs };

[[nodiscard]] inline bool is_sixteen_bits(DType type) noexcept {
  return type == DType::kF16 || type == DType::kBF16;
}

[[nodiscard]] inline KvLayout kv_layout(const Tensor& pool, KvPart part,
                                        const KernelTable& kernels) noexcept {
  const std::int64_t cells = pool.shape[2];
  const std::int64_t size = pool.shape[3];
  const bool keys = part == KvPart::kKeys;
  const bool blocks = tensor::info(pool.dtype).quantized;
  if (kernels.pair_attention != nullptr && (blocks || is_sixteen_bits(pool.dtype))) {
    // Blocks are whole anyway.
    const bool fits = cells % kAttentionTile == 0 && size % (keys ? 2 : kPanelRows) == 0;
    return fits ? KvLayout::kPairs : KvLayout::kRows;
  }
  if (blocks) return KvLayout::kRows;
  const bool fits =
      keys ? cells % kPanelRows == 0 : cells % kAttentionTile == 0 && size % kPanelRows == 0;
  return fits ? KvLayout::kPanels : KvLayout::kRows;
}

[[nodiscard]] inline PanelFormat panel_format_of(const Tensor& pool) noexcept {
  switch (pool.dtype) {
    case DType::kF16:
      return PanelFormat::kF16;
    case DType::kBF16:
      return PanelFormat::kBF16;
    case DType::kQ8_0:
      return PanelFormat::kQ8_0;
    default:
      return PanelFormat::kF32;
  }
}

/// Bytes of `elements` elements of a pool: whole blocks.
[[nodiscard]] inline std::int64_t pool_bytes(const Tensor& pool, std::int64_t elements) noexcept {
  const tensor::DTypeInfo& info = tensor::info(pool.dtype);
  return elements / info.block_elements * info.block_bytes;
}

/// Where element i of the cell at `slot` is in its page, in elements; not for rows.
[[nodiscard]] inline std::int64_t place_in_page(KvLayout layout, KvPart part, std::int64_t cells,
                                                std::int64_t size, std::int64_t slot,
                                                std::int64_t i) noexcept {
  if (layout == KvLayout::kPairs) {
    const std::int64_t tile = slot / kAttentionTile * kAttentionTile * size;
    const std::int64_t cell = slot % kAttentionTile;
    if (part == KvPart::kKeys) return tile + i / 2 * 2 * kAttentionTile + cell * 2 + i % 2;
    const std::int64_t block = i / kValueBlock * kValueBlock;
    const std::int64_t width = std::min(kValueBlock, size - block);
    return tile + block * kAttentionTile + cell / 2 * 2 * width + i % kValueBlock * 2 + cell % 2;
  }
  return part == KvPart::kKeys ? (slot / kPanelRows * size + i) * kPanelRows + slot % kPanelRows
                               : (i / kPanelRows * cells + slot) * kPanelRows + i % kPanelRows;
}

/// Writes one cell's `size` values (as `Element`s, already of the pool's type) into a page of a
/// head.
template <class Element>
void store_cell(const Element* from, std::int64_t size, KvPart part, KvLayout layout,
                std::int64_t cells, std::int64_t slot, Element* page) noexcept {
  if (layout == KvLayout::kRows) {
    std::copy_n(from, size, page + slot * size);
    return;
  }
  const bool pairs = layout == KvLayout::kPairs;
  const auto place = [&](std::int64_t i) {
    return page + place_in_page(layout, part, cells, size, slot, i);
  };
  if (part == KvPart::kKeys) {
    Element* to = place(0);
    if (pairs) {
      for (std::int64_t i = 0; i < size; i += 2, to += 2 * kAttentionTile) {
        std::copy_n(from + i, 2, to);
      }
    } else {
      for (std::int64_t i = 0; i < size; ++i, to += kPanelRows) *to = from[i];
    }
    return;
  }
  for (std::int64_t i = 0; i < size; i += kPanelRows) {
    Element* const to = place(i);
    for (std::int64_t j = 0; j < kPanelRows; ++j) to[pairs ? 2 * j : j] = from[i + j];
  }
}

/// Bytes of a Q8_0 block: a half-precision scale and 32 bytes.
inline constexpr std::int64_t kBlockSize = 32, kBlockBytes = 34;

/// Calls use(element, its block's scale, its byte) for all elements of a cell of Q8_0 blocks kept
/// in pairs; the latter two are places in the page in bytes.
template <class Use>
void for_block_bytes(std::int64_t size, KvPart part, std::int64_t cells, std::int64_t slot,
                     Use use) noexcept {
  const std::int64_t tile = slot / kAttentionTile * kAttentionTile * size;
  const std::int64_t scales = tile / kBlockSize * kBlockBytes;
  const std::int64_t bytes = scales + 2 * kAttentionTile * size / kBlockSize - tile;
  for (std::int64_t i = 0; i < size; ++i) {
    use(i, scales + 2 * (i / kBlockSize * kAttentionTile + slot % kAttentionTile),
        bytes + place_in_page(KvLayout::kPairs, part, cells, size, slot, i));
  }
}

/// store_cell for Q8_0 blocks.
inline void store_blocks(const std::byte* from, std::int64_t size, KvPart part, KvLayout layout,
                         std::int64_t cells, std::int64_t slot, std::byte* page) noexcept {
  if (layout == KvLayout::kRows) {
    const std::int64_t bytes = size / kBlockSize * kBlockBytes;
    std::copy_n(from, bytes, page + slot * bytes);
    return;
  }
  for_block_bytes(size, part, cells, slot,
                  [&](std::int64_t i, std::int64_t scale, std::int64_t to) {
                    const std::byte* const block = from + i / kBlockSize * kBlockBytes;
                    if (i % kBlockSize == 0) std::copy_n(block, 2, page + scale);
                    page[to] = block[2 + i % kBlockSize];
                  });
}

/// The opposite of store_blocks, for blocks kept in pairs.
inline void load_blocks(const std::byte* page, std::int64_t size, KvPart part, std::int64_t cells,
                        std::int64_t slot, std::byte* to) noexcept {
  for_block_bytes(size, part, cells, slot,
                  [&](std::int64_t i, std::int64_t scale, std::int64_t from) {
                    std::byte* const block = to + i / kBlockSize * kBlockBytes;
                    if (i % kBlockSize == 0) std::copy_n(page + scale, 2, block);
                    block[2 + i % kBlockSize] = page[from];
                  });
}

/// The opposite of store_cell: the first `count` elements of a cell.
template <class Element>
void load_cell(const Element* page, std::int64_t size, KvPart part, KvLayout layout,
               std::int64_t cells, std::int64_t slot, std::int64_t count, Element* to) noexcept {
  if (layout == KvLayout::kRows) {
    std::copy_n(page + slot * size, count, to);
    return;
  }
  const bool pairs = layout == KvLayout::kPairs;
  const auto place = [&](std::int64_t i) {
    return page + place_in_page(layout, part, cells, size, slot, i);
  };
  if (part == KvPart::kKeys) {
    const Element* from = place(0);
    if (pairs) {
      for (std::int64_t i = 0; i < count; i += 2, from += 2 * kAttentionTile) {
        std::copy_n(from, std::min<std::int64_t>(2, count - i), to + i);
      }
    } else {
      for (std::int64_t i = 0; i < count; ++i, from += kPanelRows) to[i] = *from;
    }
    return;
  }
  for (std::int64_t i = 0; i < count; i += kPanelRows) {
    const Element* const from = place(i);
    const std::int64_t lanes = std::min(kPanelRows, count - i);
    for (std::int64_t j = 0; j < lanes; ++j) to[i + j] = from[pairs ? 2 * j : j];
  }
}

}  // namespace hearth::compute::cpu
