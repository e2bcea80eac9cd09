#include "state/store_key.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "support/error.h"
#include "support/private_file.h"
#include "temporary_folder.h"

namespace hearth::state {
namespace {

namespace fs = std::filesystem;
using hearth::testing::TemporaryFolder;

TEST(StoreKeys, AreReadFromPrivateFilesOnly) {
  TemporaryFolder home;
  const fs::path file = home / "key";
  StoreKey::make(file);
  struct stat status = {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_THROW(StoreKey::make(file), Error);
  const auto key = StoreKey::read(file);
  EXPECT_EQ(StoreKey::read(file)->id(), key->id());
  StoreKey::make(home / "other");
  EXPECT_NE(StoreKey::read(home / "other")->id(), key->id());
  ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
  EXPECT_THROW((void)StoreKey::read(file), Error);

  std::array<std::byte, StoreKey::kBytes> sevens{};
  sevens.fill(std::byte{7});
  const auto written = [&](const std::string& bytes) {
    fs::remove(file);
    write_secret_file(file, std::as_bytes(std::span(bytes)));
    return StoreKey::read(file)->id();
  };
  const auto seven = StoreKey(sevens).id();
  EXPECT_EQ(written(std::string(32, '\7')), seven);
  std::string digits;
  for (int i = 0; i < 32; ++i) digits += "07";
  EXPECT_EQ(written(digits), seven);
  EXPECT_EQ(written(digits + "\r\n"), seven);
  for (const std::string& wrong :
       {std::string(), std::string("0707"), digits + "07", std::string(31, '\7'),
        digits.substr(0, 63) + "x", std::string(5000, '0')}) {
    EXPECT_THROW((void)written(wrong), Error) << wrong;
  }
}

}  // namespace
}  // namespace hearth::state
