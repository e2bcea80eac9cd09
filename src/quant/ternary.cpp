// Formats with two, three or four levels and one half-precision scale per block.
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {

/// Digit `n` (from the first) of `count` bytes that hold base-3 fractions, as -1, 0, 1 times
/// `scale`. Multiplying by 3^n modulo 256 moves the digit to the front, multiplying by 3 more moves
/// it over the byte's edge.
void decode_digits(const std::uint8_t* from, int count, int power, float scale, float* to) {
  for (int i = 0; i < count; ++i) {
    const int digit = (((from[i] * power) & 255) * 3) >> 8;
    to[i] = static_cast<float>(digit - 1) * scale;
  }
}

constexpr int kPowersOf3[5] = {1, 3, 9, 27, 81};

}  // namespace

void decode_tq1_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 54, to += 256) {
    const std::uint8_t* bytes = as_u8(from);
    const float scale = load_half(from + 52);
    for (int n = 0; n < 5; ++n) {
      decode_digits(bytes, 32, kPowersOf3[n], scale, to + 32 * n);
      decode_digits(bytes + 32, 16, kPowersOf3[n], scale, to + 160 + 16 * n);
    }
    for (int n = 0; n < 4; ++n) {
      decode_digits(bytes + 48, 4, kPowersOf3[n], scale, to + 240 + 4 * n);
    }
  }
}

void decode_tq2_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 66, to += 256) {
    const float scale = load_half(from + 64);
    for (int group = 0; group < 8; ++group) {
      const std::uint8_t* codes = as_u8(from + 32 * (group / 4));
      const int shift = 2 * (group & 3);
      float* out = to + 32 * group;
      for (int i = 0; i < 32; ++i) {
        out[i] = static_cast<float>(((codes[i] >> shift) & 3) - 1) * scale;
      }
    }
  }
}

void decode_q1_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 18, to += 128) {
    const float scale = load_half(from);
    const std::uint8_t* bits = as_u8(from + 2);
    for (int i = 0; i < 128; ++i) to[i] = ((bits[i / 8] >> (i & 7)) & 1) != 0 ? scale : -scale;
  }
}

void decode_q2_0(const std::byte* from, std::size_t blocks, float* to) {
  for (std::size_t b = 0; b < blocks; ++b, from += 18, to += 64) {
    const float scale = load_half(from);
    const std::uint8_t* codes = as_u8(from + 2);
    for (int i = 0; i < 64; ++i) {
      to[i] = static_cast<float>(((codes[i / 4] >> (2 * (i & 3))) & 3) - 1) * scale;
    }
  }
}

}  // namespace hearth::quant
