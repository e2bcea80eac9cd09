// pack_panel(): from rows of a file's blocks to panels. Every row's block is first brought into the
// order of the panel, as a string of quads and a few header bytes; then the quads of sixteen rows
// are interleaved at once.
#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "compute/cpu/panels.h"
#include "quant/levels.h"
#include "quant/quant.h"
#include "tensor/dtype.h"

namespace hearth::compute::cpu {
namespace {

constexpr int kLanes = static_cast<int>(kPanelRows);

/// The sixteen rows of a panel: null for those that do not exist.
struct WeightRows {
  const std::byte* start[kPanelRows];

  WeightRows(const WeightSource& source, std::int64_t first, std::int64_t count) noexcept {
    const std::size_t bytes =
        tensor::row_bytes(source.dtype, static_cast<std::size_t>(source.columns));
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      start[lane] = lane < count
                        ? source.bytes.data() + static_cast<std::size_t>(first + lane) * bytes
                        : nullptr;
    }
  }
};

unsigned byte_at(const std::byte* p, std::int64_t i) noexcept {
  return std::to_integer<unsigned>(p[i]);
}

void put_half(const std::byte* from, std::byte* to, std::int64_t lane) noexcept {
  std::memcpy(to + 2 * lane, from, 2);
}

/// Quads of sixteen rows, being prepared.
struct Quads {
  static constexpr std::int64_t kBytes = 1024;
  alignas(64) std::byte bytes[kPanelRows][kBytes];

  [[nodiscard]] std::byte* of(std::int64_t lane) noexcept { return bytes[lane]; }
  void interleave(const KernelTable& kernels, std::int64_t quads, std::byte* to,
                  std::int64_t first = 0) const noexcept {
    const std::byte* rows[kPanelRows];
    for (int lane = 0; lane < kLanes; ++lane) rows[lane] = bytes[lane] + 4 * first;
    kernels.interleave_quads(rows, quads, 32, false, to);
  }
};

// ---- Blocks of 32, 64 and 128 -------------------------------------------------------------------

/// 32 bits in the panel's order: bit s of byte j is bit 4s + j of the file's.
std::uint32_t spread_bits(const std::byte* from) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, from, 4);
  std::uint32_t result = 0;
  for (int e = 0; e < 32; ++e) result |= ((bits >> e) & 1U) << (8 * (e % 4) + e / 4);
  return result;
}

/// One block of the file of one row: its scales into `group`, for block `index` of the group, its
/// quads to `to`.
void stage_small(PanelFormat format, const std::byte* from, std::int64_t lane, std::int64_t index,
                 std::byte* group, std::byte* to) noexcept {
  switch (format) {
    case PanelFormat::kMXFP4:
      group[16 * index + lane] = from[0];
      std::memcpy(to, from + 1, 16);
      return;
    case PanelFormat::kNVFP4:
      for (int s = 0; s < 4; ++s) {
        const std::byte scale = from[s] & std::byte{0x7F};
        group[16 * s + lane] = scale == std::byte{0x7F} ? std::byte{0} : scale;
      }
      // Weights 0-7 and 8-15 of a sub-block share bytes; here those of two sub-blocks do.
      for (int i = 0; i < 32; ++i) {
        const std::byte* const pair = from + 4 + i / 16 * 16 + i % 8;
        const int shift = i % 16 < 8 ? 0 : 4;
        const unsigned low = byte_at(pair, 0) >> shift & 15U;
        const unsigned high = byte_at(pair, 8) >> shift & 15U;
        to[i] = static_cast<std::byte>(low | high << 4);
      }
      return;
    case PanelFormat::kQ1_0:
      put_half(from, group + 32 * index, lane);
      for (int unit = 0; unit < 4; ++unit) {
        const std::uint32_t bits = spread_bits(from + 2 + 4 * unit);
        std::memcpy(to + 4 * unit, &bits, 4);
      }
      return;
    case PanelFormat::kQ2_0:
      put_half(from, group + 32 * index, lane);
      for (int unit = 0; unit < 2; ++unit) {
        for (int i = 0; i < 8; ++i) {
          unsigned byte = 0;
          for (int s = 0; s < 4; ++s) {
            const int feature = 32 * unit + 8 * s + i;
            byte |= (byte_at(from, 2 + feature / 4) >> (2 * (feature % 4)) & 3U) << (2 * s);
          }
          to[8 * unit + i] = static_cast<std::byte>(byte);
        }
      }
      return;
    default:
      break;
  }
  put_half(from, group + 32 * index, lane);
  from += 2;
  if (format == PanelFormat::kQ4_1 || format == PanelFormat::kQ5_1) {
    put_half(from, group + 32, lane);
    from += 2;
  }
  if (format == PanelFormat::kQ5_0 || format == PanelFormat::kQ5_1) {
    const std::uint32_t bits = spread_bits(from);
    std::memcpy(to, &bits, 4);
    from += 4;
    to += 4;
  }
  std::memcpy(to, from, 16);
}

/// Q8_0, whose files are the largest: pairs of blocks are interleaved from where they are.
void pack_bytes(const KernelTable& kernels, const WeightSource& source, const WeightRows& rows,
                std::byte* panel) noexcept {
  constexpr std::int64_t kBlock = 34;
  constexpr std::int64_t kHeader = 64, kGroup = kHeader + 2 * 512;  // two blocks
  static constexpr std::byte kAbsent[2 * kBlock] = {};
  const bool flip = kernels.biased_weights;
  const auto block_of = [&](std::int64_t lane, std::int64_t b) {
    return rows.start[lane] != nullptr ? rows.start[lane] + kBlock * b : kAbsent;
  };
  const std::byte* quads[kPanelRows];
  std::int64_t b = 0;
  for (; b + 2 <= source.columns / 32; b += 2, panel += kGroup) {
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      const std::byte* const from = block_of(lane, b);
      put_half(from, panel, lane);
      put_half(from + kBlock, panel + 32, lane);
      quads[lane] = from + 2;
    }
    kernels.interleave_quads(quads, 16, kBlock, flip, panel + kHeader);
  }
  if (b == source.columns / 32) return;
  // A block without a second one has zeros beside it.
  std::memset(panel, 0, kGroup);
  Quads staged;
  for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
    put_half(block_of(lane, b), panel, lane);
    std::memcpy(staged.of(lane), block_of(lane, b) + 2, 32);
    quads[lane] = staged.of(lane);
  }
  kernels.interleave_quads(quads, 8, 32, flip, panel + kHeader);
}

void pack_small(const KernelTable& kernels, const WeightSource& source, PanelFormat format,
                const WeightRows& rows, std::byte* panel) noexcept {
  const tensor::DTypeInfo& type = tensor::info(source.dtype);
  const auto stride = static_cast<std::int64_t>(type.block_bytes);
  const std::int64_t block = type.block_elements;
  const auto group_bytes = static_cast<std::int64_t>(panel_bytes(format, 1));
  std::int64_t group_blocks = 1;
  while (panel_bytes(format, block * (group_blocks + 1)) == static_cast<std::size_t>(group_bytes)) {
    ++group_blocks;
  }
  const std::int64_t quads = (group_bytes - 64) / 64 / group_blocks;  // of a block
  Quads staged = {};
  for (std::int64_t b = 0; b < source.columns / block; b += group_blocks, panel += group_bytes) {
    const std::int64_t count = std::min(group_blocks, source.columns / block - b);
    std::memset(panel, 0, static_cast<std::size_t>(group_bytes));
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      if (rows.start[lane] == nullptr) continue;
      for (std::int64_t i = 0; i < count; ++i) {
        stage_small(format, rows.start[lane] + (b + i) * stride, lane, i, panel,
                    staged.of(lane) + 4 * quads * i);
      }
    }
    staged.interleave(kernels, quads * count, panel + 64);
  }
}

// ---- Blocks of 256 ------------------------------------------------------------------------------

/// Byte i of the scales of a block: those of pairs lie beside each other.
std::byte& scale_at(std::byte* block, std::int64_t lane, int i) noexcept {
  return block[64 + 32 * (i / 2) + 2 * lane + i % 2];
}
/// Of blocks whose halves begin with scales of their own.
std::int64_t half_bytes(PanelFormat format) noexcept {
  return (static_cast<std::int64_t>(panel_bytes(format, 256)) - 64) / 2;
}
std::byte& scale_at(PanelFormat format, std::byte* block, std::int64_t lane, int i) noexcept {
  return scale_at(block + i / 8 * half_bytes(format), lane, i % 8);
}

void put_scales(const std::byte* from, int count, std::int64_t lane, std::byte* block) noexcept {
  for (int i = 0; i < count; ++i) scale_at(block, lane, i) = from[i];
}

std::uint32_t quad_at(const std::byte* p) noexcept {
  std::uint32_t quad;
  std::memcpy(&quad, p, 4);
  return quad;
}

/// Codes of five bits as Q5_KBlock (dot_blocks256.h) has them: code(lane, quad) are four bytes.
template <class Code>
void put_fives(Code code, std::byte* to) noexcept {
  const std::uint32_t c[8] = {code(0, 0), code(1, 0), code(0, 1), code(1, 1),
                              code(0, 2), code(1, 2), code(0, 3), code(1, 3)};
  const auto low = [](std::uint32_t x) { return (x & 0x07070707U) << 5; };
  const auto high = [](std::uint32_t x) { return (x & 0x18181818U) << 3; };
  const std::uint32_t quads[5] = {c[0] | low(c[5]), c[1] | high(c[5]) | (c[7] & 0x08080808U) << 2,
                                  c[2] | low(c[6]), c[3] | high(c[6]) | (c[7] & 0x10101010U) << 1,
                                  c[4] | low(c[7])};
  std::memcpy(to, quads, sizeof quads);
}

void stage_q5_k(const std::byte* from, std::int64_t lane, std::byte* block,
                std::byte* to) noexcept {
  put_half(from, block, lane);
  put_half(from + 2, block + 32, lane);
  put_scales(from + 4, 12, lane, block);
  for (int i = 0; i < 8; ++i, to += 20) {
    const int part = i / 2;
    const auto code = [&](int sub, int quad) {
      const int l = i % 2 * 16 + 4 * quad;
      const std::uint32_t nibbles = quad_at(from + 48 + 32 * part + l) >> (4 * sub);
      const std::uint32_t fifth = quad_at(from + 16 + l) >> (2 * part + sub);
      return (nibbles & 0x0F0F0F0FU) | (fifth & 0x01010101U) << 4;
    };
    put_fives(code, to);
  }
}

/// Three quads hold those of four quarters of a half: three in their lower six bits.
void stage_q6_k(const std::byte* from, std::int64_t lane, std::byte* block,
                std::byte* to) noexcept {
  put_half(from + 208, block, lane);
  for (int i = 0; i < 16; ++i) {
    scale_at(PanelFormat::kQ6_K, block, lane, i) = from[192 + i];
  }
  for (int i = 0; i < 16; ++i, to += 12) {
    const int half = i / 8;
    const int l = i % 8 * 4;
    const auto code = [&](int quarter) {
      const std::uint32_t nibbles = quad_at(from + 64 * half + quarter % 2 * 32 + l);
      const std::uint32_t upper = quad_at(from + 128 + 32 * half + l) >> (2 * quarter);
      return (nibbles >> (quarter / 2 * 4) & 0x0F0F0F0FU) | (upper & 0x03030303U) << 4;
    };
    const std::uint32_t last = code(3);
    const auto top = [last](int j) { return (last >> (2 * j) & 0x03030303U) << 6; };
    const std::uint32_t quads[3] = {code(0) | top(0), code(1) | top(1), code(2) | top(2)};
    std::memcpy(to, quads, sizeof quads);
  }
}

/// Codes of three bits as ThreeBitParts (dot_blocks256.h) has them: `eights(g)` is a word of the
/// codes of features 0 to 7 of lane g of a part and pair of quads; `to`: three quads.
template <class Eights>
void put_threes(Eights eights, std::byte* to) noexcept {
  const std::uint64_t a = eights(0) | eights(1) << 3;  // of the first quad, and of the second
  const std::uint64_t b = eights(2) | eights(3) << 3;
  const auto tops = static_cast<std::uint32_t>(b >> 32);
  const auto top = [tops](int i) { return (tops >> (2 * i) & 0x03030303U) << 6; };
  const std::uint32_t quads[3] = {static_cast<std::uint32_t>(a) | top(0),
                                  static_cast<std::uint32_t>(b) | top(1),
                                  static_cast<std::uint32_t>(a >> 32) | top(2)};
  std::memcpy(to, quads, sizeof quads);
}

void stage_q3_k(const std::byte* from, std::int64_t lane, std::byte* block,
                std::byte* to) noexcept {
  put_half(from + 108, block, lane);
  const std::byte* const s = from + 96;
  for (int j = 0; j < 16; ++j) {
    const unsigned low = j < 8 ? byte_at(s, j) & 15 : byte_at(s, j - 8) >> 4;
    const unsigned high = byte_at(s, 8 + j % 4) >> (2 * (j / 4)) & 3;
    scale_at(PanelFormat::kQ3_K, block, lane, j) =
        static_cast<std::byte>(static_cast<int>(low | high << 4) - 32);
  }
  // Of eight parts and pairs: features 128 h + 32 g + l to l + 7 of lane g.
  for (int i = 0; i < 8; ++i, to += 12) {
    const int h = i / 4;
    const int l = i % 4 * 8;
    std::uint64_t low = 0;
    std::uint64_t third = 0;
    std::memcpy(&low, from + 32 + 32 * h + l, 8);
    std::memcpy(&third, from + l, 8);
    put_threes(
        [&](int g) {
          return (low >> (2 * g) & 0x0303030303030303U) |
                 (third >> (4 * h + g) & 0x0101010101010101U) << 2;
        },
        to);
  }
}

void stage_iq4_xs(const std::byte* from, std::int64_t lane, std::byte* block,
                  std::byte* to) noexcept {
  put_half(from, block, lane);
  const unsigned high = byte_at(from, 2) | byte_at(from, 3) << 8;
  for (int j = 0; j < 8; ++j) {
    const unsigned low = byte_at(from, 4 + j / 2) >> (4 * (j % 2)) & 15U;
    const unsigned bits = low | (high >> (2 * j) & 3U) << 4;
    scale_at(block, lane, j) = static_cast<std::byte>(static_cast<int>(bits) - 32);
  }
  // Weights i and i + 16 of a sub-block share a byte; here those of two sub-blocks do.
  for (int pair = 0; pair < 4; ++pair, to += 32) {
    const std::byte* const first = from + 8 + 32 * pair;
    for (int i = 0; i < 16; ++i) {
      const unsigned a = byte_at(first, i);
      const unsigned b = byte_at(first, 16 + i);
      to[i] = static_cast<std::byte>((a & 15U) | (b & 15U) << 4);
      to[16 + i] = static_cast<std::byte>(a >> 4 | (b & 0xF0U));
    }
  }
}

/// Two scale nibbles per byte, `step` apart in `scales`.
void put_nibble_scales(const std::uint8_t* scales, int count, int step, std::int64_t lane,
                       std::byte* block) noexcept {
  for (int i = 0; i < count; i += 2) {
    block[64 + 8 * i + lane] =
        static_cast<std::byte>(scales[i * step] | scales[(i + 1) * step] << 4);
  }
}

/// codes[i] (two bits) of 256 weights as the panel has them.
void put_two_bits(const std::uint8_t* codes, std::byte* to) noexcept {
  for (int h = 0; h < 2; ++h) {
    for (int l = 0; l < 32; ++l) {
      const std::uint8_t* const c = codes + 128 * h + l;
      to[32 * h + l] = static_cast<std::byte>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
    }
  }
}

void stage_levels(DType dtype, PanelFormat format, const std::byte* from, std::int64_t lane,
                  std::byte* block, std::byte* to) noexcept {
  quant::BlockLevels levels;
  quant::read_levels(dtype, from, levels);
  std::memcpy(block + 2 * lane, &levels.unit, 2);
  const std::int8_t* const q = levels.levels;
  std::uint8_t codes[256];
  switch (format) {
    case PanelFormat::kIQ3_S:
    case PanelFormat::kIQ3_XXS: {
      put_nibble_scales(levels.scales, 8, 2, lane, block);
      // Magnitudes are 1, 3 .. 15 or 4, 12 .. 62.
      const int divisor = format == PanelFormat::kIQ3_S ? 2 : 8;
      for (int i = 0; i < 256; ++i) {
        const int magnitude = q[i] < 0 ? -q[i] : q[i];
        codes[i] = static_cast<std::uint8_t>(magnitude / divisor + (q[i] < 0 ? 8 : 0));
      }
      for (int i = 0; i < 128; ++i) {
        const std::uint8_t* const c = codes + i / 32 * 64 + i % 32;
        to[i] = static_cast<std::byte>(c[0] | c[32] << 4);
      }
      return;
    }
    case PanelFormat::kIQ2: {
      put_nibble_scales(levels.scales, 8, 1, lane, block);
      put_nibble_scales(levels.scales + 8, 8, 1, lane, block + half_bytes(format));
      for (int i = 0; i < 256; ++i) {
        const int magnitude = q[i] < 0 ? -q[i] : q[i];  // 8, 25, 43
        codes[i] = static_cast<std::uint8_t>(magnitude / 16 + (q[i] < 0 ? 4 : 0));
      }
      for (int i = 0; i < 8; ++i, to += 12) {
        const std::uint8_t* const first = codes + i / 4 * 128 + i % 4 * 8;
        put_threes(
            [first](int g) {
              std::uint64_t eight = 0;
              std::memcpy(&eight, first + 32 * g, 8);
              return eight;
            },
            to);
      }
      return;
    }
    case PanelFormat::kIQ1: {
      put_nibble_scales(levels.scales, 16, 1, lane, block);
      std::uint32_t shifts = 0;
      for (int g = 0; g < 32; ++g) {
        const bool minus = ((q[8 * g] + 16) & 7) == 7;  // a multiple of eight minus one
        shifts |= (minus ? 1U : 0U) << (g / 2 + g % 2 * 16);
      }
      std::memcpy(block + 64 + 128 + 4 * lane, &shifts, 4);
      for (int i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>((q[i] + 12) / 8);
      return put_two_bits(codes, to);
    }
    default:
      for (int i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>(q[i] + 1);
      return put_two_bits(codes, to);
  }
}

void stage_256(DType dtype, PanelFormat format, const std::byte* from, std::int64_t lane,
               std::byte* block, std::byte* to) noexcept {
  switch (format) {
    case PanelFormat::kQ4_K:
      put_half(from, block, lane);
      put_half(from + 2, block + 32, lane);
      put_scales(from + 4, 12, lane, block);
      std::memcpy(to, from + 16, 128);
      return;
    case PanelFormat::kQ2_K:
      put_half(from + 80, block, lane);
      put_half(from + 82, block + 32, lane);
      put_scales(from, 16, lane, block);
      std::memcpy(to, from + 16, 64);
      return;
    case PanelFormat::kQ5_K:
      return stage_q5_k(from, lane, block, to);
    case PanelFormat::kQ6_K:
      return stage_q6_k(from, lane, block, to);
    case PanelFormat::kQ3_K:
      return stage_q3_k(from, lane, block, to);
    case PanelFormat::kIQ4_XS:
      return stage_iq4_xs(from, lane, block, to);
    default:
      return stage_levels(dtype, format, from, lane, block, to);
  }
}

/// What a block of a panel is made of, behind its units: `pieces` times scales and quads.
struct Pieces {
  std::int64_t pieces;
  std::int64_t scale_bytes;
};

Pieces pieces_of(PanelFormat format) noexcept {
  switch (format) {
    case PanelFormat::kQ4_K:
    case PanelFormat::kQ5_K:
    case PanelFormat::kIQ1:
      return {1, 192};
    case PanelFormat::kQ2_K:
      return {1, 256};
    case PanelFormat::kQ3_K:
    case PanelFormat::kQ6_K:
      return {2, 128};
    case PanelFormat::kIQ4_XS:
      return {1, 128};
    case PanelFormat::kIQ2:
      return {2, 64};
    case PanelFormat::kIQ3_XXS:
    case PanelFormat::kIQ3_S:
      return {1, 64};
    default:
      return {1, 0};
  }
}

void pack_256(const KernelTable& kernels, const WeightSource& source, PanelFormat format,
              const WeightRows& rows, std::byte* panel) noexcept {
  const auto stride = static_cast<std::int64_t>(tensor::info(source.dtype).block_bytes);
  const auto block_bytes = static_cast<std::int64_t>(panel_bytes(format, 256));
  const auto [pieces, scale_bytes] = pieces_of(format);
  const std::int64_t piece_bytes = (block_bytes - 64) / pieces;
  const std::int64_t quads = (piece_bytes - scale_bytes) / 64;
  Quads staged = {};
  for (std::int64_t b = 0; b < source.columns / 256; ++b, panel += block_bytes) {
    std::memset(panel, 0, 64);
    for (std::int64_t i = 0; i < pieces; ++i) {
      std::memset(panel + 64 + i * piece_bytes, 0, static_cast<std::size_t>(scale_bytes));
    }
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      if (rows.start[lane] == nullptr) continue;
      stage_256(source.dtype, format, rows.start[lane] + b * stride, lane, panel, staged.of(lane));
    }
    for (std::int64_t i = 0; i < pieces; ++i) {
      staged.interleave(kernels, quads, panel + 64 + i * piece_bytes + scale_bytes, i * quads);
    }
  }
}

// ---- Floats -------------------------------------------------------------------------------------

/// Values [k, k + count) of a row as floats, count <= 256 and, for blocks, whole ones.
void decode_piece(const WeightSource& source, const std::byte* row, std::int64_t k,
                  std::int64_t count, float* to) noexcept {
  const std::size_t first = tensor::row_bytes(source.dtype, static_cast<std::size_t>(k));
  const std::size_t bytes = tensor::row_bytes(source.dtype, static_cast<std::size_t>(count));
  quant::decode(source.dtype, {row + first, bytes}, {to, static_cast<std::size_t>(count)});
}

void pack_floats(const KernelTable& kernels, const WeightSource& source, PanelFormat format,
                 const WeightRows& rows, std::byte* panel) noexcept {
  const bool pairs = format == PanelFormat::kBF16Pairs;
  Quads staged = {};
  for (std::int64_t k = 0; k < source.columns; k += 256) {
    const std::int64_t count = std::min<std::int64_t>(256, source.columns - k);
    for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
      if (rows.start[lane] == nullptr) continue;
      if (pairs && source.dtype == DType::kBF16) {
        staged.of(lane)[2 * count] = staged.of(lane)[2 * count + 1] = std::byte{0};
        std::memcpy(staged.of(lane), rows.start[lane] + 2 * k, static_cast<std::size_t>(2 * count));
        continue;
      }
      alignas(64) float values[256];
      float* const to = pairs ? values : reinterpret_cast<float*>(staged.of(lane));
      decode_piece(source, rows.start[lane], k, count, to);
      if (pairs) kernels.to_bfloat(values, count, staged.of(lane));
    }
    staged.interleave(kernels, pairs ? (count + 1) / 2 : count, panel + k * (pairs ? 32 : 64));
  }
}

/// Two bytes per value, as they are.
void pack_halves(const WeightSource& source, const WeightRows& rows, std::byte* panel) noexcept {
  for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
    if (rows.start[lane] == nullptr) continue;
    for (std::int64_t k = 0; k < source.columns; ++k) {
      std::memcpy(panel + 32 * k + 2 * lane, rows.start[lane] + 2 * k, 2);
    }
  }
}

}  // namespace

void pack_panel(const KernelTable& kernels, const WeightSource& source, PanelFormat format,
                std::int64_t first, std::int64_t count, std::byte* panel) noexcept {
  const WeightRows rows(source, first, count);
  switch (format) {
    case PanelFormat::kF16:
    case PanelFormat::kBF16:
      if (count < kPanelRows) std::memset(panel, 0, panel_bytes(format, source.columns));
      return pack_halves(source, rows, panel);
    case PanelFormat::kF32:
    case PanelFormat::kBF16Pairs:
      return pack_floats(kernels, source, format, rows, panel);
    default:
      break;
  }
  if (tensor::info(source.dtype).block_elements == 256) {
    return pack_256(kernels, source, format, rows, panel);
  }
  if (format == PanelFormat::kQ8_0) return pack_bytes(kernels, source, rows, panel);
  pack_small(kernels, source, format, rows, panel);
}

}  // namespace hearth::compute::cpu
