#include "measure/disk_speed.h"

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace hearth::measure {
namespace {

DiskPlan quick_plan() {
  DiskPlan plan;
  plan.seconds = 0.1;
  plan.file_bytes = std::uint64_t{16} << 20;
  plan.blocks = {4096, 65536};
  plan.queue_depths = {1, 4};
  return plan;
}

TEST(DiskSpeed, MeasuresEveryBlockAndDepthAndLeavesNothing) {
  testing::TemporaryFolder folder;
  const DiskSpeed speed = measure_disk(folder.path(), quick_plan());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  if (!speed.trouble.empty()) GTEST_SKIP() << speed.trouble;
  EXPECT_GT(speed.sequential_bytes_per_second, 0);
  ASSERT_EQ(speed.random.size(), 4U);
  EXPECT_EQ(speed.random[0].block_bytes, 4096U);
  EXPECT_EQ(speed.random[3].queue_depth, 4);
  for (const machine::RandomRead& read : speed.random) EXPECT_GT(read.bytes_per_second, 0);
}

TEST(DiskSpeed, SaysWhyNot) {
  testing::TemporaryFolder folder;
  DiskPlan plan = quick_plan();
  plan.file_bytes = std::uint64_t{1} << 60;
  const DiskSpeed full = measure_disk(folder.path(), plan);
  EXPECT_TRUE(full.trouble.starts_with("only ") && full.trouble.ends_with(" GB are free"))
      << full.trouble;
  EXPECT_EQ(full.sequential_bytes_per_second, 0);
  EXPECT_EQ(measure_disk(folder.path() / "missing", quick_plan()).trouble, "only 0.0 GB are free");
}

TEST(DiskSpeed, StopsWhenAsked) {
  testing::TemporaryFolder folder;
  const std::atomic<bool> stop{true};
  DiskPlan plan = quick_plan();
  plan.stop = &stop;
  const DiskSpeed speed = measure_disk(folder.path(), plan);
  EXPECT_FALSE(speed.trouble.empty());
  EXPECT_TRUE(speed.random.empty());
}

}  // namespace
}  // namespace hearth::measure
