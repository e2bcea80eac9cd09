// Decoding (and encoding) of block formats. One implementation file per family of formats; the
// tables live beside them. Formats: reference/quant-blocks.md.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace hearth::quant {

/// Whether `decode` knows the type (every stored float type: F32, F16, BF16, F64, all quantized
/// ones but Q8_K).
[[nodiscard]] bool can_decode(tensor::DType dtype) noexcept;

/// Decodes `out.size()` consecutive values (a multiple of the block size) from `blocks`, which must
/// hold exactly row_bytes(dtype, out.size()) bytes; no alignment is needed. Precondition checked by
/// the caller; noexcept. Bit-exact with the reference formulas: scale products are rounded to float
/// once, in the order the format document gives.
void decode(tensor::DType dtype, std::span<const std::byte> blocks, std::span<float> out) noexcept;

/// Encodes values into blocks by the straightforward method (round to nearest, no importance
/// weights). Only for the types `can_encode` names: F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K;
/// better encoders come with `hearth quantize`.
[[nodiscard]] bool can_encode(tensor::DType dtype) noexcept;
void encode(tensor::DType dtype, std::span<const float> values,
            std::span<std::byte> blocks) noexcept;

}  // namespace hearth::quant
