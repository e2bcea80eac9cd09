#include "state/sequence.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "state/pages.h"
#include "support/error.h"

namespace hearth::state {

using spec::CellGroup;

SequenceState::SequenceState(MemoryPool& pool, std::int64_t first_position)
    : pool_(&pool), first_position_(first_position) {
  pages_.resize(pool.groups().size());
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    pages_[g].list.reserve(static_cast<std::size_t>(pages_for(pool.cells(g, max_cells()))));
  }
  checkpoints_.reserve(kSlotsPerSequence + 1);
}

SequenceState::~SequenceState() { clear(); }

void SequenceState::clear() noexcept {
  give_back_reserve();
  if (pending_slot_ >= 0) pool_->give_back_slot(pending_slot_);
  pending_slot_ = -1;
  forget_checkpoints();
  for (std::size_t g = 0; g < pages_.size(); ++g) shrink_pages(g, 0);
  skips_.clear();
  length_ = growing_ = encoder_length_ = 0;
}

void SequenceState::forget_checkpoints() noexcept {
  for (Checkpoint& checkpoint : checkpoints_) give_back(checkpoint);
  checkpoints_.clear();
}

void SequenceState::give_back(Checkpoint& checkpoint) noexcept {
  pool_->give_back_slot(checkpoint.slot);
  if (checkpoint.raw_page >= 0) pool_->give_back_page(coded_group(), checkpoint.raw_page);
}

std::unique_ptr<SequenceState> SequenceState::fork() const {
  if (growing_ > 0) throw Error("a sequence cannot be forked while rows are evaluated");
  auto copy = std::make_unique<SequenceState>(*pool_, first_position_);
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    copy->pages_[g].first = pages_[g].first;
    copy->pages_[g].coded_end = pages_[g].coded_end;
    copy->pages_[g].list.assign(pages_[g].list.begin(), pages_[g].list.end());
    for (std::size_t page = static_cast<std::size_t>(pages_[g].first); page < pages_[g].list.size();
         ++page) {
      pool_->share_page(g, pages_[g].list[page]);
    }
  }
  for (const Checkpoint& checkpoint : checkpoints_) {
    pool_->share_slot(checkpoint.slot);
    if (checkpoint.raw_page >= 0) pool_->share_page(coded_group(), checkpoint.raw_page);
    copy->checkpoints_.push_back(checkpoint);
  }
  copy->length_ = length_;
  copy->encoder_length_ = encoder_length_;
  copy->skips_ = skips_;
  return copy;
}

std::unique_ptr<SequenceState> SequenceState::snapshot() const {
  auto copy = fork();
  while (copy->checkpoints_.size() > 1) {
    copy->give_back(copy->checkpoints_.front());
    copy->checkpoints_.erase(copy->checkpoints_.begin());
  }
  for (Checkpoint& checkpoint : copy->checkpoints_) checkpoint.keep = true;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (pool_->groups()[g].window > 0) copy->give_up_pages(g, 0);
  }
  copy->code_pages(length_, 0);  // raw pages are few
  return copy;
}

std::int64_t SequenceState::pages_needed(std::size_t group, std::int64_t count) const noexcept {
  if (pool_->groups()[group].encoder) return 0;
  const Pages& pages = pages_[group];
  const bool copies = !pages.list.empty() && pool_->cells(group, length_) % kPageCells != 0 &&
                      pool_->page_references(group, pages.list.back()) > 1;
  return pages_for(pool_->cells(group, length_ + count)) -
         static_cast<std::int64_t>(pages.list.size()) + (copies ? 1 : 0);
}

void SequenceState::set_position(std::int64_t cell, std::int64_t position) {
  const std::int64_t total = position - first_position_ - cell;
  if (skips_.empty() ? total != 0 : total != skips_.back().total) skips_.push_back({cell, total});
}

void SequenceState::grow(std::int64_t count) {
  if (count > max_cells() - length_) {
    throw Error("the context of " + std::to_string(max_cells()) + " tokens is full",
                "start again, shorten the conversation, or use a larger --ctx");
  }
  std::size_t group = 0;
  try {
    for (; group < pages_.size(); ++group) {
      if (!pool_->groups()[group].encoder) grow_pages(group, length_ + count);
    }
    if (pool_->recurrent() && pending_slot_ < 0) {
      make_room_for_slot();
      pending_slot_ = pool_->take_slot();
    }
  } catch (...) {
    for (std::size_t g = 0; g < group; ++g) {
      if (!pool_->groups()[g].encoder) shrink_pages(g, length_);
    }
    throw;
  }
  length_ += count;
  growing_ += count;
}

void SequenceState::grow_pages(std::size_t group, std::int64_t length) {
  const bool was_pinned = pages_[group].pinned >= 0;
  Pages& pages = pages_[group];
  const std::int64_t needed = pages_for(pool_->cells(group, length));
  const std::size_t before = pages.list.size();
  pin_pages(group);
  try {
    own_last_page(group);
    while (static_cast<std::int64_t>(pages.list.size()) < needed)
      pages.list.push_back(pool_->take_page(group));
  } catch (...) {
    while (pages.list.size() > before) {
      pool_->unpin(group, pages.list.back());
      pool_->give_back_page(group, pages.list.back());
      pages.list.pop_back();
    }
    if (!was_pinned) unpin_pages(group);
    throw;
  }
}

/// Keeps the part that the next cell is in in memory until the pass is over: it is written, or read
/// from there beside what is written.
void SequenceState::pin_pages(std::size_t group) {
  Pages& pages = pages_[group];
  if (pages.pinned >= 0) return;
  pool_->bring_back(group, pages.list);
  const auto end = static_cast<std::int64_t>(pages.list.size());
  const std::int64_t next = pool_->cells(group, length_) / kPageCells;
  const std::int64_t first = std::max(pages.first, PageStream::unit_begin(next));
  std::int64_t page = first;
  try {
    for (; page < end; ++page) pool_->pin(group, pages.list[static_cast<std::size_t>(page)]);
  } catch (...) {
    while (page-- > first) pool_->unpin(group, pages.list[static_cast<std::size_t>(page)]);
    throw;
  }
  pages.pinned = first;
}

void SequenceState::unpin_pages(std::size_t group) noexcept {
  Pages& pages = pages_[group];
  if (pages.pinned < 0) return;
  for (auto page = static_cast<std::size_t>(pages.pinned); page < pages.list.size(); ++page)
    pool_->unpin(group, pages.list[page]);
  pages.pinned = -1;
}

void SequenceState::shrink_pages(std::size_t group, std::int64_t length) noexcept {
  Pages& pages = pages_[group];
  unpin_pages(group);
  const std::int64_t needed = pages_for(pool_->cells(group, length));
  while (static_cast<std::int64_t>(pages.list.size()) > needed) {
    if (static_cast<std::int64_t>(pages.list.size()) > pages.first) {
      pool_->give_back_page(group, pages.list.back());
    }
    pages.list.pop_back();
  }
  pages.first = std::min(pages.first, static_cast<std::int64_t>(pages.list.size()));
  pages.coded_end = std::min(pages.coded_end, static_cast<std::int64_t>(pages.list.size()));
}

/// Copy on write: a partial last page that a fork still reads is replaced by a copy.
void SequenceState::own_last_page(std::size_t group) {
  Pages& pages = pages_[group];
  if (pages.list.empty() || pool_->cells(group, length_) % kPageCells == 0) return;
  const std::int32_t shared = pages.list.back();
  if (pool_->page_references(group, shared) == 1) {
    pool_->set_changed(group, shared);
    return;
  }
  const std::int32_t own = pool_->take_page(group);
  pool_->copy_page(group, shared, own);
  pool_->unpin(group, shared);
  pool_->give_back_page(group, shared);
  pages.list.back() = own;
}

/// The checkpoint that is given up first: the current one never, snapshots after others, younger
/// ones after older.
std::size_t SequenceState::oldest_checkpoint() const noexcept {
  for (std::size_t i = 0; i + 1 < checkpoints_.size(); ++i) {
    if (!checkpoints_[i].keep) return i;
  }
  return 0;
}

/// At most kSlotsPerSequence - 1 checkpoints stay.
void SequenceState::make_room_for_slot() noexcept {
  while (checkpoints_.size() >= static_cast<std::size_t>(kSlotsPerSequence)) {
    const std::size_t victim = oldest_checkpoint();
    give_back(checkpoints_[victim]);
    checkpoints_.erase(checkpoints_.begin() + static_cast<std::ptrdiff_t>(victim));
  }
}

std::int64_t SequenceState::slots_needed() const noexcept {
  if (!pool_->recurrent() || pending_slot_ >= 0) return 0;
  if (checkpoints_.size() < static_cast<std::size_t>(kSlotsPerSequence)) return 1;
  const auto slot = static_cast<std::size_t>(checkpoints_[oldest_checkpoint()].slot);
  return pool_->slot_references_[slot] > 1 ? 1 : 0;
}

void SequenceState::commit() noexcept {
  if (pending_slot_ >= 0) {
    checkpoints_.push_back({length_, pending_slot_, growing_ > 1});
    pending_slot_ = -1;
  }
  growing_ = 0;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    unpin_pages(g);
    if (pool_->groups()[g].window > 0) give_up_pages(g, kWindowSlack);
  }
  code_pages(length_, pool_->recent_cells());
}

std::size_t SequenceState::coded_group() const noexcept {
  std::size_t group = 0;
  while (group < pages_.size() && !pool_->coded(group)) ++group;
  return group;
}

/// Codes the whole pages of the first `length` cells that are neither sinks nor among the last
/// `recent` ones. Where the pool has no coded page left, pages stay raw until there is one.
void SequenceState::code_pages(std::int64_t length, std::int64_t recent) noexcept {
  const std::size_t group = coded_group();
  if (group == pages_.size()) return;
  Pages& pages = pages_[group];
  const std::int64_t end = std::max<std::int64_t>(0, length - recent) / kPageCells;
  std::array<MemoryPool::CodedPair, 16> pairs;
  std::size_t count = 0;
  const auto flush = [&] {
    pool_->encode(group, std::span(pairs).first(count));
    for (const MemoryPool::CodedPair& pair : std::span(pairs).first(count)) {
      pool_->unpin(group, pair.coded | compute::kCodedPage);
      pool_->give_back_page(group, pair.raw);
    }
    count = 0;
  };
  pages.coded_end = std::max(pages.coded_end, std::min(end, pool_->sink_pages()));
  for (; pages.coded_end < end; ++pages.coded_end) {
    std::int32_t& page = pages.list[static_cast<std::size_t>(pages.coded_end)];
    if (MemoryPool::is_coded(page)) continue;
    const std::int32_t coded = pool_->take_coded_page(group);
    if (coded < 0) break;
    keep_raw(page, pages.coded_end);
    pairs[count++] = {page, coded & ~compute::kCodedPage};
    page = coded;
    if (count == pairs.size()) flush();
  }
  flush();
}

/// Page `index` of the coded group is about to be coded: earlier states that end within it keep it.
void SequenceState::keep_raw(std::int32_t page, std::int64_t index) noexcept {
  for (Checkpoint& checkpoint : checkpoints_) {
    const bool within =
        checkpoint.length / kPageCells == index && checkpoint.length % kPageCells != 0;
    if (!within || checkpoint.raw_page >= 0) continue;
    pool_->share_page(coded_group(), page);
    checkpoint.raw_page = page;
  }
}

bool SequenceState::ends_in_coded_page(std::int64_t length) const noexcept {
  const std::size_t group = coded_group();
  if (group == pages_.size() || length % kPageCells == 0) return false;
  const auto page = static_cast<std::size_t>(length / kPageCells);
  return page < pages_[group].list.size() && MemoryPool::is_coded(pages_[group].list[page]);
}

/// The sequence is about to end where `checkpoint` does: its last page becomes the raw one.
void SequenceState::restore_raw_page(Checkpoint& checkpoint) noexcept {
  if (checkpoint.raw_page < 0) return;
  const std::size_t group = coded_group();
  const std::int64_t index = checkpoint.length / kPageCells;
  std::int32_t& page = pages_[group].list[static_cast<std::size_t>(index)];
  pool_->give_back_page(group, page);
  page = checkpoint.raw_page;
  pages_[group].coded_end = std::min(pages_[group].coded_end, index);
  checkpoint.raw_page = -1;
}

/// Pages that the window of the next row does not reach, `slack` cells further back neither.
void SequenceState::give_up_pages(std::size_t group, std::int64_t slack) noexcept {
  const std::int64_t window = pool_->groups()[group].window;
  const std::int64_t reach =
      std::max<std::int64_t>(0, pool_->cells(group, length_) - window + 1 - slack);
  for (Pages& pages = pages_[group]; pages.first < reach / kPageCells; ++pages.first) {
    std::int32_t& page = pages.list[static_cast<std::size_t>(pages.first)];
    pool_->give_back_page(group, page);
    page = 0;
  }
}

void SequenceState::set_encoder_length(std::int64_t count) {
  if (encoder_length_ > 0 || length_ > 0) {
    throw Error("the sequence already has an encoded text", "begin a new sequence");
  }
  if (count > max_cells()) {
    throw Error("the text has " + std::to_string(count) + " tokens and the context is " +
                    std::to_string(max_cells()),
                "shorten the text or use a larger --ctx");
  }
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (pool_->groups()[g].encoder) grow_pages(g, count);
  }
  encoder_length_ = count;
}

void SequenceState::forget_encoder() noexcept {
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (pool_->groups()[g].encoder) shrink_pages(g, 0);
  }
  encoder_length_ = 0;
}

/// Whether the windows of a row after `length` cells still have all their cells.
bool SequenceState::windows_reach(std::int64_t length) const noexcept {
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    const CellGroup& group = pool_->groups()[g];
    if (group.window == 0) continue;
    const std::int64_t first =
        std::max<std::int64_t>(0, pool_->cells(g, length) - group.window + 1);
    if (first / kPageCells < pages_[g].first) return false;
  }
  return true;
}

std::int64_t SequenceState::truncate(std::int64_t length) noexcept {
  const bool under_way = growing_ > 0;
  if (length >= length_ && !under_way) return length_;
  length = std::min(length, length_);
  for (std::size_t g = 0; g < pages_.size(); ++g) unpin_pages(g);
  if (pending_slot_ >= 0) {
    pool_->give_back_slot(pending_slot_);
    pending_slot_ = -1;
  }
  while (!checkpoints_.empty() &&
         (checkpoints_.back().length > length ||
          (checkpoints_.back().raw_page < 0 && ends_in_coded_page(checkpoints_.back().length)))) {
    give_back(checkpoints_.back());
    checkpoints_.pop_back();
  }
  if (!checkpoints_.empty()) restore_raw_page(checkpoints_.back());
  if (pool_->recurrent()) length = checkpoints_.empty() ? 0 : checkpoints_.back().length;
  if (ends_in_coded_page(length)) length = length / kPageCells * kPageCells;
  if (length > 0 && !windows_reach(length)) {
    forget_checkpoints();
    length = 0;
  }
  length_ = length;
  growing_ = 0;
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    if (!pool_->groups()[g].encoder) shrink_pages(g, length);
  }
  while (!skips_.empty() && skips_.back().length > length) skips_.pop_back();
  return length;
}

}  // namespace hearth::state
