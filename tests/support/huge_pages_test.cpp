#include "support/huge_pages.h"

#include <gtest/gtest.h>

#include <cstddef>

#include "resident_pages.h"

namespace hearth {
namespace {

using testing::resident_pages;

TEST(HugePages, PopulateTakesAllPagesAndKeepsWhatTheyHold) {
  HugePages memory(5 * HugePages::kAlignment + 12345);
  const auto before = resident_pages(memory.bytes());
  EXPECT_LT(before.in_memory, before.all);
  memory.data()[HugePages::kAlignment + 77] = std::byte{42};
  populate(memory.bytes());
  const auto after = resident_pages(memory.bytes());
  EXPECT_EQ(after.in_memory, after.all);
  EXPECT_EQ(memory.data()[HugePages::kAlignment + 77], std::byte{42});
  EXPECT_EQ(memory.data()[memory.size() - 1], std::byte{0});
}

TEST(HugePages, PopulateTakesPartsOfPages) {
  HugePages memory(3 * HugePages::kAlignment);
  populate(memory.bytes().subspan(5, 7));
  populate({});
  EXPECT_EQ(resident_pages(memory.bytes().first(4096)).in_memory, 1U);
}

}  // namespace
}  // namespace hearth
