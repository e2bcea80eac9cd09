#include "compute/cpu/kv_store.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "compute/cpu/access.h"
#include "compute/cpu/kv_layout.h"
#include "compute/cpu/row_loop.h"

namespace hearth::compute::cpu {
namespace {

/// A value of a key costs about so many of other operations: each goes to a cache line of its own.
constexpr std::int64_t kScattered = 8;
/// Rows that are stored together, head by head, so that lines which they share are still in the
/// first-level cache: a line has so many cells.
constexpr std::int64_t kLineCells = 16;

class KvStore {
 public:
  KvStore(const KernelTable& kernels, KvPart part, const Tensor& values, const KvRows& rows,
          const Tensor& pool)
      : kernels_(kernels),
        part_(part),
        values_(values),
        rows_(rows),
        pool_(pool),
        layout_(kv_layout(pool, part, kernels)),
        cells_(pool.shape[2]),
        size_(values.shape[2]),
        scattered_(part == KvPart::kKeys && layout_ != KvLayout::kRows) {}

  [[nodiscard]] std::int64_t cost_of_row() const noexcept {
    return values_.shape[1] * size_ * (scattered_ ? kScattered : 1);
  }

  /// Rows [begin, end). Lines of cells that nobody touched lately come from memory: all of a head
  /// are asked for before the first is written.
  void store(std::int64_t begin, std::int64_t end) const noexcept {
    for (std::int64_t head = 0; head < values_.shape[1]; ++head) {
      for (std::int64_t t = begin; scattered_ && t < end; ++t) fetch(begin, t, head);
      for (std::int64_t t = begin; t < end; ++t) store_row(t, head);
    }
  }

 private:
  [[nodiscard]] std::int64_t cell(std::int64_t t) const noexcept {
    return int_at(rows_.row_cell, t);
  }
  [[nodiscard]] std::byte* page(std::int64_t t, std::int64_t head) const noexcept {
    const std::int64_t number =
        ints_of(rows_.page_table)[int_at(rows_.row_sequence, t) * rows_.page_table.strides[0] +
                                  cell(t) / cells_];
    return bytes_of(pool_) + pool_bytes(pool_, number * pool_.strides[0] + head * pool_.strides[1]);
  }

  void fetch(std::int64_t begin, std::int64_t t, std::int64_t head) const noexcept {
    const bool follows = t > begin && cell(t) == cell(t - 1) + 1 &&
                         int_at(rows_.row_sequence, t) == int_at(rows_.row_sequence, t - 1);
    if (follows && cell(t) % kLineCells != 0) return;
    const std::byte* const to = page(t, head);
    const std::int64_t slot = cell(t) % cells_;
    if (tensor::info(pool_.dtype).quantized) {
      return for_block_bytes(size_, part_, cells_, slot,
                             [&](std::int64_t i, std::int64_t, std::int64_t at) {
                               if (i % 2 == 0) __builtin_prefetch(to + at, 1, 2);
                             });
    }
    const auto element = static_cast<std::int64_t>(tensor::info(pool_.dtype).block_bytes);
    const auto place = [&](std::int64_t i) {
      return element * place_in_page(layout_, part_, cells_, size_, slot, i);
    };
    // As many values as lie beside each other are on one line.
    const std::int64_t step = layout_ == KvLayout::kPairs ? 2 : 1;
    const std::int64_t stride = place(step) - place(0);
    const std::byte* at = to + place(0);
    for (std::int64_t i = 0; i < size_; i += step, at += stride) __builtin_prefetch(at, 1, 2);
  }

  void store_row(std::int64_t t, std::int64_t head) const noexcept {
    const float* const from =
        floats_of(values_) + t * values_.strides[0] + head * values_.strides[1];
    std::byte* const to = page(t, head);
    const std::int64_t slot = cell(t) % cells_;
    const auto store = [&](const auto* elements) {
      using Element = std::remove_cvref_t<decltype(*elements)>;
      store_cell(elements, size_, part_, layout_, cells_, slot, reinterpret_cast<Element*>(to));
    };
    std::uint16_t narrow[kMaxHeadSize];
    switch (pool_.dtype) {
      case DType::kF16:
        kernels_.to_half(from, narrow, size_);
        return store(narrow);
      case DType::kBF16:
        for (std::int64_t i = 0; i < size_; ++i) narrow[i] = tensor::bfloat16_from_float(from[i]);
        return store(narrow);
      case DType::kQ8_0: {
        std::array<std::byte, kMaxHeadSize / kBlockSize * kBlockBytes> blocks;
        kernels_.to_blocks(from, size_, blocks.data());
        return store_blocks(blocks.data(), size_, part_, layout_, cells_, slot, to);
      }
      default:
        return store(from);
    }
  }

  const KernelTable& kernels_;
  const KvPart part_;
  const Tensor& values_;
  const KvRows& rows_;
  const Tensor& pool_;
  const KvLayout layout_;
  const std::int64_t cells_, size_;
  const bool scattered_;  // the values of a cell are far from each other
};

}  // namespace

void store_kv(ThreadTeam& team, const KernelTable& kernels, KvPart part, const Tensor& values,
              const KvRows& rows, const Tensor& pool) noexcept {
  const KvStore store(kernels, part, values, rows, pool);
  const std::int64_t count = values.shape[0];
  if (count * store.cost_of_row() <= kInlineValues) return store.store(0, count);
  const std::int64_t share = count / (2 * team.size());
  team.for_chunks(count, std::clamp<std::int64_t>(share, 1, kLineCells),
                  [&](std::int64_t begin, std::int64_t end, int) { store.store(begin, end); });
}

}  // namespace hearth::compute::cpu
