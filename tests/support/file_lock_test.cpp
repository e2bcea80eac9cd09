#include "support/file_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support/error.h"
#include "temporary_folder.h"

namespace hearth {
namespace {

TEST(FileLock, IsHeldByOneAtATime) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "lock";
  {
    const FileLock lock = FileLock::take(path);
    EXPECT_FALSE(FileLock::try_take(path).has_value());
    EXPECT_THROW((void)FileLock::take_within(path, std::chrono::milliseconds(0)), Error);
  }
  EXPECT_TRUE(FileLock::try_take(path).has_value());
}

TEST(FileLock, ARemovedFileLocksNobodyOut) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "lock";
  const FileLock old = FileLock::take(path);
  old.remove_file();
  EXPECT_TRUE(FileLock::try_take(path).has_value()) << "the name means a new file now";
}

TEST(FileLock, WaitingEndsWhenTheHolderIsDone) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "lock";
  std::optional<FileLock> held(FileLock::take(path));
  std::atomic<bool> waits{false};
  std::thread other([&] { (void)FileLock::take(path, [&] { waits.store(true); }); });
  while (!waits.load()) std::this_thread::yield();
  held.reset();
  other.join();
}

TEST(FileLock, AFolderThatIsNotThereIsAnError) {
  EXPECT_THROW((void)FileLock::take("/nowhere/at/all/lock"), Error);
}

}  // namespace
}  // namespace hearth
