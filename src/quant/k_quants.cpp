// Super-blocks of 256 values: a half-precision scale times small integer scales of sub-blocks.
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"
#include "quant/k_scales.h"

namespace hearth::quant {
namespace {}  // namespace

void decode_q2_k(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 84, to += kSuperBlock) {
    const std::uint8_t* block = as_u8(from);
    const float scale = load_half(block + 80);
    const float minimum_scale = load_half(block + 82);
    for (int sub = 0; sub < 16; ++sub) {
      const std::uint8_t* quants = block + 16 + 32 * (sub / 8) + 16 * (sub & 1);
      const int shift = 2 * ((sub / 2) & 3);
      const float factor = scale * static_cast<float>(block[sub] & 15);
      const float minimum = minimum_scale * static_cast<float>(block[sub] >> 4);
      float* out = to + 16 * sub;
      for (int i = 0; i < 16; ++i) {
        out[i] = factor * static_cast<float>((quants[i] >> shift) & 3) - minimum;
      }
    }
  }
}

void decode_q3_k(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 110, to += kSuperBlock) {
    const std::uint8_t* block = as_u8(from);
    const std::uint8_t* packed = block + 96;
    const float scale = load_half(block + 108);
    for (int sub = 0; sub < 16; ++sub) {
      const int low = sub < 8 ? packed[sub] & 15 : packed[sub - 8] >> 4;
      const int high = (packed[8 + sub % 4] >> (2 * (sub / 4))) & 3;
      const float factor = scale * static_cast<float>((low | high << 4) - 32);
      const int lane = 16 * (sub & 1);
      const std::uint8_t* quants = block + 32 + 32 * (sub / 8) + lane;
      const std::uint8_t* mask = block + lane;
      const int shift = 2 * ((sub / 2) & 3);
      const int bit = sub / 2;
      float* out = to + 16 * sub;
      for (int i = 0; i < 16; ++i) {
        const int high_bit = (mask[i] >> bit) & 1;
        out[i] = factor * static_cast<float>(((quants[i] >> shift) & 3) + 4 * high_bit - 4);
      }
    }
  }
}

void decode_q4_k(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 144, to += kSuperBlock) {
    const std::uint8_t* block = as_u8(from);
    const float scale = load_half(block);
    const float minimum_scale = load_half(block + 2);
    for (int sub = 0; sub < 8; ++sub) {
      const SubScale packed = unpack_sub_scale(block + 4, sub);
      const float factor = scale * static_cast<float>(packed.scale);
      const float minimum = minimum_scale * static_cast<float>(packed.minimum);
      const std::uint8_t* nibbles = block + 16 + 32 * (sub / 2);
      const int shift = 4 * (sub & 1);
      float* out = to + 32 * sub;
      for (int i = 0; i < 32; ++i) {
        out[i] = factor * static_cast<float>((nibbles[i] >> shift) & 15) - minimum;
      }
    }
  }
}

void decode_q5_k(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 176, to += kSuperBlock) {
    const std::uint8_t* block = as_u8(from);
    const float scale = load_half(block);
    const float minimum_scale = load_half(block + 2);
    const std::uint8_t* high = block + 16;
    for (int sub = 0; sub < 8; ++sub) {
      const SubScale packed = unpack_sub_scale(block + 4, sub);
      const float factor = scale * static_cast<float>(packed.scale);
      const float minimum = minimum_scale * static_cast<float>(packed.minimum);
      const std::uint8_t* nibbles = block + 48 + 32 * (sub / 2);
      const int shift = 4 * (sub & 1);
      float* out = to + 32 * sub;
      for (int i = 0; i < 32; ++i) {
        const int quant = ((nibbles[i] >> shift) & 15) + 16 * ((high[i] >> sub) & 1);
        out[i] = factor * static_cast<float>(quant) - minimum;
      }
    }
  }
}

void decode_q6_k(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 210, to += kSuperBlock) {
    const std::uint8_t* block = as_u8(from);
    const float scale = load_half(block + 208);
    for (int sub = 0; sub < 16; ++sub) {
      const int half = sub / 8;
      const int group = (sub / 2) & 3;
      const int lane = 16 * (sub & 1);
      const std::uint8_t* low = block + 64 * half + 32 * (group & 1) + lane;
      const std::uint8_t* high = block + 128 + 32 * half + lane;
      const int low_shift = 4 * (group / 2);
      const int high_shift = 2 * group;
      const float factor = scale * static_cast<float>(static_cast<std::int8_t>(block[192 + sub]));
      float* out = to + 16 * sub;
      for (int i = 0; i < 16; ++i) {
        const int quant = ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
        out[i] = factor * static_cast<float>(quant - 32);
      }
    }
  }
}

}  // namespace hearth::quant
