#include "serve/waiting_line.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include "generate/scheduler.h"

namespace hearth::serve {
namespace {

TEST(WaitingLine, OneAtATime) {
  WaitingLine line(100);
  std::atomic<int> inside{0}, most{0}, turns{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 200; ++turn) {
        const WaitingLine::Turn held = line.wait([] {});
        most = std::max(most.load(), ++inside);
        ++turns;
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(turns, 800);
}

TEST(WaitingLine, WhoeverGivesUpLeaves) {
  WaitingLine line(100);
  std::promise<void> waits;
  std::thread impatient;
  {
    const WaitingLine::Turn held = line.wait([] {});
    impatient = std::thread([&] {
      bool asked = false;
      EXPECT_THROW((void)line.wait([&] {
        if (!asked) waits.set_value();
        asked = true;
        throw std::runtime_error("gone");
      }),
                   std::runtime_error);
    });
    waits.get_future().wait();
  }
  impatient.join();
  const WaitingLine::Turn next = line.wait([] { FAIL() << "nobody is before it"; });
}

TEST(WaitingLine, IsNotLongerThanAllowed) {
  WaitingLine line(0);
  const WaitingLine::Turn held = line.wait([] {});
  EXPECT_THROW((void)line.wait([] {}), generate::QueueFull);
}

}  // namespace
}  // namespace hearth::serve
