#include "support/write_target.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;
using hearth::testing::TemporaryFolder;

std::string refusal(const fs::path& path) {
  try {
    (void)write_target(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    return error.what();
  }
  return "none";
}

TEST(WriteTarget, IsAFileOrNothingYet) {
  const TemporaryFolder folder;
  EXPECT_EQ(write_target(folder / "new"), folder / "new");
  EXPECT_EQ(write_target("new"), "new");
  write_file_atomically(folder / "old", std::string("x"));
  EXPECT_EQ(write_target(folder / "old"), folder / "old");
}

TEST(WriteTarget, IsWhatALinkLeadsTo) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "there");
  write_file_atomically(folder / "there" / "file", std::string("old"));
  fs::create_symlink("there/file", folder / "link");
  EXPECT_EQ(write_target(folder / "link"), fs::canonical(folder / "there" / "file"));
  write_file_atomically(folder / "link", std::string("new"));
  EXPECT_EQ(fs::read_symlink(folder / "link"), "there/file");
  EXPECT_EQ(read_file(folder / "there" / "file"), "new");
}

TEST(WriteTarget, RefusesEverythingElse) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", folder / "link");
  fs::create_symlink("none", folder / "dangling");
  fs::create_symlink("loop", folder / "loop");
  EXPECT_NE(refusal(folder / "pipe").find("' is not a regular file"), std::string::npos);
  EXPECT_NE(refusal(folder / "link").find("' is not a regular file"), std::string::npos);
  EXPECT_NE(refusal(folder / "dangling").find("' is a link to nothing"), std::string::npos);
  EXPECT_NE(refusal(folder / "loop").find("' is a link to nothing"), std::string::npos);
  EXPECT_NE(refusal(folder.path()).find("' is a folder"), std::string::npos);
  EXPECT_NE(refusal("-").find("'-' is no name of a file"), std::string::npos);
  EXPECT_THROW(AtomicFile(folder / "pipe"), Error);
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
}

}  // namespace
}  // namespace hearth
