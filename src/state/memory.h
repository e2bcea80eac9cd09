// What all sequences of a model share: preallocated pages of keys and values, and slots of
// recurrent state.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "spec/model_spec.h"
#include "tensor/tensor.h"

namespace hearth::state {

inline constexpr std::int64_t kPageCells = 64;
/// Cells behind a window that are kept besides, so that a sequence can be cut back a little.
inline constexpr std::int64_t kWindowSlack = 64;
/// Recurrent states that a sequence holds: the current one, the one before it, and snapshots to
/// which it can be cut back.
inline constexpr std::int64_t kSlotsPerSequence = 4;

struct MemoryLimits {
  std::int64_t context = 0;     // rows per sequence
  std::int64_t sequences = 1;   // held at once
  std::int64_t batch_rows = 1;  // rows that one pass may add
  tensor::DType kv_type = tensor::DType::kF16;
  /// Beside what `sequences` need: cells of remembered beginnings of texts, and snapshots from
  /// which a sequence with windows or recurrent state can go on (state/prefix_cache.h).
  std::int64_t prefix_cells = 0;
  std::int64_t snapshots = 0;
};

/// Cells that are kept and found alike, over all memories of one spec::CellGroup. Page p of every
/// memory of a group belongs to the same cells; pages are reference-counted, so that forked
/// sequences share them.
class MemoryPool {
 public:
  /// `backend` must outlive the pool. Throws Error when there is not enough memory.
  MemoryPool(compute::Backend& backend, const spec::ModelSpec& spec, const MemoryLimits& limits);

  [[nodiscard]] const MemoryLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] std::span<const spec::CellGroup> groups() const noexcept { return groups_; }
  /// The group of a KV memory.
  [[nodiscard]] std::size_t group_of(spec::MemoryIndex memory) const noexcept {
    return group_of_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] std::int64_t pages(std::size_t group) const noexcept;
  [[nodiscard]] std::int64_t free_pages(std::size_t group) const noexcept;
  /// Cells that `rows` rows of a sequence take in a group.
  [[nodiscard]] std::int64_t cells(std::size_t group, std::int64_t rows) const noexcept;

  /// [pages, kv_heads, kPageCells, size]; values are absent when the memory has none.
  [[nodiscard]] const tensor::Tensor& keys(spec::MemoryIndex memory) const noexcept {
    return keys_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] const tensor::Tensor& values(spec::MemoryIndex memory) const noexcept {
    return values_[static_cast<std::size_t>(memory)];
  }
  /// F32 [slots, channels, taps] and [slots, heads, rows, columns] of a recurrent memory.
  [[nodiscard]] const tensor::Tensor& conv(spec::MemoryIndex memory) const noexcept {
    return conv_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] const tensor::Tensor& scan(spec::MemoryIndex memory) const noexcept {
    return scan_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] bool recurrent() const noexcept { return !conv_.empty(); }
  /// A sequence cannot be cut back to anywhere: there is recurrent state, or a window that the
  /// context can outgrow.
  [[nodiscard]] bool needs_snapshots() const noexcept;
  [[nodiscard]] std::int64_t slots() const noexcept {
    return static_cast<std::int64_t>(slot_references_.size());
  }
  [[nodiscard]] std::int64_t free_slots() const noexcept {
    return static_cast<std::int64_t>(free_slots_.size());
  }
  /// Sequences that hold a page.
  [[nodiscard]] std::int32_t page_references(std::size_t group, std::int32_t page) const noexcept {
    return pools_[group].references[static_cast<std::size_t>(page)];
  }
  /// Of one page of a group, over all of its memories.
  [[nodiscard]] std::size_t page_bytes(std::size_t group) const noexcept;
  /// Every so many rows all groups without a window begin a new page.
  [[nodiscard]] std::int64_t rows_between_pages() const noexcept;
  /// Hash of everything that decides how the bytes of a sequence are laid out.
  [[nodiscard]] std::uint64_t fingerprint() const;

 private:
  friend class SequenceState;
  struct Group {
    std::vector<std::int32_t> references, free;
  };
  [[nodiscard]] std::int32_t take_page(std::size_t group);  // throws Error when none is free
  void share_page(std::size_t group, std::int32_t page) noexcept;
  void give_back_page(std::size_t group, std::int32_t page) noexcept;
  void copy_page(std::size_t group, std::int32_t from, std::int32_t to) noexcept;
  [[nodiscard]] std::int32_t take_slot();  // throws Error when none is free
  void share_slot(std::int32_t slot) noexcept {
    ++slot_references_[static_cast<std::size_t>(slot)];
  }
  void give_back_slot(std::int32_t slot) noexcept;

  compute::Backend* backend_;
  MemoryLimits limits_;
  std::vector<spec::CellGroup> groups_;
  std::vector<Group> pools_;  // by group
  std::vector<std::size_t> group_of_;
  std::vector<std::unique_ptr<tensor::Buffer>> buffers_;
  std::vector<tensor::Tensor> keys_, values_, conv_, scan_;
  std::vector<std::int32_t> slot_references_, free_slots_;
};

}  // namespace hearth::state
