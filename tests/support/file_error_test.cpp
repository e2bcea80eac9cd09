#include "support/file_error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "support/error.h"

namespace hearth {
namespace {

Error error_of(int reason) {
  errno = reason;
  try {
    throw_file_error("write", "/some/where", "make room");
  } catch (const Error& error) {
    return error;
  }
}

TEST(FileError, SaysWhatTheSystemSaid) {
  const Error denied = error_of(EACCES);
  EXPECT_EQ(denied.what(), std::string("cannot write '/some/where': ") + std::strerror(EACCES));
  EXPECT_EQ(denied.hint(), "");
  EXPECT_EQ(denied.exit_code(), ExitCode::kFailure);
}

TEST(FileError, WhatCannotGrowDoesNotFit) {
  for (const int reason : {ENOSPC, EDQUOT, EFBIG}) {
    const Error full = error_of(reason);
    EXPECT_EQ(full.what(), std::string("cannot write '/some/where': ") + std::strerror(reason));
    EXPECT_EQ(full.hint(), "make room");
    EXPECT_EQ(full.exit_code(), ExitCode::kDoesNotFit);
  }
}

}  // namespace
}  // namespace hearth
