#include "support/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace hearth {
namespace {

TEST(ThreadTeam, RunsTheBodyOnceOnEveryThread) {
  for (const int threads : {1, 2, 3, 4, 7}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.size(), threads);
    std::vector<int> counts(static_cast<std::size_t>(threads),
                            0);  // plain ints: the team must order the accesses
    for (int round = 0; round < 200; ++round) {
      team.run([&](int thread) { ++counts[static_cast<std::size_t>(thread)]; });
    }
    for (const int count : counts) EXPECT_EQ(count, 200);
  }
}

TEST(ThreadTeam, TheCallerIsThreadZero) {
  ThreadTeam team(3);
  std::thread::id zero;
  team.run([&](int thread) {
    if (thread == 0) zero = std::this_thread::get_id();
  });
  EXPECT_EQ(zero, std::this_thread::get_id());
}

TEST(ThreadTeam, WritesOfOneRunAreSeenByAllThreadsOfTheNext) {
  ThreadTeam team(4);
  std::vector<int> values(4, 0);
  for (int round = 1; round <= 300; ++round) {
    team.run([&](int thread) { values[static_cast<std::size_t>(thread)] = round; });
    std::atomic<int> wrong{0};
    team.run([&](int thread) {
      if (values[static_cast<std::size_t>((thread + 1) % 4)] != round) wrong.fetch_add(1);
    });
    ASSERT_EQ(wrong.load(), 0);
  }
}

TEST(ThreadTeam, SharedBodiesRunOnTheCallerAndAtMostOnceElsewhere) {
  for (const int threads : {2, 4}) {
    ThreadTeam team(threads);
    for (int round = 0; round < 2000; ++round) {
      // On the stack and not atomic: a late thread must neither run a body of an earlier round nor
      // still be running when share() returns.
      std::vector<int> counts(static_cast<std::size_t>(threads), 0);
      team.share([&](int thread) { ++counts[static_cast<std::size_t>(thread)]; });
      ASSERT_EQ(counts[0], 1);
      for (const int count : counts) ASSERT_LE(count, 1);
      if (round % 3 == 0) {
        team.run([&](int thread) { counts[static_cast<std::size_t>(thread)] = 2; });
        for (const int count : counts) ASSERT_EQ(count, 2);
      }
    }
  }
}

TEST(ThreadTeam, BoundThreadsWork) {
  // Numbers that do not exist are passed over.
  const std::vector<int> places{0, 0, 1 << 20, -1};
  ThreadTeam team(4, places);
  std::atomic<int> count{0};
  team.run([&](int) { count.fetch_add(1); });
  EXPECT_EQ(count.load(), 4);
}

TEST(ThreadTeam, WakesThreadsThatWentToSleep) {
  ThreadTeam team(3);
  std::atomic<int> count{0};
  for (int round = 0; round < 5; ++round) {
    team.run([&](int) { count.fetch_add(1); });
    // Usually longer than the team spins, so that the next run finds the threads asleep (no outcome
    // depends on it).
    for (int i = 0; i < 20000; ++i) std::this_thread::yield();
  }
  EXPECT_EQ(count.load(), 15);
}

TEST(ThreadTeam, ChunksCoverTheRangeOnce) {
  ThreadTeam team(4);
  for (const std::int64_t count : {0, 1, 7, 64, 1000}) {
    for (const std::int64_t chunk : {1, 3, 64}) {
      std::vector<std::atomic<int>> hits(static_cast<std::size_t>(count));
      team.for_chunks(count, chunk, [&](std::int64_t begin, std::int64_t end, int thread) {
        EXPECT_GE(thread, 0);
        EXPECT_LT(thread, 4);
        for (std::int64_t i = begin; i < end; ++i) hits[static_cast<std::size_t>(i)].fetch_add(1);
      });
      for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
    }
  }
}

TEST(ThreadTeam, ManyTeamsComeAndGo) {
  for (int i = 0; i < 50; ++i) {
    ThreadTeam team(3);
    if (i % 2 == 0) team.run([](int) {});
  }
}

// Late threads of one run meet the next run, and the end: what they miss must not be what wakes them.
TEST(ThreadTeam, LateThreadsMissNeitherTheNextRunNorTheEnd) {
  const auto teams = [] {
    std::atomic<int> calls{0};
    for (int i = 0; i < 400; ++i) {
      ThreadTeam team(2 + i % 3);
      const auto body = [&](int) noexcept { calls.fetch_add(1); };
      for (int k = 0; k < 4; ++k) team.share(body);
      if (i % 4 == 0) team.run(body);
    }
    EXPECT_GE(calls.load(), 400 * 4);
  };
  // More threads than processors, so that the system stops them anywhere.
  std::vector<std::thread> crowd;
  for (int i = 0; i < 4; ++i) crowd.emplace_back(teams);
  for (std::thread& one : crowd) one.join();
}

}  // namespace
}  // namespace hearth
