#include "spec/rope_scaling.h"

#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace hearth::spec {
namespace {

TEST(RopeScaling, IsReadAsItIsWritten) {
  for (const char* text : {"none", "linear:2", "yarn:4", "yarn:4:32768", "linear:1.5:2048"})
    EXPECT_EQ(parse_rope_scaling(text).name(), text);
  const RopeScaling yarn = parse_rope_scaling("yarn:2.5:4096");
  EXPECT_EQ(yarn.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(yarn.factor, 2.5);
  EXPECT_EQ(yarn.original, 4096);
}

TEST(RopeScaling, RefusesWhatItIsNot) {
  for (const char* text :
       {"", "yarn", "yarn:", "yarn:0.5", "yarn:x", "yarn:2x", "yarn:2:", "yarn:2:0", "yarn:2:3:4",
        "yarn:inf", "yarn:nan", "linear:5000", "ntk:2", "none:2", "YARN:2"}) {
    EXPECT_THROW((void)parse_rope_scaling(text), Error) << text;
  }
}

}  // namespace
}  // namespace hearth::spec
