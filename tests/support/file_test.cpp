#include "support/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "support/error.h"
#include "temporary_folder.h"

namespace hearth {
namespace {

using hearth::testing::TemporaryFolder;

constexpr std::size_t kFilePage = 65536;  // at least one page on every supported machine

std::size_t sum_of(std::span<const std::byte> bytes) {
  std::size_t sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<std::size_t>(byte);
  return sum;
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(Mapping, ShowsTheBytesOfTheFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("hello"));
  const Mapping mapping(folder / "a");
  EXPECT_EQ(std::memcmp(mapping.bytes().data(), "hello", 5), 0);
  EXPECT_EQ(mapping.bytes().size(), 5U);
  EXPECT_EQ(mapping.path(), folder / "a");
  EXPECT_FALSE(mapping.damaged());
  EXPECT_NO_THROW(mapping.check());
}

TEST(Mapping, CanBeReadAfterItsPagesWereForgotten) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("hello"));
  const Mapping mapping(folder / "a");
  mapping.forget_pages();
  EXPECT_EQ(std::memcmp(mapping.bytes().data(), "hello", 5), 0);
  EXPECT_NO_THROW(mapping.check());
}

TEST(Mapping, AnEmptyFileIsAnEmptyMapping) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string());
  const Mapping mapping(folder / "a");
  EXPECT_TRUE(mapping.bytes().empty());
  EXPECT_NO_THROW(mapping.check());
}

TEST(Mapping, RefusesWhatIsNoReadableFile) {
  const TemporaryFolder folder;
  EXPECT_THROW(Mapping(folder / "missing"), Error);
  EXPECT_THROW(Mapping(folder.path()), Error);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(Mapping(folder / "pipe"), Error);  // and does not wait for a writer
}

TEST(Mapping, MovesTakeTheBytesAlong) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("a"));
  write_file_atomically(folder / "b", std::string("bb"));
  Mapping mapping(folder / "a");
  Mapping other(std::move(mapping));
  EXPECT_EQ(other.bytes().size(), 1U);
  EXPECT_TRUE(mapping.bytes().empty());  // NOLINT: the moved-from state is part of the contract
  other = Mapping(folder / "b");
  EXPECT_EQ(other.bytes().size(), 2U);
  EXPECT_EQ(static_cast<char>(other.bytes()[1]), 'b');
}

TEST(Mapping, SurvivesTruncationAndSaysSo) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string(8 * kFilePage, '\1'));
  write_file_atomically(folder / "b", std::string(8 * kFilePage, '\1'));
  const Mapping cut(folder / "a");
  const Mapping whole(folder / "b");
  ASSERT_EQ(::truncate((folder / "a").c_str(), kFilePage), 0);
  EXPECT_EQ(sum_of(cut.bytes()), kFilePage);  // the lost pages read as zeros
  EXPECT_EQ(sum_of(whole.bytes()), 8 * kFilePage);
  EXPECT_TRUE(cut.damaged());
  EXPECT_THROW(cut.check(), Error);
  EXPECT_NO_THROW(whole.check());
}

TEST(Mapping, SurvivesTruncationUnderManyThreads) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string(64 * kFilePage, '\1'));
  const Mapping mapping(folder / "a");
  ASSERT_EQ(::truncate((folder / "a").c_str(), 0), 0);
  std::vector<std::thread> readers;
  std::vector<std::size_t> sums(4, 1);
  for (std::size_t& sum : sums) {
    readers.emplace_back([&] { sum = sum_of(mapping.bytes()); });
  }
  for (std::thread& reader : readers) reader.join();
  for (const std::size_t sum : sums) EXPECT_EQ(sum, 0U);
  EXPECT_THROW(mapping.check(), Error);
}

TEST(Mapping, DamageDoesNotStickToALaterMapping) {
  const TemporaryFolder folder;
  for (int round = 0; round < 3; ++round) {
    write_file_atomically(folder / "a", std::string(2 * kFilePage, '\1'));
    const Mapping mapping(folder / "a");
    EXPECT_NO_THROW(mapping.check());
    ASSERT_EQ(::truncate((folder / "a").c_str(), 0), 0);
    EXPECT_EQ(sum_of(mapping.bytes()), 0U);
    EXPECT_THROW(mapping.check(), Error);
  }
}

TEST(Mapping, SlotsAreGivenBack) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("a"));
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(Mapping(folder / "a").bytes().size(), 1U);
}

TEST(Mapping, TooManyAtOnceIsAnError) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("a"));
  std::vector<Mapping> mappings;
  EXPECT_THROW(
      {
        for (int i = 0; i < 2000; ++i) mappings.emplace_back(folder / "a");
      },
      Error);
  EXPECT_GE(mappings.size(), 1000U);
}

/// A bus error that is not ours still ends the process as it would have without the handler.
TEST(MappingDeathTest, OtherBusErrorsStayFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("a"));
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, SIG_DFL);  // a sanitizer's handler would print and exit instead
        const Mapping mapping(folder / "a");
        ::raise(SIGBUS);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST(ReadFile, ReadsAllAndKeepsTheLimit) {
  const TemporaryFolder folder;
  const std::string text(100000, 'x');
  write_file_atomically(folder / "a", text);
  EXPECT_EQ(read_file(folder / "a"), text);
  EXPECT_EQ(read_file(folder / "a", 100000), text);
  EXPECT_THROW((void)read_file(folder / "a", 99999), Error);
  EXPECT_THROW((void)read_file(folder / "missing"), Error);
}

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("old"));
  {
    AtomicFile file(folder / "a");
    file.write(as_bytes(std::string("new")));
    EXPECT_EQ(read_file(folder / "a"), "old");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  {
    AtomicFile file(folder / "a");
    file.write(as_bytes(std::string("new")));
    AtomicFile moved(std::move(file));
    moved.sync();
    EXPECT_EQ(read_file(folder / "a"), "old");
    moved.commit();
  }
  EXPECT_EQ(read_file(folder / "a"), "new");
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    (void)entry;
    ++files;
  }
  EXPECT_EQ(files, 1U);  // no temporary files are left
}

TEST(AtomicFile, GathersSmallWritesAndPassesLargeOnes) {
  const TemporaryFolder folder;
  std::string expected;
  AtomicFile file(folder / "a");
  for (int i = 0; i < 300; ++i) {
    const std::string piece(i % 50 == 0 ? (std::size_t{1} << 20) + 3 : 5000, static_cast<char>(i));
    file.write(as_bytes(piece));
    expected += piece;
  }
  file.commit();
  EXPECT_TRUE(read_file(folder / "a") == expected);
}

TEST(AtomicFile, AMissingFolderIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THROW(AtomicFile((folder / "none") / "a"), Error);
  EXPECT_THROW(write_file_atomically(folder.path(), std::string("x")), Error);
}

}  // namespace
}  // namespace hearth
