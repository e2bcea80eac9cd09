// Codebook formats: groups of 4 or 8 values are points of a grid (grids.h) times signs times a
// scale.
#include <bit>
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"
#include "quant/grids.h"

namespace hearth::quant {
namespace {

constexpr int kSuperBlock = 256;
constexpr float kIq1Shift = 0.125F;

constexpr std::int8_t kNonLinear4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};

/// Seven stored sign bits and their parity: the number of negative values in a group is even.
inline unsigned signs_from_index(unsigned index) {
  return index | (static_cast<unsigned>(std::popcount(index)) & 1U) << 7;
}

/// Writes factor * magnitude for `count` values; bit k of `signs` set makes value k negative.
template <int count, typename Point>
inline void write_signed(Point point, unsigned signs, float factor, float* to) {
  for (int k = 0; k < count; ++k) {
    const float magnitude = static_cast<float>((point >> (8 * k)) & 255);
    to[k] = factor * magnitude * ((signs >> k) & 1 ? -1.0F : 1.0F);
  }
}

/// Writes factor * (level + shift) for the eight levels -1, 0, 1 of a point.
inline void write_shifted(std::uint64_t point, float shift, float factor, float* to) {
  for (int k = 0; k < 8; ++k) {
    const auto level = static_cast<std::int8_t>((point >> (8 * k)) & 255);
    to[k] = factor * (static_cast<float>(level) + shift);
  }
}

inline float iq2_factor(float scale, unsigned nibble) {
  return scale * (0.5F + static_cast<float>(nibble)) * 0.25F;
}

inline unsigned nibble_of(std::uint8_t byte, int index) {
  return (byte >> (4 * (index & 1))) & 15U;
}

}  // namespace

void decode_iq2_xxs(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 66, to += kSuperBlock) {
    const float scale = load_half(from);
    for (int part = 0; part < 8; ++part) {
      const std::uint8_t* indices = as_u8(from + 2 + 8 * part);
      const auto word = load<std::uint32_t>(indices + 4);
      const float factor = iq2_factor(scale, word >> 28);
      for (int group = 0; group < 4; ++group) {
        const unsigned signs = signs_from_index((word >> (7 * group)) & 127);
        write_signed<8>(kIq2XxsGrid[indices[group]], signs, factor, to + 32 * part + 8 * group);
      }
    }
  }
}

void decode_iq2_xs(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 74, to += kSuperBlock) {
    const float scale = load_half(from);
    const std::uint8_t* scales = as_u8(from + 66);
    for (int group = 0; group < 32; ++group) {
      const auto word = load<std::uint16_t>(from + 2 + 2 * group);
      const float factor = iq2_factor(scale, nibble_of(scales[group / 4], group / 2));
      write_signed<8>(kIq2XsGrid[word & 511], signs_from_index(word >> 9), factor, to + 8 * group);
    }
  }
}

void decode_iq2_s(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 82, to += kSuperBlock) {
    const float scale = load_half(from);
    const std::uint8_t* low = as_u8(from + 2);
    const std::uint8_t* signs = as_u8(from + 34);
    const std::uint8_t* high = as_u8(from + 66);
    const std::uint8_t* scales = as_u8(from + 74);
    for (int group = 0; group < 32; ++group) {
      const unsigned index = low[group] | ((high[group / 4] >> (2 * (group & 3))) & 3U) << 8;
      const float factor = iq2_factor(scale, nibble_of(scales[group / 4], group / 2));
      write_signed<8>(kIq2SGrid[index], signs[group], factor, to + 8 * group);
    }
  }
}

void decode_iq3_xxs(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 98, to += kSuperBlock) {
    const float scale = load_half(from);
    const std::uint8_t* indices = as_u8(from + 2);
    for (int part = 0; part < 8; ++part) {
      const auto word = load<std::uint32_t>(from + 66 + 4 * part);
      const float factor = scale * (0.5F + static_cast<float>(word >> 28)) * 0.5F;
      for (int pair = 0; pair < 4; ++pair) {
        const unsigned signs = signs_from_index((word >> (7 * pair)) & 127);
        const std::uint8_t* index = indices + 8 * part + 2 * pair;
        float* out = to + 32 * part + 8 * pair;
        write_signed<4>(kIq3XxsGrid[index[0]], signs, factor, out);
        write_signed<4>(kIq3XxsGrid[index[1]], signs >> 4, factor, out + 4);
      }
    }
  }
}

void decode_iq3_s(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 110, to += kSuperBlock) {
    const float scale = load_half(from);
    const std::uint8_t* low = as_u8(from + 2);
    const std::uint8_t* high = as_u8(from + 66);
    const std::uint8_t* signs = as_u8(from + 74);
    const std::uint8_t* scales = as_u8(from + 106);
    for (int group = 0; group < 64; ++group) {
      const unsigned index = low[group] | ((high[group / 8] >> (group & 7)) & 1U) << 8;
      const unsigned nibble = nibble_of(scales[group / 16], group / 8);
      const float factor = scale * static_cast<float>(1 + 2 * nibble);
      write_signed<4>(kIq3SGrid[index], signs[group / 2] >> (4 * (group & 1)), factor,
                      to + 4 * group);
    }
  }
}

void decode_iq1_s(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 50, to += kSuperBlock) {
    const float scale = load_half(from);
    const std::uint8_t* low = as_u8(from + 2);
    for (int part = 0; part < 8; ++part) {
      const auto word = load<std::uint16_t>(from + 34 + 2 * part);
      const float factor = scale * static_cast<float>(2 * ((word >> 12) & 7) + 1);
      const float shift = (word & 0x8000) != 0 ? -kIq1Shift : kIq1Shift;
      for (int group = 0; group < 4; ++group) {
        const unsigned index = low[4 * part + group] | ((word >> (3 * group)) & 7U) << 8;
        write_shifted(kIq1Grid[index], shift, factor, to + 32 * part + 8 * group);
      }
    }
  }
}

void decode_iq1_m(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 56, to += kSuperBlock) {
    const std::uint8_t* low = as_u8(from);
    const std::uint8_t* high = as_u8(from + 32);
    std::uint16_t words[4];
    std::uint16_t scale_bits = 0;  // one nibble in each word
    for (int i = 0; i < 4; ++i) {
      words[i] = load<std::uint16_t>(from + 48 + 2 * i);
      scale_bits = static_cast<std::uint16_t>(scale_bits | (words[i] >> 12) << (4 * i));
    }
    const float scale = tensor::float_from_half(scale_bits);
    for (int group = 0; group < 32; ++group) {
      const unsigned nibble = nibble_of(high[group / 2], group);
      const int sub_scale = (words[group / 8] >> (3 * ((group / 2) & 3))) & 7;
      const float factor = scale * static_cast<float>(2 * sub_scale + 1);
      const float shift = (nibble & 8) != 0 ? -kIq1Shift : kIq1Shift;
      write_shifted(kIq1Grid[low[group] | (nibble & 7) << 8], shift, factor, to + 8 * group);
    }
  }
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
