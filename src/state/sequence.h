// What a sequence remembers: its cells in the paged KV pools of every attention layer. (Window
// rings and recurrent state join here.)
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "tensor/tensor.h"

namespace hearth::state {

inline constexpr std::int64_t kPageCells = 64;

/// Geometry of one layer's keys and values.
struct KvLayer {
  std::int64_t kv_heads = 0, key_size = 0, value_size = 0;
};

/// Preallocated pages of keys and values for all attention layers of a model. Page p of every layer
/// belongs to the same cells; pages are reference-counted, so that forked sequences share their
/// common prefix.
class KvPool {
 public:
  /// `backend` must outlive the pool. Throws Error when there is not enough memory.
  KvPool(compute::Backend& backend, std::span<const KvLayer> layers, std::int64_t pages,
         tensor::DType dtype);

  [[nodiscard]] std::int64_t pages() const noexcept {
    return static_cast<std::int64_t>(references_.size());
  }
  [[nodiscard]] std::int64_t free_pages() const noexcept {
    return static_cast<std::int64_t>(free_.size());
  }
  /// [pages, kv_heads, kPageCells, size].
  [[nodiscard]] const tensor::Tensor& keys(std::size_t layer) const noexcept {
    return keys_[layer];
  }
  [[nodiscard]] const tensor::Tensor& values(std::size_t layer) const noexcept {
    return values_[layer];
  }
  /// Bytes that `pages` pages of `layers` take.
  [[nodiscard]] static std::size_t bytes(std::span<const KvLayer> layers, std::int64_t pages,
                                         tensor::DType dtype) noexcept;

 private:
  friend class SequenceState;
  [[nodiscard]] std::int32_t take_page();  // throws Error when none is free
  void share_page(std::int32_t page) noexcept;
  void give_back_page(std::int32_t page) noexcept;
  void copy_page(std::int32_t from, std::int32_t to) noexcept;

  compute::Backend* backend_;
  std::vector<std::unique_ptr<tensor::Buffer>> buffers_;
  std::vector<tensor::Tensor> keys_, values_;
  std::vector<std::int32_t> references_;
  std::vector<std::int32_t> free_;
};

/// The memory of one sequence. Cell c holds the row that was evaluated c-th; its position is
/// first_position + c.
class SequenceState {
 public:
  /// At most `max_cells` cells; the page list is allocated up front, so that growing never
  /// allocates.
  SequenceState(KvPool& pool, std::int64_t max_cells, std::int64_t first_position = 0);
  SequenceState(const SequenceState&) = delete;
  SequenceState& operator=(const SequenceState&) = delete;
  ~SequenceState();

  /// A second sequence with the same past. Whole pages are shared, the last partial page is copied.
  [[nodiscard]] std::unique_ptr<SequenceState> fork() const;

  [[nodiscard]] std::int64_t length() const noexcept { return length_; }
  [[nodiscard]] std::int64_t max_cells() const noexcept { return max_cells_; }
  [[nodiscard]] std::int64_t first_position() const noexcept { return first_position_; }
  [[nodiscard]] std::int64_t next_position() const noexcept { return first_position_ + length_; }
  [[nodiscard]] std::span<const std::int32_t> pages() const noexcept { return pages_; }

  /// Adds `count` cells, taking pages as needed. Throws Error when the sequence or the pool is
  /// full; nothing changes then.
  void grow(std::int64_t count);
  /// Forgets all cells from `length` on.
  void truncate(std::int64_t length) noexcept;

 private:
  /// Copy on write: a partial last page that a fork still reads is replaced by a copy.
  void own_last_page();

  KvPool* pool_;
  std::int64_t max_cells_;
  std::int64_t first_position_;
  std::int64_t length_ = 0;
  std::vector<std::int32_t> pages_;
};

}  // namespace hearth::state
