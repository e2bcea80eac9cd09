#include "compute/cpu/panels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "quant/quant.h"
#include "tensor/dtype.h"

namespace hearth::compute::cpu {
namespace {

/// The shape of a panel format's blocks. Blocks of 32 come in groups of 64 bytes of scales and the
/// one or two blocks that these are for.
struct Geometry {
  std::int64_t elements;     // features per block
  std::int64_t scale_bytes;  // per block; 0: the block has no separate scales
  std::int64_t block_bytes;

  [[nodiscard]] std::int64_t group() const noexcept {
    return scale_bytes == 0 ? 1 : 64 / scale_bytes;
  }
  [[nodiscard]] std::int64_t header() const noexcept { return scale_bytes == 0 ? 0 : 64; }
  [[nodiscard]] std::int64_t group_bytes() const noexcept {
    return header() + group() * block_bytes;
  }
  /// Where the scales and the weights of block b are.
  [[nodiscard]] std::int64_t scales(std::int64_t b) const noexcept {
    return b / group() * group_bytes() + b % group() * scale_bytes;
  }
  [[nodiscard]] std::int64_t weights(std::int64_t b) const noexcept {
    return b / group() * group_bytes() + header() + b % group() * block_bytes;
  }
};

Geometry geometry(PanelFormat format) noexcept {
  switch (format) {
    case PanelFormat::kF32:
      return {1, 0, 64};
    case PanelFormat::kF16:
    case PanelFormat::kBF16:
      return {1, 0, 32};
    case PanelFormat::kInt8:
      return {32, 64, 512};
    case PanelFormat::kQ8_0:
      return {32, 32, 512};
    case PanelFormat::kQ4_0:
      return {32, 32, 256};
    case PanelFormat::kQ4_1:
      return {32, 64, 256};
    case PanelFormat::kQ5_0:
      return {32, 32, 320};
    case PanelFormat::kQ5_1:
      return {32, 64, 320};
    case PanelFormat::kQ4_K:
      return {256, 0, 320 + 2048};
    case PanelFormat::kQ5_K:
      return {256, 0, 320 + 512 + 2048};
    case PanelFormat::kQ6_K:
      return {256, 0, 320 + 2048 + 1024};
  }
  return {};
}

/// Copies `quads` groups of four bytes to every sixteenth quad of `to`, starting at `lane`.
void spread_quads(const std::byte* from, std::int64_t quads, std::byte* to,
                  std::int64_t lane) noexcept {
  to += 4 * lane;
  for (std::int64_t i = 0; i < quads; ++i) std::memcpy(to + 64 * i, from + 4 * i, 4);
}

void spread_quads_biased(const std::byte* from, std::int64_t quads, std::byte* to,
                         std::int64_t lane) noexcept {
  to += 4 * lane;
  for (std::int64_t i = 0; i < quads; ++i) {
    std::uint32_t quad;
    std::memcpy(&quad, from + 4 * i, 4);
    quad ^= 0x80808080U;
    std::memcpy(to + 64 * i, &quad, 4);
  }
}

void put_half(const std::byte* from, std::byte* to, std::int64_t lane) noexcept {
  std::memcpy(to + 2 * lane, from, 2);
}

unsigned byte_at(const std::byte* p, std::int64_t i) noexcept {
  return std::to_integer<unsigned>(p[i]);
}

/// The four bytes of fifth bits of a Q5_0 or Q5_1 block in the panel's order: bit s of byte j is
/// bit 4s + j of the file's.
std::uint32_t fifth_bits(const std::byte* from) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, from, 4);
  std::uint32_t result = 0;
  for (int e = 0; e < 32; ++e) result |= ((bits >> e) & 1U) << (8 * (e % 4) + e / 4);
  return result;
}

/// One block of 32 of one row.
void pack_block32(PanelFormat format, bool biased, const std::byte* from, std::int64_t lane,
                  std::byte* scales, std::byte* block) noexcept {
  const bool minimum = format == PanelFormat::kQ4_1 || format == PanelFormat::kQ5_1;
  const bool fifth = format == PanelFormat::kQ5_0 || format == PanelFormat::kQ5_1;
  put_half(from, scales, lane);
  from += 2;
  if (minimum) {
    put_half(from, scales + 32, lane);
    from += 2;
  }
  if (fifth) {
    const std::uint32_t bits = fifth_bits(from);
    std::memcpy(block + 4 * lane, &bits, 4);
    from += 4;
    block += 64;
  }
  if (format != PanelFormat::kQ8_0) {
    spread_quads(from, 4, block, lane);
  } else if (biased) {
    spread_quads_biased(from, 8, block, lane);
  } else {
    spread_quads(from, 8, block, lane);
  }
}

/// One super-block of Q4_K or Q5_K of one row (reference: quant-blocks.md section 3).
void pack_k45(bool five_bits, const std::byte* from, std::int64_t lane, std::byte* block) noexcept {
  put_half(from, block, lane);
  put_half(from + 2, block + 32, lane);
  const std::byte* const s = from + 4;
  for (int j = 0; j < 8; ++j) {
    unsigned scale = 0;
    unsigned minimum = 0;
    if (j < 4) {
      scale = byte_at(s, j) & 63;
      minimum = byte_at(s, j + 4) & 63;
    } else {
      scale = (byte_at(s, j + 4) & 15) | (byte_at(s, j - 4) >> 6) << 4;
      minimum = (byte_at(s, j + 4) >> 4) | (byte_at(s, j) >> 6) << 4;
    }
    block[64 + 16 * j + lane] = static_cast<std::byte>(scale);
    block[192 + 32 * (j / 2) + 2 * lane + j % 2] = static_cast<std::byte>(minimum);
  }
  from += 16;
  block += 320;
  if (five_bits) {
    spread_quads(from, 8, block, lane);
    from += 32;
    block += 512;
  }
  spread_quads(from, 32, block, lane);
}

void pack_q6_k(const std::byte* from, std::int64_t lane, std::byte* block) noexcept {
  put_half(from + 208, block, lane);
  for (int j = 0; j < 16; ++j) block[64 + 16 * j + lane] = from[192 + j];
  // Four parts, each: the upper bits of features l .. l + 15 of four quarters, then the nibbles of
  // quarters 0 and 2, then those of 1 and 3.
  for (int part = 0; part < 4; ++part) {
    std::byte* const to = block + 320 + part * 768;
    const std::byte* const nibbles = from + part / 2 * 64 + part % 2 * 16;
    spread_quads(from + 128 + part / 2 * 32 + part % 2 * 16, 4, to, lane);
    spread_quads(nibbles, 4, to + 256, lane);
    spread_quads(nibbles + 32, 4, to + 512, lane);
  }
}

/// Q3_K as Q6_K: the integers -4 .. 3 are stored plus 32, in the same order of features.
void pack_q3_k(const std::byte* from, std::int64_t lane, std::byte* block) noexcept {
  std::byte q6[210] = {};
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128;
    const int g = i % 128 / 32;
    const int l = i % 32;
    const unsigned low = (byte_at(from, 32 + 32 * h + l) >> (2 * g)) & 3;
    const unsigned high = (byte_at(from, l) >> (4 * h + g)) & 1;
    const unsigned q = low + 4 * high + 28;  // low - 4 (1 - high) + 32
    q6[64 * h + 32 * (g & 1) + l] |= static_cast<std::byte>((q & 15) << (g < 2 ? 0 : 4));
    q6[128 + 32 * h + l] |= static_cast<std::byte>((q >> 4) << (2 * g));
  }
  const std::byte* const s = from + 96;
  for (int j = 0; j < 16; ++j) {
    const unsigned low = j < 8 ? byte_at(s, j) & 15 : byte_at(s, j - 8) >> 4;
    const unsigned high = (byte_at(s, 8 + j % 4) >> (2 * (j / 4))) & 3;
    q6[192 + j] = static_cast<std::byte>(static_cast<int>(low | high << 4) - 32);
  }
  std::memcpy(q6 + 208, from + 108, 2);
  pack_q6_k(q6, lane, block);
}

/// One block of 32 values rounded to int8 with a float scale.
void pack_int8(const float* values, bool biased, std::int64_t lane, std::byte* scales,
               std::byte* block) noexcept {
  float most = 0;
  for (int i = 0; i < 32; ++i) most = std::max(most, std::fabs(values[i]));
  const float scale = most / 127.0F;
  const float inverse = most > 1e-30F ? 127.0F / most : 0.0F;
  std::memcpy(scales + 4 * lane, &scale, 4);
  std::byte bytes[32];
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(std::lrintf(values[i] * inverse));
  if (biased) {
    spread_quads_biased(bytes, 8, block, lane);
  } else {
    spread_quads(bytes, 8, block, lane);
  }
}

/// The bytes of one row.
std::span<const std::byte> row_of(const WeightSource& source, std::int64_t row) noexcept {
  const std::size_t bytes =
      tensor::row_bytes(source.dtype, static_cast<std::size_t>(source.columns));
  return source.bytes.subspan(static_cast<std::size_t>(row) * bytes, bytes);
}

/// Calls use(first feature, values) for a row, decoded in pieces of at most 256.
template <class Use>
void for_decoded(const WeightSource& source, std::int64_t row, Use use) noexcept {
  const std::span<const std::byte> bytes = row_of(source, row);
  float values[256];
  for (std::int64_t k = 0; k < source.columns; k += 256) {
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(256, source.columns - k));
    const std::size_t first = tensor::row_bytes(source.dtype, static_cast<std::size_t>(k));
    quant::decode(source.dtype, bytes.subspan(first, tensor::row_bytes(source.dtype, count)),
                  {values, count});
    use(k, std::span<const float>(values, count));
  }
}

void pack_row(const WeightSource& source, PanelFormat format, bool biased, std::int64_t row,
              std::int64_t lane, std::byte* panel) noexcept {
  const Geometry g = geometry(format);
  const std::byte* from = row_of(source, row).data();
  const std::int64_t stride = tensor::info(source.dtype).block_bytes;
  switch (format) {
    case PanelFormat::kF32:
      for_decoded(source, row, [&](std::int64_t k, std::span<const float> values) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          std::memcpy(panel + (k + static_cast<std::int64_t>(i)) * 64 + 4 * lane, &values[i], 4);
        }
      });
      return;
    case PanelFormat::kF16:
    case PanelFormat::kBF16:
      for (std::int64_t k = 0; k < source.columns; ++k)
        std::memcpy(panel + k * 32 + 2 * lane, from + 2 * k, 2);
      return;
    case PanelFormat::kInt8:
      for_decoded(source, row, [&](std::int64_t k, std::span<const float> values) {
        for (std::size_t i = 0; i < values.size(); i += 32) {
          const std::int64_t b = (k + static_cast<std::int64_t>(i)) / 32;
          pack_int8(values.data() + i, biased, lane, panel + g.scales(b), panel + g.weights(b));
        }
      });
      return;
    default:
      break;
  }
  const std::int64_t blocks = source.columns / g.elements;
  for (std::int64_t b = 0; b < blocks; ++b, from += stride) {
    std::byte* const block = panel + g.weights(b);
    if (source.dtype == DType::kQ3_K) {
      pack_q3_k(from, lane, block);
    } else if (format == PanelFormat::kQ6_K) {
      pack_q6_k(from, lane, block);
    } else if (g.elements == 256) {
      pack_k45(format == PanelFormat::kQ5_K, from, lane, block);
    } else {
      pack_block32(format, biased, from, lane, panel + g.scales(b), block);
    }
  }
}

}  // namespace

PanelFormat panel_format(DType dtype, bool exact) noexcept {
  switch (dtype) {
    case DType::kF16:
      return PanelFormat::kF16;
    case DType::kBF16:
      return PanelFormat::kBF16;
    case DType::kF32:
    case DType::kF64:
      return PanelFormat::kF32;
    default:
      break;
  }
  if (exact) return PanelFormat::kF32;
  switch (dtype) {
    case DType::kQ8_0:
      return PanelFormat::kQ8_0;
    case DType::kQ4_0:
      return PanelFormat::kQ4_0;
    case DType::kQ4_1:
      return PanelFormat::kQ4_1;
    case DType::kQ5_0:
      return PanelFormat::kQ5_0;
    case DType::kQ5_1:
      return PanelFormat::kQ5_1;
    case DType::kQ4_K:
      return PanelFormat::kQ4_K;
    case DType::kQ5_K:
      return PanelFormat::kQ5_K;
    case DType::kQ3_K:
    case DType::kQ6_K:
      return PanelFormat::kQ6_K;
    default:
      return tensor::info(dtype).quantized ? PanelFormat::kInt8 : PanelFormat::kF32;
  }
}

RowFormat row_format(PanelFormat format) noexcept {
  switch (geometry(format).elements) {
    case 1:
      return RowFormat::kFloat;
    case 32:
      return RowFormat::kBlocks32;
    default:
      return RowFormat::kBlocks256;
  }
}

std::size_t panel_bytes(PanelFormat format, std::int64_t columns) noexcept {
  const Geometry g = geometry(format);
  const std::int64_t groups = (columns / g.elements + g.group() - 1) / g.group();
  return static_cast<std::size_t>(groups * g.group_bytes());
}

void pack_panel(const WeightSource& source, PanelFormat format, bool biased, std::int64_t first,
                std::int64_t count, std::byte* panel) noexcept {
  if (count < kPanelRows) std::memset(panel, 0, panel_bytes(format, source.columns));
  for (std::int64_t lane = 0; lane < count; ++lane)
    pack_row(source, format, biased, first + lane, lane, panel);
}

}  // namespace hearth::compute::cpu
