// How panels are shared out among threads: compute/cpu/panel_queue.h.
#include "compute/cpu/panel_queue.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kPanelBytes = 16 << 10;

TEST(PanelQueue, PiecesAreLongAtFirstAndShortAtTheEnd) {
  const std::int64_t count = 1200;
  PanelQueue queue(count, count * kPanelBytes, 2);
  std::vector<std::int64_t> pieces;
  std::int64_t next = 0;
  for (auto range = queue.take(); !range.empty(); range = queue.take()) {
    EXPECT_EQ(range.begin, next);
    next = range.end;
    pieces.push_back(range.end - range.begin);
  }
  EXPECT_EQ(next, count);
  EXPECT_EQ(pieces.front() * kPanelBytes, 1 << 20);
  for (std::size_t i = 1; i < pieces.size(); ++i) EXPECT_LE(pieces[i], pieces[i - 1]);
  EXPECT_LE(pieces.back() * kPanelBytes, 48 << 10);
  EXPECT_TRUE(queue.take().empty());
}

TEST(PanelQueue, PanelsLargerThanAPieceComeOneByOne) {
  PanelQueue queue(3, std::int64_t{3} << 22, 4);
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto range = queue.take();
    EXPECT_EQ(range.begin, i);
    EXPECT_EQ(range.end, i + 1);
  }
  EXPECT_TRUE(queue.take().empty());
}

TEST(PanelQueue, NothingIsNothing) { EXPECT_TRUE(PanelQueue(0, 0, 2).take().empty()); }

TEST(PanelQueue, ThreadsTakeEveryPanelOnce) {
  const std::int64_t count = 5000;
  PanelQueue queue(count, count * 1024, 3);
  std::vector<std::vector<PanelQueue::Range>> taken(3);
  std::vector<std::thread> threads;
  for (auto& own : taken) {
    threads.emplace_back([&queue, &own] {
      for (auto range = queue.take(); !range.empty(); range = queue.take()) own.push_back(range);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<int> times(static_cast<std::size_t>(count), 0);
  for (const auto& own : taken) {
    for (const auto range : own) {
      for (std::int64_t i = range.begin; i < range.end; ++i) ++times[static_cast<std::size_t>(i)];
    }
  }
  for (const int n : times) ASSERT_EQ(n, 1);
}

}  // namespace
}  // namespace hearth::compute::cpu
