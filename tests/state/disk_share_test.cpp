// What conversations get of the disk that --kv-disk allows.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "state/disk_store.h"
#include "state/store_key.h"

namespace hearth::state {
namespace {

TEST(DiskStoreShare, TextsGetWhatAContextLeavesAndAreToldWhatThatMeans) {
  std::vector<std::string> said;
  DiskStoreOptions options;
  options.most_bytes = 10'000'000;
  options.warn = [&said](const std::string& warning) { said.push_back(warning); };
  EXPECT_EQ(bytes_for_texts(options, 0), 10'000'000U);
  EXPECT_EQ(bytes_for_texts(options, 9'000'000), 1'000'000U);
  EXPECT_EQ(said, std::vector<std::string>());
  for (const std::uint64_t spilled : {9'000'001U, 10'000'000U, 4'000'000'000U})
    EXPECT_EQ(bytes_for_texts(options, spilled), 0U);
  ASSERT_EQ(said.size(), 3U);
  EXPECT_NE(said[0].find("not kept"), std::string::npos);
  said.clear();
  options.key = std::make_shared<const StoreKey>(std::array<std::byte, StoreKey::kBytes>{});
  EXPECT_EQ(bytes_for_texts(options, 0), 10'000'000U);
  EXPECT_EQ(said.size(), 0U);
  EXPECT_EQ(bytes_for_texts(options, 1), 9'999'999U);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find("not encrypted"), std::string::npos);
}

}  // namespace
}  // namespace hearth::state
