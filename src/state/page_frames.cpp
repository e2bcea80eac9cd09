#include "state/page_frames.h"

namespace hearth::state {

PageFrames::PageFrames(std::int64_t pages, std::int64_t frames)
    : pages_(static_cast<std::size_t>(pages)), page_in_(static_cast<std::size_t>(frames), -1) {
  free_.reserve(static_cast<std::size_t>(frames));
  for (std::int64_t frame = frames; frame-- > 0;) free_.push_back(static_cast<std::int32_t>(frame));
}

std::int32_t PageFrames::place(std::int32_t page) noexcept {
  const std::int32_t frame = free_.back();
  free_.pop_back();
  of(page).frame = frame;
  page_in_[static_cast<std::size_t>(frame)] = page;
  return frame;
}

std::int32_t PageFrames::oldest() noexcept {
  for (std::size_t i = 0; i < page_in_.size(); ++i) {
    const std::int32_t page = page_in_[hand_];
    hand_ = (hand_ + 1) % page_in_.size();
    if (page >= 0 && !pinned(page)) return page;
  }
  return -1;
}

void PageFrames::remove(std::int32_t page) noexcept {
  std::int32_t& frame = of(page).frame;
  if (frame < 0) return;
  page_in_[static_cast<std::size_t>(frame)] = -1;
  free_.push_back(frame);
  frame = -1;
}

void PageFrames::forget(std::int32_t page) noexcept {
  remove(page);
  of(page) = {};
}

}  // namespace hearth::state
