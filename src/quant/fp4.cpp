// 4-bit floats (E2M1) with 8-bit scales: MXFP4 (OCP Microscaling Formats 1.0) and NVFP4.
#include <bit>
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {

/// Twice the value of each E2M1 code, so that the table holds integers; the scales below are halved
/// in return.
constexpr std::int8_t kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// 2^(exponent - 127) / 2 from an E8M0 byte. Exponents 0 and 1 give subnormal floats.
inline float half_of_e8m0(std::uint8_t exponent) {
  const std::uint32_t bits = exponent < 2 ? std::uint32_t{0x00200000} << exponent
                                          : static_cast<std::uint32_t>(exponent - 1) << 23;
  return std::bit_cast<float>(bits);
}

/// Half of an unsigned E4M3 number (bias 7); the NaN code 0x7F counts as 0. The top bit is not part
/// of the format.
inline float half_of_ue4m3(std::uint8_t byte) {
  const int code = byte & 0x7F;
  if (code == 0x7F) return 0.0F;
  const int exponent = code >> 3;
  const auto mantissa = static_cast<float>(code & 7);
  if (exponent == 0) return mantissa * 0x1p-10F;
  const float power =
      std::bit_cast<float>(static_cast<std::uint32_t>(exponent - 7 - 1 + 127) << 23);
  return (1.0F + mantissa / 8.0F) * power;
}

}  // namespace

void decode_mxfp4(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 17, to += 32) {
    const std::uint8_t* block = as_u8(from);
    const float scale = half_of_e8m0(block[0]);
    for (int i = 0; i < 16; ++i) {
      to[i] = static_cast<float>(kDoubledE2M1[block[1 + i] & 15]) * scale;
      to[i + 16] = static_cast<float>(kDoubledE2M1[block[1 + i] >> 4]) * scale;
    }
  }
}

void decode_nvfp4(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 36, to += 64) {
    const std::uint8_t* block = as_u8(from);
    for (int sub = 0; sub < 4; ++sub) {
      const float scale = half_of_ue4m3(block[sub]);
      const std::uint8_t* nibbles = block + 4 + 8 * sub;
      float* out = to + 16 * sub;
      for (int i = 0; i < 8; ++i) {
        out[i] = static_cast<float>(kDoubledE2M1[nibbles[i] & 15]) * scale;
        out[i + 8] = static_cast<float>(kDoubledE2M1[nibbles[i] >> 4]) * scale;
      }
    }
  }
}

}  // namespace hearth::quant
