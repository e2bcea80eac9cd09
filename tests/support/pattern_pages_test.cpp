#include "support/pattern_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace hearth {
namespace {

constexpr std::size_t kPage = PatternMemory::kPage;

PatternPages numbered_pages(std::size_t count) {
  PatternPages pages(count * kPage);
  for (std::size_t i = 0; i < count; ++i) {
    std::fill_n(pages.bytes().begin() + static_cast<std::ptrdiff_t>(i * kPage), kPage,
                static_cast<std::byte>(i + 1));
  }
  pages.seal();
  return pages;
}

int page_number(const PatternMemory& memory, std::size_t page) {
  return static_cast<int>(memory.bytes()[page * kPage]);
}

TEST(PatternMemory, RepeatsPatternsFromTheirPhase) {
  const PatternPages pattern = numbered_pages(3);
  PatternMemory memory(10 * kPage);
  memory.bytes()[0] = std::byte{99};
  memory.repeat(pattern, 2 * kPage, 6 * kPage + 1, kPage);  // seven pages
  EXPECT_EQ(page_number(memory, 0), 99);
  EXPECT_EQ(page_number(memory, 1), 0);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(page_number(memory, 2 + i), static_cast<int>((i + 1) % 3 + 1)) << i;
  }
  EXPECT_EQ(page_number(memory, 9), 0);
}

TEST(PatternMemory, KeepsItsContentsWhenPagesAreForgotten) {
  const PatternPages pattern = numbered_pages(2);
  PatternMemory memory(4 * kPage);
  memory.bytes()[0] = std::byte{7};
  memory.repeat(pattern, kPage, 2 * kPage, 0);
  memory.forget();
  EXPECT_EQ(page_number(memory, 0), 7);
  EXPECT_EQ(page_number(memory, 2), 2);
}

TEST(PatternMemory, OutlivesItsPatternsAndMoves) {
  PatternMemory memory(kPage);
  {
    const PatternPages pattern = numbered_pages(1);
    memory.repeat(pattern, 0, 1, 0);
  }
  const PatternMemory moved = std::move(memory);
  EXPECT_EQ(page_number(moved, 0), 1);
}

}  // namespace
}  // namespace hearth
