#include "measure/random_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "quant/quant.h"

namespace hearth::measure {
namespace {

using tensor::DType;

std::vector<DType> types() {
  std::vector<DType> result;
  for (const tensor::DTypeInfo& info : tensor::all_dtypes()) {
    if (has_random_blocks(info.dtype)) result.push_back(info.dtype);
  }
  return result;
}

class RandomBlocks : public ::testing::TestWithParam<DType> {};

TEST_P(RandomBlocks, DecodeToSmallNumbersAroundZero) {
  const DType dtype = GetParam();
  constexpr std::size_t kValues = std::size_t{1} << 18;
  std::vector<std::byte> blocks(tensor::row_bytes(dtype, kValues));
  fill_random_blocks(dtype, 1, blocks);
  std::vector<float> values(kValues);
  quant::decode(dtype, blocks, values);
  double sum = 0, squares = 0;
  for (const float value : values) {
    ASSERT_TRUE(std::isfinite(value));
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  const double root = std::sqrt(squares / kValues);
  EXPECT_GT(root, 0.01);
  EXPECT_LT(root, 0.04);
  EXPECT_LT(std::abs(sum / kValues), 0.5 * root);
}

TEST_P(RandomBlocks, DependOnTheSeedOnly) {
  const DType dtype = GetParam();
  std::vector<std::byte> a(tensor::row_bytes(dtype, 4096)), b(a.size()), c(a.size());
  fill_random_blocks(dtype, 1, a);
  fill_random_blocks(dtype, 1, b);
  fill_random_blocks(dtype, 2, c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

INSTANTIATE_TEST_SUITE_P(Types, RandomBlocks, ::testing::ValuesIn(types()),
                         [](const ::testing::TestParamInfo<DType>& test) {
                           return std::string(tensor::name(test.param));
                         });

TEST(RandomBlocksTypes, AreAllThatWeightsAreStoredIn) {
  for (const tensor::DTypeInfo& info : tensor::all_dtypes()) {
    // Integers and doubles are read, but nobody stores weights in them.
    const bool stored = info.quantized ? info.dtype != DType::kQ8_1
                                       : info.dtype == DType::kF32 || info.dtype == DType::kF16 ||
                                             info.dtype == DType::kBF16;
    EXPECT_EQ(has_random_blocks(info.dtype), stored && quant::can_decode(info.dtype)) << info.name;
  }
}

TEST(RandomBlocksTypes, TernaryCodesAreThoseOfEncoders) {
  std::vector<std::byte> blocks(tensor::row_bytes(DType::kTQ2_0, 4096));
  fill_random_blocks(DType::kTQ2_0, 3, blocks);
  std::vector<float> values(4096);
  quant::decode(DType::kTQ2_0, blocks, values);
  for (const float value : values) EXPECT_LT(std::abs(value), 0.03F);
}

}  // namespace
}  // namespace hearth::measure
