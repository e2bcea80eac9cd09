// Panels that threads take from the front, for products with few rows.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace hearth::compute::cpu {

/// Hands out ranges of panels: each a share of what is left, so that the memory stream of a thread
/// is long at first and all threads end together.
class PanelQueue {
 public:
  /// Of `count` panels, `bytes` in all.
  PanelQueue(std::int64_t count, std::int64_t bytes, int threads) noexcept
      : count_(count),
        shares_(2 * threads),
        most_(std::max<std::int64_t>(1, kMostBytes * count / std::max<std::int64_t>(1, bytes))),
        least_(std::clamp<std::int64_t>(kLeastBytes * count / std::max<std::int64_t>(1, bytes), 1,
                                        most_)) {}

  struct Range {
    std::int64_t begin, end;
    [[nodiscard]] bool empty() const noexcept { return begin >= end; }
  };
  /// Empty when nothing is left. For any thread.
  [[nodiscard]] Range take() noexcept {
    std::int64_t begin = next_.load(std::memory_order_relaxed);
    for (;;) {
      const std::int64_t left = count_ - begin;
      const std::int64_t end = begin + std::min(left, std::clamp(left / shares_, least_, most_));
      if (next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) return {begin, end};
    }
  }

 private:
  static constexpr std::int64_t kMostBytes = 1 << 20;
  static constexpr std::int64_t kLeastBytes = 48 << 10;

  const std::int64_t count_, shares_, most_, least_;
  std::atomic<std::int64_t> next_{0};
};

}  // namespace hearth::compute::cpu
