// Codebook formats, from the integers behind their blocks (levels.h), and the formats whose
// nibbles are looked up.
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"
#include "quant/levels.h"

namespace hearth::quant {
namespace {

using tensor::DType;

constexpr std::int8_t kNonLinear4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};

/// unit * factor * (2 s + 1) * level. Every product is exact: 11 bits of the unit, at most 5 of the
/// scale and 6 of the level.
void decode_levels(DType dtype, float factor, const std::byte* from, std::size_t blocks,
                   float* to) {
  const std::size_t stride = tensor::info(dtype).block_bytes;
  BlockLevels block;
  for (std::size_t b = 0; b < blocks; ++b, from += stride, to += kSuperBlock) {
    read_levels(dtype, from, block);
    const float unit = factor * tensor::float_from_half(block.unit);
    for (int sub = 0; sub < 16; ++sub) {
      const float scale = unit * static_cast<float>(2 * block.scales[sub] + 1);
      for (int i = 16 * sub; i < 16 * sub + 16; ++i) {
        to[i] = scale * static_cast<float>(block.levels[i]);
      }
    }
  }
}

}  // namespace

void decode_iq2_xxs(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ2_XXS, 0.125F, from, blocks, to);
}

void decode_iq2_xs(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ2_XS, 0.125F, from, blocks, to);
}

void decode_iq2_s(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ2_S, 0.125F, from, blocks, to);
}

void decode_iq3_xxs(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ3_XXS, 0.25F, from, blocks, to);
}

void decode_iq3_s(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ3_S, 1.0F, from, blocks, to);
}

void decode_iq1_s(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ1_S, 0.125F, from, blocks, to);
}

void decode_iq1_m(const std::byte* from, std::size_t blocks, float* to) {
  decode_levels(DType::kIQ1_M, 0.125F, from, blocks, to);
}

void decode_iq4_nl(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 18, to += 32) {
    const float scale = load_half(from);
    const std::uint8_t* nibbles = as_u8(from + 2);
    for (int i = 0; i < 16; ++i) {
      to[i] = scale * static_cast<float>(kNonLinear4[nibbles[i] & 15]);
      to[i + 16] = scale * static_cast<float>(kNonLinear4[nibbles[i] >> 4]);
    }
  }
}

void decode_iq4_xs(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 136, to += kSuperBlock) {
    const float scale = load_half(from);
    const auto high = load<std::uint16_t>(from + 2);
    const std::uint8_t* low = as_u8(from + 4);
    for (int sub = 0; sub < 8; ++sub) {
      const unsigned bits = nibble_of(low[sub / 2], sub) | ((high >> (2 * sub)) & 3U) << 4;
      const float factor = scale * static_cast<float>(static_cast<int>(bits) - 32);
      const std::uint8_t* nibbles = as_u8(from + 8 + 16 * sub);
      float* out = to + 32 * sub;
      for (int i = 0; i < 16; ++i) {
        out[i] = factor * static_cast<float>(kNonLinear4[nibbles[i] & 15]);
        out[i + 16] = factor * static_cast<float>(kNonLinear4[nibbles[i] >> 4]);
      }
    }
  }
}

}  // namespace hearth::quant
