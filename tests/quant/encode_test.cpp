#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quant/quant.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::quant {
namespace {

using hearth::testing::goldens_dir;
using tensor::DType;
using enum DType;

std::vector<float> reference_input() {
  const std::string bytes = read_file(goldens_dir() / "quant" / "input.f32");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::string encoded(DType dtype, const std::vector<float>& values) {
  std::string blocks(tensor::row_bytes(dtype, values.size()), '\x55');
  encode(dtype, values, std::as_writable_bytes(std::span(blocks)));
  return blocks;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& values) {
  const std::string blocks = encoded(dtype, values);
  std::vector<float> back(values.size());
  decode(dtype, std::as_bytes(std::span(blocks)), back);
  return back;
}

double relative_squared_error(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * static_cast<double>(got[i] - want[i]);
    power += want[i] * static_cast<double>(want[i]);
  }
  return error / power;
}

TEST(Encode, KnowsExactlyTheDocumentedTypes) {
  std::string known;
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    if (can_encode(type.dtype)) known += std::string(type.name) + " ";
  }
  EXPECT_EQ(known, "F32 F16 Q4_0 Q8_0 Q4_K Q6_K BF16 ");
}

/// These have only one sensible encoding, so the bytes are those of the reference.
TEST(Encode, SimpleTypesGiveTheReferenceBytes) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "quant" / "input.f32");
  const std::vector<float> input = reference_input();
  for (const auto& [dtype, name] : {std::pair(kF16, "f16"), std::pair(kBF16, "bf16"),
                                    std::pair(kQ8_0, "q8_0"), std::pair(kQ4_0, "q4_0")}) {
    EXPECT_TRUE(encoded(dtype, input) ==
                read_file(goldens_dir() / "quant" / (std::string(name) + ".q.bin")))
        << name;
  }
}

/// Errors of the reference encoders (types.json): Q4_K 0.00466, Q6_K 0.000328. The straightforward
/// method loses about a fifth.
TEST(Encode, KBlocksStayCloseToTheReferenceEncoders) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "quant" / "input.f32");
  const std::vector<float> input = reference_input();
  EXPECT_LT(relative_squared_error(round_trip(kQ4_K, input), input), 0.0058);
  EXPECT_LT(relative_squared_error(round_trip(kQ6_K, input), input), 0.00039);
}

TEST(Encode, ZerosStayZeroInEveryType) {
  const std::vector<float> zeros(512, 0.0F);
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    if (!can_encode(type.dtype)) continue;
    for (const float value : round_trip(type.dtype, zeros)) EXPECT_EQ(value, 0.0F) << type.name;
  }
}

/// Nothing here has a good encoding in every type, but nothing may be undefined (UBSan watches).
TEST(Encode, OddValuesAreDefined) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float odd : {infinity, -infinity, nan, 3e38F, -3e38F, 1e-45F, -1e-40F, 70000.0F}) {
    std::vector<float> mixed(512, 0.25F);
    mixed[37] = odd;
    const std::vector<float> uniform(512, odd);
    for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
      if (!can_encode(type.dtype)) continue;
      EXPECT_EQ(round_trip(type.dtype, mixed).size(), 512U);
      EXPECT_EQ(round_trip(type.dtype, uniform).size(), 512U);
    }
  }
}

TEST(Encode, ConstantRowsAreNearlyExact) {
  for (const float constant : {0.37F, -2.5F, 1e-2F, 100.0F}) {
    const std::vector<float> values(256, constant);
    for (const DType dtype : {kQ8_0, kQ4_0, kQ4_K, kQ6_K}) {
      for (const float value : round_trip(dtype, values)) {
        EXPECT_NEAR(value, constant, std::fabs(constant) * 0.01F) << tensor::name(dtype);
      }
    }
  }
}

}  // namespace
}  // namespace hearth::quant
