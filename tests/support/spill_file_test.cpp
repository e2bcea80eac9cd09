// Files for what has no room in memory.
#include "support/spill_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "support/error.h"
#include "support/private_file.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = SpillFile::kAlignment;

class SpillFileTest : public ::testing::Test {
 protected:
  SpillFileTest() {
    std::string name = (fs::temp_directory_path() / "hearth-spill-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~SpillFileTest() override { fs::remove_all(folder_); }
  /// Aligned memory of three blocks, every byte `value`.
  static std::span<std::byte> blocks(unsigned char value) {
    alignas(kBlock) static std::byte memory[2][3 * kBlock];
    std::byte* const bytes = memory[value == 0 ? 0 : 1];
    std::memset(bytes, value, 3 * kBlock);
    return {bytes, 3 * kBlock};
  }
  fs::path folder_;
};

TEST_F(SpillFileTest, GivesBackWhatWasWrittenAndHasNoName) {
  const SpillFile file(folder_ / "new", 10 * kBlock);
  EXPECT_EQ(file.size(), 10 * kBlock);
  EXPECT_TRUE(fs::is_empty(folder_ / "new"));
  EXPECT_EQ(fs::status(folder_ / "new").permissions(), fs::perms::owner_all);
  file.write(7 * kBlock, blocks(7));
  file.write(0, blocks(3));
  const std::span<std::byte> read = blocks(0);
  file.read(7 * kBlock, read);
  EXPECT_EQ(std::memcmp(read.data(), blocks(7).data(), read.size()), 0);
  file.read(0, read);
  EXPECT_EQ(std::memcmp(read.data(), blocks(3).data(), read.size()), 0);
}

TEST_F(SpillFileTest, TakesItsSpaceWhenItIsMade) {
  const auto before = free_bytes(folder_);
  ASSERT_TRUE(before);
  EXPECT_THROW(SpillFile(folder_, *before), Error) << "something is left to others";
  EXPECT_THROW(SpillFile(folder_, std::uint64_t{1} << 60), Error);
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_THROW(SpillFile("/dev/null/x", kBlock), Error);
}

TEST_F(SpillFileTest, EndsWhereItEnds) {
  const SpillFile file(folder_, 4 * kBlock);
  EXPECT_THROW(file.read(3 * kBlock, blocks(0)), Error);
}

}  // namespace
}  // namespace hearth
