#include "support/huge_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace hearth {
namespace {

/// How many pages of the system hold `bytes`, and how many of these are in memory.
std::pair<std::size_t, std::size_t> pages_of(std::span<std::byte> bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((bytes.size() + page - 1) / page);
  EXPECT_EQ(mincore(bytes.data(), bytes.size(), resident.data()), 0);
  const auto in_memory = std::count_if(resident.begin(), resident.end(),
                                       [](unsigned char each) { return (each & 1) != 0; });
  return {resident.size(), static_cast<std::size_t>(in_memory)};
}

TEST(HugePages, PopulateTakesAllPagesAndKeepsWhatTheyHold) {
  HugePages memory(5 * HugePages::kAlignment + 12345);
  EXPECT_LT(pages_of(memory.bytes()).second, pages_of(memory.bytes()).first);
  memory.data()[HugePages::kAlignment + 77] = std::byte{42};
  populate(memory.bytes());
  const auto [all, in_memory] = pages_of(memory.bytes());
  EXPECT_EQ(in_memory, all);
  EXPECT_EQ(memory.data()[HugePages::kAlignment + 77], std::byte{42});
  EXPECT_EQ(memory.data()[memory.size() - 1], std::byte{0});
}

TEST(HugePages, PopulateTakesPartsOfPages) {
  HugePages memory(3 * HugePages::kAlignment);
  populate(memory.bytes().subspan(5, 7));
  populate({});
  EXPECT_EQ(pages_of(memory.bytes().first(4096)).second, 1U);
}

}  // namespace
}  // namespace hearth
