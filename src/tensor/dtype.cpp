#include "tensor/dtype.h"

#include <array>
#include <bit>
#include <cctype>

namespace hearth::tensor {
namespace {

using enum DType;
constexpr std::array kTypes = {
    DTypeInfo{kF32, "F32", 1, 4, false},
    DTypeInfo{kF16, "F16", 1, 2, false},
    DTypeInfo{kQ4_0, "Q4_0", 32, 18, true},
    DTypeInfo{kQ4_1, "Q4_1", 32, 20, true},
    DTypeInfo{kQ5_0, "Q5_0", 32, 22, true},
    DTypeInfo{kQ5_1, "Q5_1", 32, 24, true},
    DTypeInfo{kQ8_0, "Q8_0", 32, 34, true},
    DTypeInfo{kQ8_1, "Q8_1", 32, 36, true},
    DTypeInfo{kQ2_K, "Q2_K", 256, 84, true},
    DTypeInfo{kQ3_K, "Q3_K", 256, 110, true},
    DTypeInfo{kQ4_K, "Q4_K", 256, 144, true},
    DTypeInfo{kQ5_K, "Q5_K", 256, 176, true},
    DTypeInfo{kQ6_K, "Q6_K", 256, 210, true},
    DTypeInfo{kQ8_K, "Q8_K", 256, 292, true},
    DTypeInfo{kIQ2_XXS, "IQ2_XXS", 256, 66, true},
    DTypeInfo{kIQ2_XS, "IQ2_XS", 256, 74, true},
    DTypeInfo{kIQ3_XXS, "IQ3_XXS", 256, 98, true},
    DTypeInfo{kIQ1_S, "IQ1_S", 256, 50, true},
    DTypeInfo{kIQ4_NL, "IQ4_NL", 32, 18, true},
    DTypeInfo{kIQ3_S, "IQ3_S", 256, 110, true},
    DTypeInfo{kIQ2_S, "IQ2_S", 256, 82, true},
    DTypeInfo{kIQ4_XS, "IQ4_XS", 256, 136, true},
    DTypeInfo{kI8, "I8", 1, 1, false},
    DTypeInfo{kI16, "I16", 1, 2, false},
    DTypeInfo{kI32, "I32", 1, 4, false},
    DTypeInfo{kI64, "I64", 1, 8, false},
    DTypeInfo{kF64, "F64", 1, 8, false},
    DTypeInfo{kIQ1_M, "IQ1_M", 256, 56, true},
    DTypeInfo{kBF16, "BF16", 1, 2, false},
    DTypeInfo{kTQ1_0, "TQ1_0", 256, 54, true},
    DTypeInfo{kTQ2_0, "TQ2_0", 256, 66, true},
    DTypeInfo{kMXFP4, "MXFP4", 32, 17, true},
    DTypeInfo{kNVFP4, "NVFP4", 64, 36, true},
    DTypeInfo{kQ1_0, "Q1_0", 128, 18, true},
    DTypeInfo{kQ2_0, "Q2_0", 64, 18, true},
};

constexpr std::uint32_t kIdLimit = 43;

constexpr std::array<std::int8_t, kIdLimit> make_index() {
  std::array<std::int8_t, kIdLimit> index{};
  index.fill(-1);
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    index[static_cast<std::uint32_t>(kTypes[i].dtype)] = static_cast<std::int8_t>(i);
  }
  return index;
}

constexpr std::array<std::int8_t, kIdLimit> kIndexOfId = make_index();

}  // namespace

std::span<const DTypeInfo> all_dtypes() noexcept { return kTypes; }

std::optional<DType> dtype_from_id(std::uint32_t id) noexcept {
  if (id >= kIdLimit || kIndexOfId[id] < 0) return std::nullopt;
  return static_cast<DType>(id);
}

std::optional<DType> dtype_from_name(std::string_view wanted) noexcept {
  const auto same = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) ==
           std::toupper(static_cast<unsigned char>(b));
  };
  for (const DTypeInfo& type : kTypes) {
    if (type.name.size() != wanted.size()) continue;
    bool equal = true;
    for (std::size_t i = 0; i < wanted.size(); ++i) equal = equal && same(type.name[i], wanted[i]);
    if (equal) return type.dtype;
  }
  return std::nullopt;
}

const DTypeInfo& info(DType dtype) noexcept {
  return kTypes[static_cast<std::size_t>(kIndexOfId[static_cast<std::uint32_t>(dtype)])];
}

float float_from_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1F;
  const std::uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0) {
    // Subnormal: mantissa * 2^-24, exact in float.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t half_from_float(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<std::uint16_t>(sign | 0x7E00);
  if (magnitude >= 0x477FF000) return static_cast<std::uint16_t>(sign | 0x7C00);
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is subnormal: adding 0.5 aligns the mantissa so that the hardware
    // rounds to even.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3F000000U));
  }
  const std::uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

float float_from_bfloat16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t bfloat16_from_float(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<std::uint16_t>((bits >> 16) | 64);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace hearth::tensor
