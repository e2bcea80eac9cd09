// Formats with two, three or four levels and one half-precision scale per block.
#include <cstdint>

#include "quant/bytes.h"
#include "quant/families.h"
#include "quant/levels.h"

namespace hearth::quant {
namespace {

void decode_ternary(tensor::DType dtype, const std::byte* from, std::size_t blocks, float* to) {
  const std::size_t stride = tensor::info(dtype).block_bytes;
  BlockLevels block;
  for (std::size_t b = 0; b < blocks; ++b, from += stride, to += 256) {
    read_levels(dtype, from, block);
    const float unit = tensor::float_from_half(block.unit);
    for (int i = 0; i < 256; ++i) to[i] = static_cast<float>(block.levels[i]) * unit;
  }
}

}  // namespace

void decode_tq1_0(const std::byte* from, std::size_t blocks, float* to) {
  decode_ternary(tensor::DType::kTQ1_0, from, blocks, to);
}

void decode_tq2_0(const std::byte* from, std::size_t blocks, float* to) {
  decode_ternary(tensor::DType::kTQ2_0, from, blocks, to);
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
