// Which pages of a range of memory the system has given real memory.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace hearth::testing {

struct ResidentPages {
  std::size_t all, in_memory;
};

/// Of `bytes`, which begin with a page.
[[nodiscard]] inline ResidentPages resident_pages(std::span<std::byte> bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((bytes.size() + page - 1) / page);
  EXPECT_EQ(mincore(bytes.data(), bytes.size(), resident.data()), 0);
  const auto in_memory = std::count_if(resident.begin(), resident.end(),
                                       [](unsigned char each) { return (each & 1) != 0; });
  return {resident.size(), static_cast<std::size_t>(in_memory)};
}

}  // namespace hearth::testing
