// How many KV pages sequences will take before they take them: a pass that finds the pool empty
// would be lost.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "state/memory.h"
#include "state/sequence.h"

namespace hearth::generate {

/// Pages by group of a pool, and slots of recurrent state, added up over sequences.
class PageNeeds {
 public:
  explicit PageNeeds(const state::MemoryPool& pool)
      : pool_(&pool), pages_(pool.groups().size(), 0) {}

  void clear() noexcept {
    pages_.assign(pages_.size(), 0);
    slots_ = 0;
  }

  /// What `sequence` takes at once to grow by `rows` rows.
  void add_growth(const state::SequenceState& sequence, std::int64_t rows);
  /// What a sequence takes on the way to `length` rows, in passes of at most limits().batch_rows:
  /// pages behind windows are given back meanwhile. `sequence` may be null: a new one.
  void add_whole(const state::SequenceState* sequence, std::int64_t length);

  /// The pool has them free now.
  [[nodiscard]] bool are_free() const noexcept;
  /// By group.
  [[nodiscard]] std::span<const std::int64_t> pages() const noexcept { return pages_; }
  [[nodiscard]] std::int64_t slots() const noexcept { return slots_; }

 private:
  const state::MemoryPool* pool_;
  std::vector<std::int64_t> pages_;
  std::int64_t slots_ = 0;
};

}  // namespace hearth::generate
