#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {

/// As tensor::float_from_half, without branches so that the loop vectorises: the half's exponent
/// and mantissa are moved to where a float has them and the difference of the exponent biases (112)
/// is multiplied in, which also normalises subnormals; infinities and NaNs get the highest exponent
/// afterwards.
inline float widen_half(std::uint16_t half) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7FFF) << 13;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112F;
  const std::uint32_t special = magnitude >= 0x0F800000U ? 0x7F800000U : 0U;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | special | sign);
}

template <typename T>
void decode_numbers(const std::byte* from, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(load<T>(from + i * sizeof(T)));
  }
}

}  // namespace

void decode_f32(const std::byte* from, std::size_t blocks, float* to) {
  if (blocks != 0) std::memcpy(to, from, blocks * sizeof(float));
}

void decode_f16(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t i = 0; i < blocks; ++i) to[i] = widen_half(load<std::uint16_t>(from + 2 * i));
}

void decode_bf16(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t i = 0; i < blocks; ++i) {
    to[i] =
        std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(from + 2 * i)) << 16);
  }
}

void decode_f64(const std::byte* from, std::size_t blocks, float* to) {
  decode_numbers<double>(from, blocks, to);
}
void decode_i8(const std::byte* from, std::size_t blocks, float* to) {
  decode_numbers<std::int8_t>(from, blocks, to);
}
void decode_i16(const std::byte* from, std::size_t blocks, float* to) {
  decode_numbers<std::int16_t>(from, blocks, to);
}
void decode_i32(const std::byte* from, std::size_t blocks, float* to) {
  decode_numbers<std::int32_t>(from, blocks, to);
}
void decode_i64(const std::byte* from, std::size_t blocks, float* to) {
  decode_numbers<std::int64_t>(from, blocks, to);
}

void encode_f32(const float* from, const RowWeights& /*weights*/, std::size_t blocks,
                std::byte* to) {
  if (blocks != 0) std::memcpy(to, from, blocks * sizeof(float));
}

void encode_f16(const float* from, const RowWeights& /*weights*/, std::size_t blocks,
                std::byte* to) {
  for (std::size_t i = 0; i < blocks; ++i) {
    std::uint16_t half = tensor::half_from_float(from[i]);
    if ((half & 0x7FFF) == 0x7C00 && std::isfinite(from[i])) --half;  // the largest finite one
    store(to + 2 * i, half);
  }
}

void encode_bf16(const float* from, const RowWeights& /*weights*/, std::size_t blocks,
                 std::byte* to) {
  for (std::size_t i = 0; i < blocks; ++i) {
    std::uint16_t half = tensor::bfloat16_from_float(from[i]);
    if ((half & 0x7FFF) == 0x7F80 && std::isfinite(from[i])) --half;
    store(to + 2 * i, half);
  }
}

}  // namespace hearth::quant
