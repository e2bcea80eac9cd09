#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "quant/quant.h"
#include "shared_dir.h"
#include "support/ascii.h"
#include "support/file.h"

namespace hearth::quant {
namespace {

using hearth::testing::goldens_dir;
using tensor::DType;

std::vector<float> floats_of(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

std::vector<float> decoded(DType dtype, const std::string& blocks) {
  const tensor::DTypeInfo& type = tensor::info(dtype);
  EXPECT_EQ(blocks.size() % type.block_bytes, 0U);
  std::vector<float> values(blocks.size() / type.block_bytes * type.block_elements);
  // An odd address: blocks are not aligned in files.
  std::string shifted = "x" + blocks;
  decode(dtype, std::as_bytes(std::span(shifted)).subspan(1), values);
  return values;
}

void expect_bit_equal(const std::vector<float>& got, const std::vector<float>& want,
                      const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  std::size_t different = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(got[i]) == std::bit_cast<std::uint32_t>(want[i])) continue;
    if (different++ == 0) {
      ADD_FAILURE() << what << " value " << i << ": " << got[i] << " instead of " << want[i];
    }
  }
  EXPECT_EQ(different, 0U) << what;
}

class GoldenBlocks : public ::testing::TestWithParam<DType> {};

TEST_P(GoldenBlocks, DecodeToTheReferenceFloats) {
  const std::string name = ascii_lower(tensor::name(GetParam()));
  const std::filesystem::path folder = goldens_dir() / "quant";
  HEARTH_REQUIRE_FILE(folder / (name + ".q.bin"));
  ASSERT_TRUE(can_decode(GetParam()));
  expect_bit_equal(decoded(GetParam(), read_file(folder / (name + ".q.bin"))),
                   floats_of(read_file(folder / (name + ".deq.f32"))), name + ".q.bin");
  if (std::filesystem::exists(folder / (name + ".rand.bin"))) {
    expect_bit_equal(decoded(GetParam(), read_file(folder / (name + ".rand.bin"))),
                     floats_of(read_file(folder / (name + ".rand.f32"))), name + ".rand.bin");
  }
}

using enum DType;
INSTANTIATE_TEST_SUITE_P(Types, GoldenBlocks,
                         ::testing::Values(kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K,
                                           kQ3_K, kQ4_K, kQ5_K, kQ6_K, kIQ1_S, kIQ1_M, kIQ2_XXS,
                                           kIQ2_XS, kIQ2_S, kIQ3_XXS, kIQ3_S, kIQ4_NL, kIQ4_XS,
                                           kTQ1_0, kTQ2_0, kMXFP4, kNVFP4, kQ1_0, kQ2_0),
                         [](const auto& parameter) {
                           return std::string(tensor::name(parameter.param));
                         });

TEST(Decode, KnowsEveryTypeButTheActivationFormatQ8K) {
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    EXPECT_EQ(can_decode(type.dtype), type.dtype != kQ8_K) << type.name;
  }
}

/// Q8_1 has no golden floats, but its values are those of the Q8_0 encoding of the same input.
TEST(Decode, Q8_1GivesTheValuesOfQ8_0) {
  const std::filesystem::path folder = goldens_dir() / "quant";
  HEARTH_REQUIRE_FILE(folder / "q8_1.q.bin");
  expect_bit_equal(decoded(kQ8_1, read_file(folder / "q8_1.q.bin")),
                   floats_of(read_file(folder / "q8_0.deq.f32")), "q8_1.q.bin");
}

template <typename T>
void expect_numbers(DType dtype, const std::vector<T>& stored) {
  std::string bytes(stored.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), stored.data(), bytes.size());
  std::vector<float> want;
  for (const T value : stored) want.push_back(static_cast<float>(value));
  expect_bit_equal(decoded(dtype, bytes), want, std::string(tensor::name(dtype)));
}

TEST(Decode, PlainNumbersBecomeFloats) {
  expect_numbers<float>(kF32, {0.0F, -0.0F, 1.5F, -3e38F, 1e-44F});
  expect_numbers<double>(kF64, {0.0, 1.0 / 3.0, -1e300, 1e-50});
  expect_numbers<std::int8_t>(kI8, {0, 127, -128});
  expect_numbers<std::int16_t>(kI16, {0, 32767, -32768});
  expect_numbers<std::int32_t>(kI32, {0, 2147483647, -2147483647 - 1, 16777217});
  expect_numbers<std::int64_t>(kI64, {0, 9007199254740993, -1});
}

TEST(Decode, EveryHalfPrecisionPatternMatchesTheScalarConversion) {
  std::string bytes(2 * 65536, '\0');
  std::vector<float> want;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    std::memcpy(bytes.data() + 2 * bits, &half, 2);
    want.push_back(tensor::float_from_half(half));
  }
  expect_bit_equal(decoded(kF16, bytes), want, "every half");
}

TEST(Decode, EmptyRowsAreAllowed) {
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    if (can_decode(type.dtype)) decode(type.dtype, {}, {});
  }
}

}  // namespace
}  // namespace hearth::quant
