// Every case of goldens/arch, in every mode and cut, with float32 activations.
#include "golden/golden_modes.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hearth::testing {
namespace {

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, IsReproducedHoweverThePromptIsCut) {
  for (const Cut& cut : golden_cuts()) {
    const GoldenResult result = evaluate_golden(GetParam(), cut);
    EXPECT_LE(result.nmse, golden_tolerance(GetParam())) << cut.name << ": " << result.worst;
    EXPECT_TRUE(result.tokens_equal) << cut.name;
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const GoldenInfo& info : golden_list()) all.push_back(info.name);
  return all;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Golden);
INSTANTIATE_TEST_SUITE_P(Cases, Golden, ::testing::ValuesIn(names()), test_name);

}  // namespace
}  // namespace hearth::testing
