#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
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
using enum DType;

constexpr std::size_t kColumns = 512;

std::vector<float> golden_floats(const std::string& name) {
  const std::string bytes = read_file(goldens_dir() / "quant" / name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::string encoded(DType dtype, std::span<const float> row,
                    std::span<const float> importance = {}) {
  std::string blocks(tensor::row_bytes(dtype, row.size()), '\x55');
  encode_row(dtype, row, importance, std::as_writable_bytes(std::span(blocks)));
  return blocks;
}

std::vector<float> decoded(DType dtype, const std::string& blocks, std::size_t size) {
  std::vector<float> back(size);
  decode(dtype, std::as_bytes(std::span(blocks)), back);
  return back;
}

std::vector<float> round_trip(DType dtype, std::span<const float> row,
                              std::span<const float> importance = {}) {
  return decoded(dtype, encoded(dtype, row, importance), row.size());
}

/// Σ weight (a - b)²; an empty `weights` counts as ones.
double squared_error(std::span<const float> a, std::span<const float> b,
                     std::span<const float> weights = {}) {
  double error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    error += (weights.empty() ? 1.0 : static_cast<double>(weights[i])) * difference * difference;
  }
  return error;
}

double power(std::span<const float> a) {
  return squared_error(a, std::vector<float>(a.size(), 0.0F));
}

std::vector<float> gaussian(std::size_t size, unsigned seed, float scale = 1.0F) {
  // Sums of uniform numbers: the standard's normal_distribution differs between libraries.
  std::mt19937 random(seed);
  std::vector<float> values(size);
  for (float& value : values) {
    float sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<float>(random() >> 8) * 0x1p-24F;
    value = (sum - 6.0F) * scale;
  }
  return values;
}

std::vector<DType> encodable() {
  std::vector<DType> types;
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    if (can_encode(type.dtype)) types.push_back(type.dtype);
  }
  return types;
}

TEST(Encode, KnowsExactlyTheDocumentedTypes) {
  std::string known;
  std::string needing;
  for (const DType dtype : encodable()) {
    known += std::string(tensor::name(dtype)) + " ";
    if (needs_importance(dtype)) needing += std::string(tensor::name(dtype)) + " ";
    EXPECT_TRUE(can_decode(dtype));
  }
  EXPECT_EQ(known,
            "F32 F16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ2_XXS IQ2_XS IQ3_XXS "
            "IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 Q2_0 ");
  EXPECT_EQ(needing, "IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ2_S IQ1_M ");
}

TEST(Encode, FloatsGiveTheReferenceBytes) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "quant" / "input.f32");
  const std::vector<float> input = golden_floats("input.f32");
  for (const auto& [dtype, name] : {std::pair(kF16, "f16"), std::pair(kBF16, "bf16")}) {
    EXPECT_TRUE(encoded(dtype, input) ==
                read_file(goldens_dir() / "quant" / (std::string(name) + ".q.bin")))
        << name;
  }
}

/// `mean`: the mean ratio of row errors reached when this was written, rounded up; at most 1.
struct Golden {
  DType dtype;
  double mean;
};

class GoldenErrors : public ::testing::TestWithParam<Golden> {};

/// Error per row against that of the reference encoder on the same input (goldens/quant).
TEST_P(GoldenErrors, AreAtMostThoseOfTheReference) {
  const DType dtype = GetParam().dtype;
  const std::string name = ascii_lower(tensor::name(dtype));
  HEARTH_REQUIRE_FILE(goldens_dir() / "quant" / (name + ".deq.f32"));
  const std::vector<float> input = golden_floats("input.f32");
  const std::vector<float> reference = golden_floats(name + ".deq.f32");
  // The reference used importance for these only.
  const bool important = dtype == kIQ2_XXS || dtype == kIQ2_XS || dtype == kIQ1_S;
  const std::vector<float> importance =
      important ? golden_floats("imatrix.f32") : std::vector<float>();
  // With importance both the plain and the weighted error count.
  for (const bool weighted : {false, true}) {
    if (weighted && !important) continue;
    const std::span<const float> weights = weighted ? importance : std::span<const float>();
    double sum = 0;
    int rows = 0;
    for (std::size_t at = 0; at < input.size(); at += kColumns) {
      const std::span<const float> row(input.data() + at, kColumns);
      const double error = squared_error(round_trip(dtype, row, importance), row, weights);
      const double limit =
          squared_error(std::span<const float>(reference.data() + at, kColumns), row, weights);
      if (limit == 0) {
        EXPECT_EQ(error, 0) << name << " row " << at / kColumns;
        continue;
      }
      EXPECT_LE(error, 1.05 * limit) << name << " row " << at / kColumns;
      sum += error / limit;
      ++rows;
    }
    EXPECT_LE(sum / rows, GetParam().mean) << name << (weighted ? " weighted" : "");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, GoldenErrors,
    ::testing::Values(Golden{kF16, 1}, Golden{kBF16, 1}, Golden{kQ4_0, 0.78}, Golden{kQ4_1, 0.54},
                      Golden{kQ5_0, 0.71}, Golden{kQ5_1, 0.51}, Golden{kQ8_0, 0.69},
                      Golden{kQ2_K, 0.52}, Golden{kQ3_K, 0.75}, Golden{kQ4_K, 0.7},
                      Golden{kQ5_K, 0.62}, Golden{kQ6_K, 0.72}, Golden{kIQ1_S, 0.62},
                      Golden{kIQ1_M, 0.36}, Golden{kIQ2_XXS, 0.71}, Golden{kIQ2_XS, 0.71},
                      Golden{kIQ2_S, 0.58}, Golden{kIQ3_XXS, 0.54}, Golden{kIQ3_S, 0.45},
                      Golden{kIQ4_NL, 0.84}, Golden{kIQ4_XS, 0.82}, Golden{kTQ1_0, 0.5},
                      Golden{kTQ2_0, 0.5}, Golden{kMXFP4, 0.87}, Golden{kNVFP4, 0.6},
                      Golden{kQ1_0, 1}, Golden{kQ2_0, 0.33}),
    [](const auto& parameter) { return std::string(tensor::name(parameter.param.dtype)); });

TEST(Encode, ZerosStayZeroInEveryType) {
  const std::vector<float> zeros(kColumns, 0.0F);
  const std::vector<float> importance(kColumns, 1.0F);
  for (const DType dtype : encodable()) {
    for (const float value : round_trip(dtype, zeros)) EXPECT_EQ(value, 0.0F);
    for (const float value : round_trip(dtype, zeros, importance)) EXPECT_EQ(value, 0.0F);
  }
}

/// A block of zeros among others.
TEST(Encode, ZerosStayZeroBesideOtherBlocks) {
  std::vector<float> row = gaussian(2 * kColumns, 3);
  std::fill(row.begin() + 256, row.begin() + 512, 0.0F);
  for (const DType dtype : encodable()) {
    const std::vector<float> back = round_trip(dtype, row, gaussian(2 * kColumns, 4));
    EXPECT_TRUE(std::all_of(back.begin() + 256, back.begin() + 512, [](float v) { return v == 0; }))
        << tensor::name(dtype);
  }
}

TEST(Encode, NothingBecomesInfinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> importance = gaussian(kColumns, 9);  // negative ones, too
  for (const float odd : {infinity, -infinity, nan, 3.4e38F, -3.4e38F, 1e-45F, -1e-40F, 1e-20F,
                          70000.0F, -65520.0F}) {
    std::vector<float> mixed = gaussian(kColumns, 5, 0.1F);
    mixed[37] = odd;
    const std::vector<float> uniform(kColumns, odd);
    for (const DType dtype : encodable()) {
      // The float types keep what they can represent.
      if (!tensor::info(dtype).quantized && !std::isfinite(odd)) continue;
      for (const std::vector<float>& row : {mixed, uniform}) {
        for (const bool weighted : {false, true}) {
          const std::vector<float> back =
              round_trip(dtype, row, weighted ? importance : std::vector<float>());
          EXPECT_TRUE(
              std::all_of(back.begin(), back.end(), [](float v) { return std::isfinite(v); }))
              << tensor::name(dtype) << " " << odd;
        }
      }
    }
  }
  for (const DType dtype : {kF32, kF16, kBF16}) {
    const std::vector<float> back = round_trip(dtype, std::vector<float>{infinity, -infinity, nan});
    EXPECT_EQ(back[0], infinity);
    EXPECT_EQ(back[1], -infinity);
    EXPECT_TRUE(std::isnan(back[2]));
  }
}

/// Storing zeros has an error of 1; every type must do better for any row, however scaled, that its
/// scales can hold.
TEST(Encode, IsNeverWorseThanZeros) {
  for (const float scale : {1e-3F, 1.0F, 1e3F}) {
    std::vector<float> sparse(kColumns, 0.0F);
    sparse[11] = scale;
    sparse[300] = -0.2F * scale;
    for (const std::vector<float>& row :
         {gaussian(kColumns, 6, scale), sparse, std::vector<float>(kColumns, scale)}) {
      for (const DType dtype : encodable()) {
        if (dtype == kNVFP4 && scale < 1) continue;  // its scales begin at 2^-9
        EXPECT_LT(squared_error(round_trip(dtype, row), row), power(row)) << tensor::name(dtype);
      }
    }
  }
}

/// x ≈ d (q - offset) with d = extreme / -offset, or x ≈ d q + minimum; the scale is rounded to
/// half after the codes are known, as simple encoders do.
std::vector<float> simple_recipe(std::span<const float> row, int offset, int levels) {
  std::vector<float> back(row.size());
  const auto half = [](float value) {
    return tensor::float_from_half(tensor::half_from_float(value));
  };
  for (std::size_t at = 0; at < row.size(); at += 32) {
    const auto block = row.subspan(at, 32);
    const auto [low, high] = std::minmax_element(block.begin(), block.end());
    const float extreme = std::fabs(*low) >= std::fabs(*high) ? *low : *high;
    const bool affine = offset == 0;
    const float scale = affine ? (*high - *low) / static_cast<float>(levels - 1)
                               : extreme / static_cast<float>(-offset);
    const float base = affine ? *low : -scale * static_cast<float>(offset);
    for (std::size_t i = 0; i < 32; ++i) {
      const float level = scale == 0 ? 0.0F : std::round((block[i] - base) / scale);
      const float code = std::clamp(level, 0.0F, static_cast<float>(levels - 1));
      back[at + i] = affine ? code * half(scale) + half(base)
                            : (code - static_cast<float>(offset)) * half(scale);
    }
  }
  return back;
}

TEST(Encode, IsNeverWorseThanTheSimpleRecipes) {
  struct Recipe {
    DType dtype;
    int offset;
    int levels;
  };
  std::mt19937 random(21);
  for (unsigned n = 0; n < 40; ++n) {
    std::vector<float> row = gaussian(kColumns, 100 + n, 0.1F);
    for (float& value : row) {  // few distinct values, sparse, shifted, or heavy-tailed
      if (n % 5 == 1) value = std::round(value * 20.0F) * 0.043F;
      if (n % 5 == 2 && random() % 8 != 0) value = 0.0F;
      if (n % 5 == 3) value += 1.7F;
      if (n % 5 == 4) value = value * value * value * 100.0F;
    }
    for (const Recipe& recipe : {Recipe{kQ4_0, 8, 16}, Recipe{kQ5_0, 16, 32}, Recipe{kQ4_1, 0, 16},
                                 Recipe{kQ5_1, 0, 32}}) {
      const double simple = squared_error(simple_recipe(row, recipe.offset, recipe.levels), row);
      EXPECT_LE(squared_error(round_trip(recipe.dtype, row), row), simple * 1.000001)
          << tensor::name(recipe.dtype) << " " << n;
    }
  }
}

TEST(Encode, ScalesByPowersOfTwoChangeNothing) {
  const std::vector<float> row = gaussian(256, 7);
  std::vector<float> scaled = row;
  for (float& value : scaled) value *= 0.125F;
  for (const DType dtype : encodable()) {
    if (dtype == kNVFP4) continue;  // no scale common to a block
    const std::vector<float> back = round_trip(dtype, row);
    const std::vector<float> scaled_back = round_trip(dtype, scaled);
    for (std::size_t i = 0; i < row.size(); ++i) {
      ASSERT_EQ(scaled_back[i], back[i] * 0.125F) << tensor::name(dtype) << " " << i;
    }
  }
}

/// What has been encoded once is representable. Formats with one scale per block find it again
/// exactly; where two levels of scales have many solutions, one very near.
TEST(Encode, RepresentableRowsAreFoundAgain) {
  const std::vector<float> row = gaussian(kColumns, 8, 0.05F);
  for (const DType dtype : encodable()) {
    const std::vector<float> once = round_trip(dtype, row);
    const double first = squared_error(once, row);
    const double second = squared_error(round_trip(dtype, once), once);
    switch (dtype) {
      case kF32:
      case kF16:
      case kBF16:
      case kQ4_0:
      case kQ5_0:
      case kQ8_0:
      case kIQ4_NL:
      case kTQ1_0:
      case kTQ2_0:
      case kMXFP4:
      case kNVFP4:
      case kQ1_0:
      case kQ2_0:
        EXPECT_EQ(second, 0) << tensor::name(dtype);
        break;
      default:
        EXPECT_LT(second, 0.02 * first) << tensor::name(dtype);
    }
  }
}

/// Values whose levels halves can hold exactly.
TEST(Encode, AlternatingRowsAreExact) {
  std::vector<float> row(256);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i % 2 == 0 ? 0.25F : -0.25F;
  for (const DType dtype : {kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K,
                            kQ4_K, kQ5_K, kQ6_K, kTQ1_0, kTQ2_0, kMXFP4, kNVFP4, kQ1_0, kQ2_0}) {
    EXPECT_EQ(squared_error(round_trip(dtype, row), row), 0) << tensor::name(dtype);
  }
}

/// One or two magnitudes that halves cannot hold: the error is that of rounding a scale to half
/// (relative to the power, below 2^-22), though most formats have no level for them by themselves.
TEST(Encode, RowsOfOneMagnitudeAreNearlyExact) {
  std::mt19937 random(31);
  for (int n = 0; n < 12; ++n) {
    const float value = std::exp(static_cast<float>(random() % 1000) * 0.009F - 6.0F);
    std::vector<float> constant(256, n % 2 == 0 ? value : -value);
    std::vector<float> signs(256);
    for (float& sign : signs) sign = random() % 2 == 0 ? value : -value;
    for (const DType dtype :
         {kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K}) {
      EXPECT_LT(squared_error(round_trip(dtype, constant), constant), 0x1p-21 * power(constant))
          << tensor::name(dtype) << " " << value;
      EXPECT_LT(squared_error(round_trip(dtype, signs), signs), 0x1p-21 * power(signs))
          << tensor::name(dtype) << " +-" << value;
    }
  }
}

TEST(Encode, ImportanceMovesTheErrorAway) {
  const std::vector<float> row = gaussian(kColumns, 10);
  std::vector<float> importance(kColumns, 0.0F);  // zero is allowed
  for (std::size_t i = 0; i < kColumns; i += 4) importance[i] = 5.0F;
  for (const DType dtype : encodable()) {
    if (!tensor::info(dtype).quantized || dtype == kQ1_0) continue;  // Q1_0: only a scale moves
    const double without = squared_error(round_trip(dtype, row), row, importance);
    const double with = squared_error(round_trip(dtype, row, importance), row, importance);
    EXPECT_LT(with, without) << tensor::name(dtype);
  }
}

/// No column stands out, or none has usable numbers: as if there were no importance.
TEST(Encode, UselessImportanceIsNone) {
  const std::vector<float> row = gaussian(kColumns, 11);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : encodable()) {
    for (const float value : {0.0F, nan, -1.0F}) {
      const std::vector<float> importance(kColumns, value);
      // Weights that are all equal differ from ones by rounding only.
      const double with = squared_error(round_trip(dtype, row, importance), row);
      const double without = squared_error(round_trip(dtype, row), row);
      EXPECT_LE(with, without * 1.001 + 1e-12) << tensor::name(dtype);
    }
    const float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> one(kColumns, 1.0F);
    one[3] = infinity;
    for (const float value : round_trip(dtype, row, one)) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(Encode, BlocksAreIndependentAndBytesRepeatable) {
  const std::vector<float> row = gaussian(kColumns, 12);
  for (const DType dtype : encodable()) {
    const std::string whole = encoded(dtype, row);
    const std::span<const float> values(row);
    EXPECT_TRUE(whole == encoded(dtype, row));
    EXPECT_TRUE(whole == encoded(dtype, values.first(256)) + encoded(dtype, values.subspan(256)))
        << tensor::name(dtype);
    std::string several(whole.size(), '\0');
    encode(dtype, row, std::as_writable_bytes(std::span(several)));
    EXPECT_TRUE(whole == several);
  }
}

// What keys and values become: half a step of error at most, and nothing infinite.
TEST(EncodeKv, Q8IsWithinHalfAStep) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const float size : {0.0F, 1e-30F, 1e-7F, 1e-3F, 1.0F, 3e4F, 1e9F}) {
    std::vector<float> row(96);
    for (float& x : row) x = size * normal(random);
    std::string blocks(tensor::row_bytes(kQ8_0, row.size()), '\x55');
    encode_kv(kQ8_0, row, std::as_writable_bytes(std::span(blocks)));
    const std::vector<float> back = decoded(kQ8_0, blocks, row.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      float most = 0;
      for (std::size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j)
        most = std::max(most, std::abs(row[j]));
      // The scale is a half: it is a thousandth, or where it is subnormal 2^-25, off.
      const float step = std::min(65504.0F, most / 127);
      const float reach = 127 * std::max(step * 1e-3F, 0x1p-25F) + 0.5F * step;
      if (most > 127 * 65504.0F) {
        EXPECT_TRUE(std::isfinite(back[i]));
      } else {
        EXPECT_NEAR(back[i], row[i], reach) << "size " << size << " value " << i;
      }
    }
  }
}

}  // namespace
}  // namespace hearth::quant
