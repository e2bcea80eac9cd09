#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

namespace hearth::tensor {
namespace {

TEST(DType, HalfRoundTripsEveryFiniteValue) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = float_from_half(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(half_from_float(value), bits);
  }
}

TEST(DType, HalfRoundsToNearestEven) {
  EXPECT_EQ(half_from_float(1.0F + 0x1p-11F), 0x3C00);    // tie to even
  EXPECT_EQ(half_from_float(1.0F + 0x1.8p-10F), 0x3C02);  // tie to even, upwards
  EXPECT_EQ(half_from_float(65519.0F), 0x7BFF);
  EXPECT_EQ(half_from_float(65520.0F), 0x7C00);
  EXPECT_EQ(half_from_float(0x1p-25F), 0);
  EXPECT_EQ(half_from_float(0x1.8p-25F), 1);
}

TEST(DType, IdsAndNamesAgree) {
  for (const DTypeInfo& type : all_dtypes()) {
    EXPECT_EQ(dtype_from_id(static_cast<std::uint32_t>(type.dtype)), type.dtype);
    EXPECT_EQ(dtype_from_name(type.name), type.dtype);
  }
  EXPECT_EQ(dtype_from_id(4), std::nullopt);
  EXPECT_EQ(dtype_from_id(1000), std::nullopt);
  EXPECT_EQ(dtype_from_name("q4_k"), DType::kQ4_K);
}

}  // namespace
}  // namespace hearth::tensor
