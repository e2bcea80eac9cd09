// Straightforward encoders of K-blocks: scales from the extremes of each sub-block, then every
// value is rounded with the scales as they were stored. Better encoders search the scales
// (reference/quant-blocks.md section 5).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/families.h"
#include "quant/k_scales.h"
#include "quant/rounding.h"

namespace hearth::quant {

void encode_q4_k(const float* from, std::size_t blocks, std::byte* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 256, to += 144) {
    float scales[8];
    float minimums[8];  // stored negated: the format subtracts them
    for (int sub = 0; sub < 8; ++sub) {
      const auto [low, high] = std::minmax_element(from + 32 * sub, from + 32 * sub + 32);
      minimums[sub] = std::max(0.0F, -*low);
      scales[sub] = (std::max(0.0F, *high) + minimums[sub]) / 15.0F;
    }
    std::memset(to, 0, 144);
    const std::uint16_t scale_bits =
        tensor::half_from_float(*std::max_element(scales, scales + 8) / 63.0F);
    const std::uint16_t minimum_bits =
        tensor::half_from_float(*std::max_element(minimums, minimums + 8) / 63.0F);
    store(to, scale_bits);
    store(to + 2, minimum_bits);
    const float scale = tensor::float_from_half(scale_bits);
    const float minimum_scale = tensor::float_from_half(minimum_bits);
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    for (int sub = 0; sub < 8; ++sub) {
      const SubScale stored{rounded(scales[sub] * inverse_or_zero(scale), 0, 63),
                            rounded(minimums[sub] * inverse_or_zero(minimum_scale), 0, 63)};
      pack_sub_scale(bytes + 4, sub, stored);
      const float inverse = inverse_or_zero(scale * static_cast<float>(stored.scale));
      const float minimum = minimum_scale * static_cast<float>(stored.minimum);
      std::uint8_t* nibbles = bytes + 16 + 32 * (sub / 2);
      for (int i = 0; i < 32; ++i) {
        const int quant = rounded((from[32 * sub + i] + minimum) * inverse, 0, 15);
        nibbles[i] = static_cast<std::uint8_t>(nibbles[i] | quant << (4 * (sub & 1)));
      }
    }
  }
}

void encode_q6_k(const float* from, std::size_t blocks, std::byte* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 256, to += 210) {
    float scales[16];  // signed: the value of largest magnitude maps to -32
    for (int sub = 0; sub < 16; ++sub) scales[sub] = signed_extreme(from + 16 * sub, 16) / -32.0F;
    std::memset(to, 0, 210);
    const std::uint16_t scale_bits = tensor::half_from_float(signed_extreme(scales, 16) / -128.0F);
    store(to + 208, scale_bits);
    const float scale = tensor::float_from_half(scale_bits);
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    for (int sub = 0; sub < 16; ++sub) {
      const int stored = rounded(scales[sub] * inverse_or_zero(scale), -128, 127);
      bytes[192 + sub] = static_cast<std::uint8_t>(stored);
      const float inverse = inverse_or_zero(scale * static_cast<float>(stored));
      const int half = sub / 8;
      const int group = (sub / 2) & 3;
      const int lane = 16 * (sub & 1);
      std::uint8_t* low = bytes + 64 * half + 32 * (group & 1) + lane;
      std::uint8_t* high = bytes + 128 + 32 * half + lane;
      for (int i = 0; i < 16; ++i) {
        const int quant = rounded(from[16 * sub + i] * inverse, -32, 31) + 32;
        low[i] = static_cast<std::uint8_t>(low[i] | (quant & 15) << (4 * (group / 2)));
        high[i] = static_cast<std::uint8_t>(high[i] | (quant >> 4) << (2 * group));
      }
    }
  }
}

}  // namespace hearth::quant
