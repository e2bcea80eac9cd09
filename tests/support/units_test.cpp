#include "support/units.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(Units, SizesToCompareHaveDigits) {
  EXPECT_EQ(precise_size_text(0), "0.0 MB");
  EXPECT_EQ(precise_size_text(710'260'000), "710.3 MB");
  EXPECT_EQ(precise_size_text(6'520'000'000), "6.52 GB");
  EXPECT_EQ(precise_size_text(UINT64_MAX), "18446744073.71 GB");
}

}  // namespace
}  // namespace hearth
