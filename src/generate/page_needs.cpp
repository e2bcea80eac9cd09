#include "generate/page_needs.h"

#include <algorithm>

namespace hearth::generate {
namespace {

using state::kPageCells;

std::int64_t pages_for(std::int64_t cells) noexcept {
  return (cells + kPageCells - 1) / kPageCells;
}

/// Pages of a group with a window that a sequence has not given up (SequenceState::commit()).
std::int64_t held_pages(const state::MemoryPool& pool, std::size_t g,
                        const state::SequenceState& sequence) noexcept {
  const std::int64_t reach =
      pool.cells(g, sequence.length()) - pool.groups()[g].window + 1 - state::kWindowSlack;
  const std::int64_t first = std::max<std::int64_t>(0, reach) / kPageCells;
  return static_cast<std::int64_t>(sequence.pages(g).size()) - first;
}

}  // namespace

void PageNeeds::add_growth(const state::SequenceState& sequence, std::int64_t rows) {
  for (std::size_t g = 0; g < pages_.size(); ++g) pages_[g] += sequence.pages_needed(g, rows);
  slots_ += sequence.slots_needed();
}

void PageNeeds::add_whole(const state::SequenceState* sequence, std::int64_t length) {
  // Its present state and the next one; more are given up for others.
  if (pool_->recurrent() && sequence == nullptr) slots_ += 2;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const spec::CellGroup& group = pool_->groups()[g];
    if (group.encoder) continue;
    const std::int64_t total = pages_for(pool_->cells(g, length));
    std::int64_t needed = total;
    if (sequence != nullptr) {
      needed -= static_cast<std::int64_t>(sequence->pages(g).size());
      if (needed > 0) needed += sequence->pages_needed(g, 0);  // a copy of a shared last page
    }
    if (group.window > 0) {
      // The cells that a pass can see and those that it adds, and the edges of pages.
      const std::int64_t reach = group.window + state::kWindowSlack +
                                 pool_->limits().batch_rows / group.rows_per_cell + 2 * kPageCells -
                                 2;
      const std::int64_t held = sequence == nullptr ? 0 : held_pages(*pool_, g, *sequence);
      needed = std::min(needed, reach / kPageCells - held);
    }
    pages_[g] += std::max<std::int64_t>(0, needed);
  }
}

bool PageNeeds::are_free() const noexcept {
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (pages_[g] > pool_->free_pages(g)) return false;
  }
  return slots_ <= pool_->free_slots();
}

}  // namespace hearth::generate
