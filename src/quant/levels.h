// The small integers behind a block: what kernels that multiply integers keep instead of the packed
// form. For the codebook and ternary formats; the others are read as they are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace hearth::quant {

/// weight i = unit * factor * (2 * scales[i / 16] + 1) * levels[i], where `unit` is a
/// half-precision number and `factor` 1/8 for IQ1_* and IQ2_*, 1/4 for IQ3_XXS and 1 for the
/// others. Formats: reference/quant-blocks.md section 4. Ternary formats have no scales: those are
/// not set, and 2 s + 1 counts as 1.
struct BlockLevels {
  std::uint16_t unit;
  std::uint8_t scales[16];  // 0 .. 15
  /// IQ2_*: 8, 25 or 43 with a sign; IQ3_*: the values of the grid with a sign; IQ1_*: eight times
  /// -1, 0 or 1, plus or minus 1; TQ*: -1 to 2.
  std::int8_t levels[256];
};

/// Reads one block of 256 weights of IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, TQ1_0 or
/// TQ2_0.
void read_levels(tensor::DType dtype, const std::byte* block, BlockLevels& out) noexcept;

}  // namespace hearth::quant
