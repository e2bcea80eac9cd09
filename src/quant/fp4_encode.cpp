// 4-bit floats. Their scales have few values, so the neighbourhood of the usual one is searched
// completely.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/encode_block.h"
#include "quant/encode_levels.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {

using E2M1 = FloatE2M1Levels;

/// Unsigned E4M3 (bias 7) by code; 0x7F is not a number.
constexpr std::array<float, 127> kE4M3 = [] {
  std::array<float, 127> values{};
  for (unsigned code = 0; code < 127; ++code) {
    float value = static_cast<float>(code < 8 ? code : 8 + (code & 7)) / 512.0F;
    for (unsigned exponent = 1; exponent < code >> 3; ++exponent) value *= 2;
    values[code] = value;
  }
  return values;
}();

}  // namespace

/// The scale is 2^(e - 127). The usual e puts the largest value into [4, 8); one less clips some
/// and is finer for the others, one more represents 6 to 8 better.
void encode_mxfp4(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 17) {
    std::memset(to, 0, 17);
    if (!block.load(from + 32 * b, 32, weights, 32 * b, Spread::kBlock)) continue;
    const int magnitude = std::ilogb(block.unit);
    float least = block.power;
    float inverse = 0;
    for (int shift = -4; shift <= 0; ++shift) {
      // Up to 252, for which 6 * scale is finite.
      const int exponent = magnitude + shift + 127;
      if (exponent < 0 || exponent > 252) continue;
      const float scale = std::ldexp(1.0F, shift);
      const float error = measure<E2M1>(block.x, block.w, 32, scale).error;
      if (error < least) {
        least = error;
        inverse = 1.0F / scale;
        to[0] = static_cast<std::byte>(exponent);
      }
    }
    for (int i = 0; i < 16; ++i) {
      to[1 + i] = static_cast<std::byte>(E2M1::code(block.x[i] * inverse) |
                                         E2M1::code(block.x[i + 16] * inverse) << 4);
    }
  }
}

/// Four scales per block. They have no common factor: converted checkpoints keep one in a tensor of
/// their own, and rows far from magnitude 1 lose precision without.
void encode_nvfp4(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 36) {
    std::memset(to, 0, 36);
    if (!block.load(from + 64 * b, 64, weights, 64 * b, Spread::kBlock)) continue;
    const float inverse_unit = 1.0F / block.unit;
    for (int sub = 0; sub < 4; ++sub) {
      const float* x = block.x + 16 * sub;
      const float* w = block.w + 16 * sub;
      float largest = 0;
      for (int i = 0; i < 16; ++i) largest = std::max(largest, std::fabs(x[i]));
      // Eight codes are a factor of two: from clipping at 0.7 of the largest to twice it.
      const float usual = std::min(largest / 6 * block.unit, kE4M3.back());
      const auto middle =
          static_cast<int>(std::lower_bound(kE4M3.begin(), kE4M3.end(), usual) - kE4M3.begin());
      float least = measure<E2M1>(x, w, 16, 0.0F).error;
      float inverse = 0;
      for (int code = std::max(1, middle - 5); code <= std::min(126, middle + 9); ++code) {
        const float scale = kE4M3[static_cast<std::size_t>(code)] * inverse_unit;
        const float error = measure<E2M1>(x, w, 16, scale).error;
        if (error < least) {
          least = error;
          inverse = 1.0F / scale;
          to[sub] = static_cast<std::byte>(code);
        }
      }
      for (int i = 0; i < 8; ++i) {
        to[4 + 8 * sub + i] = static_cast<std::byte>(E2M1::code(x[i] * inverse) |
                                                     E2M1::code(x[i + 8] * inverse) << 4);
      }
    }
  }
}

}  // namespace hearth::quant
