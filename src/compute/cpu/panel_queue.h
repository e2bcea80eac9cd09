// Panels that threads take piece by piece, for products with few rows: these are as fast as memory.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

namespace hearth::compute::cpu {

/// Hands out ranges of panels. Each thread walks through a stretch of its own from front to back:
/// a core reads one long stream faster than many short ones (with pieces of 256 KiB in turn two
/// cores had 80-85 % of the bandwidth, with stretches 94-99 %). Who is done
/// takes over the second half of what someone else has left, so that all end together, and a thread
/// that does not come is not missed.
class PanelQueue {
 public:
  /// Of `count` < 2^32 panels, `bytes` in all, each read once for every row of the batch: pieces
  /// are small enough for nobody to wait long at the end.
  PanelQueue(std::int64_t count, std::int64_t bytes, std::int64_t rows, int threads) noexcept
      : stretches_used_(static_cast<std::size_t>(
            std::clamp<std::int64_t>(threads, 1, static_cast<std::int64_t>(kMostStretches)))),
        piece_(std::max<std::int64_t>(
            1, kPieceBytes * count / std::max<std::int64_t>(1, bytes * rows))) {
    const auto used = static_cast<std::int64_t>(stretches_used_);
    for (std::int64_t i = 0; i < used; ++i) {
      stretches_[static_cast<std::size_t>(i)].range.store(
          packed({count * i / used, count * (i + 1) / used}), std::memory_order_relaxed);
    }
  }

  struct Range {
    std::int64_t begin, end;
    [[nodiscard]] bool empty() const noexcept { return begin >= end; }
  };
  /// Empty when nothing is left that nobody works on. For any thread; `thread` says whose stretch
  /// it walks through.
  [[nodiscard]] Range take(int thread) noexcept {
    Stretch& own = stretches_[static_cast<std::size_t>(thread) % stretches_used_];
    for (;;) {
      std::uint64_t seen = own.range.load(std::memory_order_relaxed);
      const Range left = unpacked(seen);
      if (left.empty()) {
        const Range taken = take_from_others();
        // Others may share the stretch: what cannot be put there is the piece.
        if (taken.empty() ||
            !own.range.compare_exchange_strong(seen, packed(taken), std::memory_order_relaxed)) {
          return taken;
        }
        continue;
      }
      const std::int64_t end = left.begin + std::min(piece_, left.end - left.begin);
      if (own.range.compare_exchange_weak(seen, packed({end, left.end}),
                                          std::memory_order_relaxed)) {
        return {left.begin, end};
      }
    }
  }

 private:
  static constexpr std::int64_t kPieceBytes = 128 << 10;
  static constexpr std::size_t kMostStretches = 64;

  static std::uint64_t packed(Range range) noexcept {
    return static_cast<std::uint64_t>(range.begin) << 32 | static_cast<std::uint64_t>(range.end);
  }
  static Range unpacked(std::uint64_t value) noexcept {
    return {static_cast<std::int64_t>(value >> 32), static_cast<std::int64_t>(value & 0xFFFFFFFF)};
  }

  /// The second half of the longest stretch.
  [[nodiscard]] Range take_from_others() noexcept {
    for (;;) {
      Stretch* longest = nullptr;
      std::uint64_t seen = 0;
      std::int64_t most = 0;
      for (std::size_t i = 0; i < stretches_used_; ++i) {
        const std::uint64_t value = stretches_[i].range.load(std::memory_order_relaxed);
        const Range left = unpacked(value);
        if (left.end - left.begin <= most) continue;
        longest = &stretches_[i];
        seen = value;
        most = left.end - left.begin;
      }
      if (longest == nullptr) return {0, 0};
      const Range left = unpacked(seen);
      const std::int64_t middle = left.begin + most / 2;
      if (longest->range.compare_exchange_strong(seen, packed({left.begin, middle}),
                                                 std::memory_order_relaxed)) {
        return {middle, left.end};
      }
    }
  }

  /// Begin and end in one word: no range with panels in it comes twice, so a comparison suffices.
  struct alignas(64) Stretch {
    std::atomic<std::uint64_t> range;
  };

  const std::size_t stretches_used_;
  const std::int64_t piece_;
  std::array<Stretch, kMostStretches> stretches_;
};

}  // namespace hearth::compute::cpu
