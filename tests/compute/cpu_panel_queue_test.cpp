// How panels are shared out among threads: compute/cpu/panel_queue.h.
#include "compute/cpu/panel_queue.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace hearth::compute::cpu {
namespace {

constexpr std::int64_t kPanelBytes = 16 << 10;

TEST(PanelQueue, EveryoneWalksThroughAStretchAndTheLastPiecesAreShared) {
  const std::int64_t count = 1200;
  PanelQueue queue(count, count * kPanelBytes, 2, 2);
  // Four panels at a time.
  for (std::int64_t i = 0; i < count / 2; i += 4) {
    const auto range = queue.take(0);
    ASSERT_EQ(range.begin, i);
    ASSERT_EQ(range.end, i + 4);
  }
  // The other has not come yet: half of its stretch is taken over.
  auto range = queue.take(0);
  EXPECT_EQ(range.begin, count * 3 / 4);
  EXPECT_EQ(range.end, count * 3 / 4 + 4);
  range = queue.take(1);
  EXPECT_EQ(range.begin, count / 2);
  EXPECT_EQ(range.end, count / 2 + 4);
}

TEST(PanelQueue, OneThreadTakesEverythingWhenTheOthersDoNotCome) {
  for (const int threads : {1, 2, 3, 7, 64, 100}) {
    const std::int64_t count = 999;
    PanelQueue queue(count, count * kPanelBytes, 1, threads);
    std::vector<int> times(static_cast<std::size_t>(count), 0);
    for (auto range = queue.take(threads - 1); !range.empty(); range = queue.take(threads - 1)) {
      for (std::int64_t i = range.begin; i < range.end; ++i) ++times[static_cast<std::size_t>(i)];
    }
    for (const int n : times) ASSERT_EQ(n, 1);
    EXPECT_TRUE(queue.take(0).empty());
  }
}

TEST(PanelQueue, PanelsLargerThanAPieceComeOneByOne) {
  PanelQueue queue(3, std::int64_t{3} << 22, 1, 1);
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto range = queue.take(0);
    EXPECT_EQ(range.begin, i);
    EXPECT_EQ(range.end, i + 1);
  }
  EXPECT_TRUE(queue.take(0).empty());
}

TEST(PanelQueue, NothingIsNothing) { EXPECT_TRUE(PanelQueue(0, 0, 1, 2).take(1).empty()); }

TEST(PanelQueue, FewerPanelsThanThreads) {
  PanelQueue queue(2, 2 * kPanelBytes, 1, 8);
  std::int64_t panels = 0;
  for (auto range = queue.take(5); !range.empty(); range = queue.take(5))
    panels += range.end - range.begin;
  EXPECT_EQ(panels, 2);
}

TEST(PanelQueue, ThreadsTakeEveryPanelOnce) {
  // Also where threads share a stretch.
  for (const int stretches : {1, 2, 3}) {
    const std::int64_t count = 5000;
    PanelQueue queue(count, count * 1024, 1, stretches);
    std::vector<std::vector<PanelQueue::Range>> taken(3);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&queue, i, &own = taken[static_cast<std::size_t>(i)]] {
        for (auto range = queue.take(i); !range.empty(); range = queue.take(i))
          own.push_back(range);
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
}

}  // namespace
}  // namespace hearth::compute::cpu
