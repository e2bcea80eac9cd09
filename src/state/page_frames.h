// Which pages of a group are in memory, where only some of them have room there: frames are places
// in memory, and every page has a place on disk besides. Only the bookkeeping; what moves the bytes
// is state/memory.cpp.
#pragma once

#include <cstdint>
#include <vector>

namespace hearth::state {

class PageFrames {
 public:
  PageFrames() = default;
  PageFrames(std::int64_t pages, std::int64_t frames);

  [[nodiscard]] std::int64_t pages() const noexcept {
    return static_cast<std::int64_t>(pages_.size());
  }
  [[nodiscard]] std::int64_t frames() const noexcept {
    return static_cast<std::int64_t>(page_in_.size());
  }
  [[nodiscard]] std::int64_t free_frames() const noexcept {
    return static_cast<std::int64_t>(free_.size());
  }
  /// The frame of a page; -1: it is on disk only.
  [[nodiscard]] std::int32_t frame(std::int32_t page) const noexcept { return of(page).frame; }
  /// Pinned pages stay in memory; pins are counted.
  [[nodiscard]] bool pinned(std::int32_t page) const noexcept { return of(page).pins > 0; }
  void pin(std::int32_t page) noexcept { ++of(page).pins; }
  void unpin(std::int32_t page) noexcept { --of(page).pins; }
  /// Whether the page on disk is as the one in memory.
  [[nodiscard]] bool saved(std::int32_t page) const noexcept { return of(page).saved; }
  void set_saved(std::int32_t page, bool saved) noexcept { of(page).saved = saved; }

  /// A page without a frame gets a free one; there must be one.
  std::int32_t place(std::int32_t page) noexcept;
  /// The page that has been in memory longest and is not pinned; -1: there is none. Every token
  /// reads all pages once, so that none is worth more than another: those that left stay away, and
  /// what is young, and may be cut off and written again, stays here.
  [[nodiscard]] std::int32_t oldest() noexcept;
  /// The page has no frame any more.
  void remove(std::int32_t page) noexcept;
  /// The page is not used any more.
  void forget(std::int32_t page) noexcept;

 private:
  struct Page {
    std::int32_t frame = -1;
    std::int32_t pins = 0;
    bool saved = false;
  };
  [[nodiscard]] Page& of(std::int32_t page) noexcept {
    return pages_[static_cast<std::size_t>(page)];
  }
  [[nodiscard]] const Page& of(std::int32_t page) const noexcept {
    return pages_[static_cast<std::size_t>(page)];
  }

  std::vector<Page> pages_;
  std::vector<std::int32_t> page_in_;  // by frame; -1: free
  std::vector<std::int32_t> free_;
  std::size_t hand_ = 0;  // frames are taken in order, so that the next one is the oldest
};

}  // namespace hearth::state
