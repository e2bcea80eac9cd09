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

/// Whether `encode_row` knows the type: every type of weights that `decode` knows (F32, F16, BF16
/// and all quantized ones but the activation types Q8_1 and Q8_K).
[[nodiscard]] bool can_encode(tensor::DType dtype) noexcept;

/// Whether the type is of little use without importance: IQ1_*, IQ2_* and IQ3_XXS.
[[nodiscard]] bool needs_importance(tensor::DType dtype) noexcept;

/// Encodes one row (a multiple of the block size) into `blocks`, exactly row_bytes(dtype,
/// row.size()) bytes. `importance` is empty, or holds row.size() weights >= 0: the mean square of
/// each input column over calibration text. Without it the squared error of the decoded values is
/// made small; with it their error weighted by importance * sqrt(spread + value^2)
/// (reference/quant-blocks.md section 5). Formats that only widen or narrow numbers ignore it.
///
/// Deterministic. Finite values never become infinite: what a format cannot hold becomes its
/// largest value. Quantized types take a NaN for zero and an infinity for the largest float; the
/// float types keep both. A block of zeros decodes to zeros. Uses up to about 150 KiB of stack.
void encode_row(tensor::DType dtype, std::span<const float> row, std::span<const float> importance,
                std::span<std::byte> blocks) noexcept;

/// encode_row without importance, for any number of whole blocks (also several rows at once).
void encode(tensor::DType dtype, std::span<const float> values,
            std::span<std::byte> blocks) noexcept;

/// Keys and values as a context stores them, while a token waits: encode(), but Q8_0 without a
/// search, which makes the squared error a fifth smaller (2.31e-5 instead of 2.85e-5 of the mean
/// square of normal values) and takes fifty times as long. Its scale is the largest magnitude / 127
/// as a half, at most 65504; the same bits on every machine for finite values.
void encode_kv(tensor::DType dtype, std::span<const float> values,
               std::span<std::byte> blocks) noexcept;

}  // namespace hearth::quant
