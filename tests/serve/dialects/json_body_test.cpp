#include "serve/dialects/json_body.h"

#include <gtest/gtest.h>

namespace hearth::serve {
namespace {

TEST(JsonBody, Parses) { EXPECT_EQ(parse_object(R"({"a":[1,{"b":"c"}]})")["a"][1]["b"], "c"); }

}  // namespace
}  // namespace hearth::serve
