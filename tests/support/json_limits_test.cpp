#include "support/json_limits.h"

#include <gtest/gtest.h>

#include <string>

namespace hearth {
namespace {

std::string repeated(const std::string& part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

std::string object_of(int members) {
  std::string text = "{";
  for (int i = 0; i < members; ++i) text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":[1]";
  return text + "}";
}

TEST(JsonLimits, CountsDepth) {
  const JsonLimits limits{.depth = 3};
  EXPECT_EQ(json_excess("[[[1]],{\"a\":[]}]", limits), JsonExcess::kNone);
  EXPECT_EQ(json_excess("[[[[]]]]", limits), JsonExcess::kDepth);
  EXPECT_EQ(json_excess("[{\"a\":[{", limits), JsonExcess::kDepth);
  EXPECT_EQ(json_excess(std::string(1'000'000, '['), {}), JsonExcess::kDepth);
  EXPECT_EQ(json_excess("1", {.depth = 0}), JsonExcess::kNone);
}

TEST(JsonLimits, CountsMembersOfEachObject) {
  const JsonLimits limits{.members = 3};
  EXPECT_EQ(json_excess(object_of(3), limits), JsonExcess::kNone);
  EXPECT_EQ(json_excess(object_of(4), limits), JsonExcess::kMembers);
  EXPECT_EQ(json_excess("[" + object_of(3) + "," + object_of(3) + ",1,2,3,4]", limits),
            JsonExcess::kNone);
  EXPECT_EQ(json_excess("{\"a\":1,\"b\":" + object_of(3) + ",\"c\":1,\"d\":1}", limits),
            JsonExcess::kMembers);
  EXPECT_EQ(json_excess(object_of(1024)), JsonExcess::kNone);
  EXPECT_EQ(json_excess(object_of(1025)), JsonExcess::kMembers);
  EXPECT_EQ(json_excess(object_of(5000), {.members = JsonLimits::kAnyMembers}), JsonExcess::kNone);
}

TEST(JsonLimits, CountsValues) {
  const JsonLimits limits{.values = 10};
  EXPECT_EQ(json_excess("[" + repeated("1,", 8) + "1]", limits), JsonExcess::kNone);
  EXPECT_EQ(json_excess("[" + repeated("1,", 10) + "1]", limits), JsonExcess::kValues);
  EXPECT_EQ(json_excess(repeated("{}", 11), limits), JsonExcess::kValues);
}

TEST(JsonLimits, StringsHoldAnything) {
  const JsonLimits limits{.depth = 1, .values = 2, .members = 1};
  EXPECT_EQ(json_excess(R"(["[[{{,,,,\"[[,,\\"])", limits), JsonExcess::kNone);
  EXPECT_EQ(json_excess(R"(["\\",[1]])", limits), JsonExcess::kDepth);
  EXPECT_EQ(json_excess("[\"" + repeated("[", 100), limits), JsonExcess::kNone);  // no end
  EXPECT_EQ(json_excess("\"\\", limits), JsonExcess::kNone);
  EXPECT_EQ(json_excess("", limits), JsonExcess::kNone);
}

}  // namespace
}  // namespace hearth
