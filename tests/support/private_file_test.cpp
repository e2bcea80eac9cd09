// Folders and files that only their owner may read.
#include "support/private_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

unsigned mode_of(const fs::path& path) {
  struct stat status = {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 0777;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(PrivateFile, NewFoldersArePrivateAndOthersAreWhatTheyWere) {
  testing::TemporaryFolder home;
  make_private_folder(home / "a/b");
  EXPECT_EQ(mode_of(home / "a/b"), 0700U);
  ASSERT_EQ(::chmod((home / "a/b").c_str(), 0755), 0);
  make_private_folder(home / "a/b");
  EXPECT_EQ(mode_of(home / "a/b"), 0755U);
  close_to_others(home / "a/b");
  EXPECT_EQ(mode_of(home / "a/b"), 0700U);
  EXPECT_THROW(close_to_others(home / "c"), Error);
  write_file_atomically(home / "file", "x");
  EXPECT_THROW(make_private_folder(home / "file"), Error);
}

TEST(PrivateFile, OverwritesOnlyWhatIsKnown) {
  testing::TemporaryFolder home;
  write_file_atomically(home / "file", "abcdef");
  EXPECT_TRUE(overwrite(home / "file", 4, bytes_of("X")));
  EXPECT_TRUE(overwrite(home / "file", 5, bytes_of("Y"), 1, bytes_of("bc")));
  EXPECT_EQ(read_file(home / "file"), "abcdXY");
  EXPECT_FALSE(overwrite(home / "file", 0, bytes_of("Z"), 1, bytes_of("bd")));
  EXPECT_FALSE(overwrite(home / "file", 0, bytes_of("Z"), 5, bytes_of("Y.")));
  EXPECT_FALSE(overwrite(home / "none", 0, bytes_of("Z")));
  EXPECT_EQ(read_file(home / "file"), "abcdXY");
}

// The disk takes a part, and refuses the rest: the reason is that of the refusal.
TEST(PrivateFile, SecretsAreWholeOrNotThere) {
  testing::TemporaryFolder home;
  const fs::path path = home / "key";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10, 10};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(2);
    errno = 0;
    try {
      write_secret_file(path, bytes_of(std::string(65, '7')));
    } catch (const Error& error) {
      ::_exit(std::strstr(error.what(), std::strerror(EFBIG)) != nullptr ? 0 : 4);
    }
    ::_exit(3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(fs::exists(path));
  write_secret_file(path, bytes_of(std::string(65, '7')));
  EXPECT_EQ(read_file(path), std::string(65, '7'));
  EXPECT_EQ(mode_of(path), 0600U);
  EXPECT_THROW(write_secret_file(path, bytes_of("x")), Error);
}

}  // namespace
}  // namespace hearth
