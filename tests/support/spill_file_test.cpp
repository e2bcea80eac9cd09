// Files for what has no room in memory.
#include "support/spill_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "support/error.h"
#include "support/private_file.h"
#include "temporary_folder.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = SpillFile::kAlignment;

class SpillFileTest : public ::testing::Test {
 protected:
  /// Aligned memory of three blocks, every byte `value`.
  static std::span<std::byte> blocks(unsigned char value) {
    alignas(kBlock) static std::byte memory[2][3 * kBlock];
    std::byte* const bytes = memory[value == 0 ? 0 : 1];
    std::memset(bytes, value, 3 * kBlock);
    return {bytes, 3 * kBlock};
  }
  hearth::testing::TemporaryFolder home_;
  fs::path folder_ = home_.path();
};

TEST_F(SpillFileTest, GivesBackWhatWasWrittenAndHasNoName) {
  const SpillFile file(folder_ / "new", 10 * kBlock);
  EXPECT_EQ(file.size(), 10 * kBlock);
  EXPECT_TRUE(fs::is_empty(folder_ / "new"));
  EXPECT_EQ(fs::status(folder_ / "new").permissions(), fs::perms::owner_all);
  constexpr auto kOpen = fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec;
  fs::permissions(folder_, kOpen);
  EXPECT_NO_THROW(SpillFile(folder_, kBlock));
  EXPECT_EQ(fs::status(folder_).permissions(), kOpen) << "what else is there is not ours to close";
  file.write(7 * kBlock, blocks(7));
  file.write(0, blocks(3));
  const std::span<std::byte> read = blocks(0);
  file.read(7 * kBlock, read);
  EXPECT_EQ(std::memcmp(read.data(), blocks(7).data(), read.size()), 0);
  file.read(0, read);
  EXPECT_EQ(std::memcmp(read.data(), blocks(3).data(), read.size()), 0);
}

/// Whether files in `folder` can be read past the page cache, in blocks of kAlignment bytes.
bool reads_directly(const fs::path& folder) {
  const fs::path path = folder / "probe";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0 || ::ftruncate(descriptor, 2 * kBlock) != 0) return false;
  alignas(kBlock) std::array<std::byte, kBlock> block{};
  const bool can = ::fcntl(descriptor, F_SETFL, O_DIRECT) == 0 &&
                   ::pwrite(descriptor, block.data(), kBlock, kBlock) == ssize_t{kBlock} &&
                   ::pread(descriptor, block.data(), kBlock, kBlock) == ssize_t{kBlock};
  ::close(descriptor);
  fs::remove(path);
  return can;
}

// Both ways give the same; each is the one that it should be.
TEST_F(SpillFileTest, PassesByTheCacheWhereTheFileSystemCan) {
  const SpillFile large(folder_, 4 * kBlock);
  EXPECT_EQ(large.direct(), reads_directly(folder_));
  const SpillFile small(folder_, kBlock);  // too small to try
  EXPECT_FALSE(small.direct());
  const auto first = [](std::span<std::byte> bytes) { return bytes.first(kBlock); };
  for (const SpillFile* file : {&large, &small}) {
    file->write(0, first(blocks(9)));
    const std::span<std::byte> read = first(blocks(0));
    file->read(0, read);
    EXPECT_EQ(std::memcmp(read.data(), blocks(9).data(), read.size()), 0) << file->direct();
  }
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
