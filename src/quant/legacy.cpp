// In all 4- and 5-bit blocks here, byte i of the nibble array holds value i (low) and value i + 16
// (high).
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {}  // namespace

void decode_q4_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 18, to += kLegacyBlock) {
    const float scale = load_half(from);
    const std::uint8_t* nibbles = as_u8(from + 2);
    for (int i = 0; i < 16; ++i) {
      to[i] = static_cast<float>((nibbles[i] & 15) - 8) * scale;
      to[i + 16] = static_cast<float>((nibbles[i] >> 4) - 8) * scale;
    }
  }
}

void decode_q4_1(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 20, to += kLegacyBlock) {
    const float scale = load_half(from);
    const float minimum = load_half(from + 2);
    const std::uint8_t* nibbles = as_u8(from + 4);
    for (int i = 0; i < 16; ++i) {
      to[i] = static_cast<float>(nibbles[i] & 15) * scale + minimum;
      to[i + 16] = static_cast<float>(nibbles[i] >> 4) * scale + minimum;
    }
  }
}

void decode_q5_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 22, to += kLegacyBlock) {
    const float scale = load_half(from);
    const auto high = load<std::uint32_t>(from + 2);
    const std::uint8_t* nibbles = as_u8(from + 6);
    for (int i = 0; i < 16; ++i) {
      const auto first = static_cast<int>((nibbles[i] & 15U) | ((high >> i) & 1U) << 4);
      const auto second = static_cast<int>((nibbles[i] >> 4) | ((high >> (i + 16)) & 1U) << 4);
      to[i] = static_cast<float>(first - 16) * scale;
      to[i + 16] = static_cast<float>(second - 16) * scale;
    }
  }
}

void decode_q5_1(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 24, to += kLegacyBlock) {
    const float scale = load_half(from);
    const float minimum = load_half(from + 2);
    const auto high = load<std::uint32_t>(from + 4);
    const std::uint8_t* nibbles = as_u8(from + 8);
    for (int i = 0; i < 16; ++i) {
      const auto first = static_cast<int>((nibbles[i] & 15U) | ((high >> i) & 1U) << 4);
      const auto second = static_cast<int>((nibbles[i] >> 4) | ((high >> (i + 16)) & 1U) << 4);
      to[i] = static_cast<float>(first) * scale + minimum;
      to[i + 16] = static_cast<float>(second) * scale + minimum;
    }
  }
}

void decode_q8_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 34, to += kLegacyBlock) {
    const float scale = load_half(from);
    const std::uint8_t* bytes = as_u8(from + 2);
    for (int i = 0; i < kLegacyBlock; ++i) {
      to[i] = static_cast<float>(static_cast<std::int8_t>(bytes[i])) * scale;
    }
  }
}

void decode_q8_1(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 36, to += kLegacyBlock) {
    const float scale = load_half(from);
    const std::uint8_t* bytes = as_u8(from + 4);
    for (int i = 0; i < kLegacyBlock; ++i) {
      to[i] = static_cast<float>(static_cast<std::int8_t>(bytes[i])) * scale;
    }
  }
}

}  // namespace hearth::quant
