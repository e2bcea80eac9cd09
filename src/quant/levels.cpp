#include "quant/levels.h"

#include <bit>
#include <cstring>

#include "quant/bytes.h"
#include "quant/grids.h"

namespace hearth::quant {
namespace {

using tensor::DType;

unsigned signs_from_index(unsigned index) {
  return index | (static_cast<unsigned>(std::popcount(index)) & 1U) << 7;
}

/// Eight magnitudes, one per byte, negated where the bit of `signs` is set.
void put_signed(std::uint64_t magnitudes, unsigned signs, std::int8_t* to) {
  // Bit k of signs becomes byte k, 0 or 255. (x ^ 255) + 1 = -x, without carries, since no
  // magnitude is zero.
  const std::uint64_t bits = (std::uint64_t{signs} * 0x0101010101010101U) & 0x8040201008040201U;
  const std::uint64_t ones =
      (((bits & 0x7F7F7F7F7F7F7F7FU) + 0x7F7F7F7F7F7F7F7FU) | bits) >> 7 & 0x0101010101010101U;
  const std::uint64_t flipped = (magnitudes ^ ones * 255U) + ones;
  std::memcpy(to, &flipped, 8);
}

void put_point(std::uint64_t point, int shift, std::int8_t* to) {
  for (int k = 0; k < 8; ++k) {
    to[k] = static_cast<std::int8_t>(8 * static_cast<std::int8_t>(point >> (8 * k) & 255) + shift);
  }
}

void read_iq2_xxs(const std::byte* block, BlockLevels& out) {
  for (int part = 0; part < 8; ++part) {
    const std::uint8_t* const indices = as_u8(block + 2 + 8 * part);
    const auto word = load<std::uint32_t>(indices + 4);
    out.scales[2 * part] = out.scales[2 * part + 1] = static_cast<std::uint8_t>(word >> 28);
    for (int group = 0; group < 4; ++group) {
      put_signed(kIq2XxsGrid[indices[group]], signs_from_index(word >> (7 * group) & 127),
                 out.levels + 32 * part + 8 * group);
    }
  }
}

void read_iq2_xs(const std::byte* block, BlockLevels& out) {
  for (int i = 0; i < 16; ++i) {
    out.scales[i] = static_cast<std::uint8_t>(nibble_of(as_u8(block + 66)[i / 2], i));
  }
  for (int group = 0; group < 32; ++group) {
    const auto word = load<std::uint16_t>(block + 2 + 2 * group);
    put_signed(kIq2XsGrid[word & 511], signs_from_index(word >> 9), out.levels + 8 * group);
  }
}

void read_iq2_s(const std::byte* block, BlockLevels& out) {
  for (int i = 0; i < 16; ++i) {
    out.scales[i] = static_cast<std::uint8_t>(nibble_of(as_u8(block + 74)[i / 2], i));
  }
  const std::uint8_t* const low = as_u8(block + 2);
  const std::uint8_t* const high = as_u8(block + 66);
  for (int group = 0; group < 32; ++group) {
    const unsigned index =
        low[group] | (static_cast<unsigned>(high[group / 4]) >> (2 * (group & 3)) & 3U) << 8;
    put_signed(kIq2SGrid[index], as_u8(block + 34)[group], out.levels + 8 * group);
  }
}

void read_iq3_xxs(const std::byte* block, BlockLevels& out) {
  const std::uint8_t* const indices = as_u8(block + 2);
  for (int part = 0; part < 8; ++part) {
    const auto word = load<std::uint32_t>(block + 66 + 4 * part);
    out.scales[2 * part] = out.scales[2 * part + 1] = static_cast<std::uint8_t>(word >> 28);
    for (int pair = 0; pair < 4; ++pair) {
      const std::uint8_t* const index = indices + 8 * part + 2 * pair;
      const std::uint64_t point =
          kIq3XxsGrid[index[0]] | static_cast<std::uint64_t>(kIq3XxsGrid[index[1]]) << 32;
      put_signed(point, signs_from_index(word >> (7 * pair) & 127),
                 out.levels + 32 * part + 8 * pair);
    }
  }
}

void read_iq3_s(const std::byte* block, BlockLevels& out) {
  for (int i = 0; i < 16; ++i) {
    out.scales[i] = static_cast<std::uint8_t>(nibble_of(as_u8(block + 106)[i / 4], i / 2));
  }
  const std::uint8_t* const low = as_u8(block + 2);
  const std::uint8_t* const high = as_u8(block + 66);
  const auto point = [&](int group) -> std::uint64_t {
    return kIq3SGrid[low[group] | (static_cast<unsigned>(high[group / 8]) >> (group & 7) & 1U)
                                      << 8];
  };
  for (int pair = 0; pair < 32; ++pair) {
    put_signed(point(2 * pair) | point(2 * pair + 1) << 32, as_u8(block + 74)[pair],
               out.levels + 8 * pair);
  }
}

void read_iq1_s(const std::byte* block, BlockLevels& out) {
  const std::uint8_t* const low = as_u8(block + 2);
  for (int part = 0; part < 8; ++part) {
    const auto word = load<std::uint16_t>(block + 34 + 2 * part);
    out.scales[2 * part] = out.scales[2 * part + 1] = static_cast<std::uint8_t>(word >> 12 & 7);
    for (int group = 0; group < 4; ++group) {
      const unsigned index =
          low[4 * part + group] | (static_cast<unsigned>(word) >> (3 * group) & 7U) << 8;
      put_point(kIq1Grid[index], (word & 0x8000) != 0 ? -1 : 1, out.levels + 32 * part + 8 * group);
    }
  }
}

void read_iq1_m(const std::byte* block, BlockLevels& out) {
  const std::uint8_t* const low = as_u8(block);
  const std::uint8_t* const high = as_u8(block + 32);
  std::uint16_t words[4];
  unsigned unit = 0;
  for (int i = 0; i < 4; ++i) {
    words[i] = load<std::uint16_t>(block + 48 + 2 * i);
    unit |= static_cast<unsigned>(words[i] >> 12) << (4 * i);
  }
  out.unit = static_cast<std::uint16_t>(unit);
  for (int i = 0; i < 16; ++i) {
    out.scales[i] = static_cast<std::uint8_t>(words[i / 4] >> (3 * (i & 3)) & 7);
  }
  for (int group = 0; group < 32; ++group) {
    const unsigned nibble = nibble_of(high[group / 2], group);
    put_point(kIq1Grid[low[group] | (nibble & 7) << 8], (nibble & 8) != 0 ? -1 : 1,
              out.levels + 8 * group);
  }
}

/// Digit n of a byte that holds a base-3 fraction, less one. Multiplying by 3^n modulo 256 moves
/// the digit to the front, multiplying by 3 more moves it over the byte's edge.
std::int8_t digit(std::uint8_t byte, int n) {
  constexpr unsigned kPowers[5] = {1, 3, 9, 27, 81};
  const unsigned rest = byte * kPowers[n] & 255U;
  return static_cast<std::int8_t>(static_cast<int>(rest * 3 >> 8) - 1);
}

void read_tq1(const std::byte* block, BlockLevels& out) {
  const std::uint8_t* const bytes = as_u8(block);
  for (int n = 0; n < 5; ++n) {
    for (int i = 0; i < 32; ++i) out.levels[32 * n + i] = digit(bytes[i], n);
    for (int i = 0; i < 16; ++i) out.levels[160 + 16 * n + i] = digit(bytes[32 + i], n);
  }
  for (int n = 0; n < 4; ++n) {
    for (int i = 0; i < 4; ++i) out.levels[240 + 4 * n + i] = digit(bytes[48 + i], n);
  }
}

void read_tq2(const std::byte* block, BlockLevels& out) {
  for (int i = 0; i < 256; ++i) {
    const unsigned byte = as_u8(block)[i / 128 * 32 + i % 32];
    out.levels[i] = static_cast<std::int8_t>(static_cast<int>(byte >> (2 * (i / 32 % 4)) & 3U) - 1);
  }
}

}  // namespace

void read_levels(DType dtype, const std::byte* block, BlockLevels& out) noexcept {
  out.unit = load<std::uint16_t>(block);
  switch (dtype) {
    case DType::kIQ2_XXS:
      return read_iq2_xxs(block, out);
    case DType::kIQ2_XS:
      return read_iq2_xs(block, out);
    case DType::kIQ2_S:
      return read_iq2_s(block, out);
    case DType::kIQ3_XXS:
      return read_iq3_xxs(block, out);
    case DType::kIQ3_S:
      return read_iq3_s(block, out);
    case DType::kIQ1_S:
      return read_iq1_s(block, out);
    case DType::kIQ1_M:
      return read_iq1_m(block, out);
    case DType::kTQ1_0:
      out.unit = load<std::uint16_t>(block + 52);
      return read_tq1(block, out);
    default:
      out.unit = load<std::uint16_t>(block + 64);
      return read_tq2(block, out);
  }
}

}  // namespace hearth::quant
