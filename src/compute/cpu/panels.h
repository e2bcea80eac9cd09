// Panels: how the CPU backend keeps weights. Sixteen rows (output features) are interleaved so that
// one 64-byte load holds four consecutive features of all sixteen, a product is one broadcast and
// one dot instruction, scales are vectors, and a panel is read front to back as a single stream.
//
// Layouts (lane = row within the panel; a "quad vector" is 64 bytes: four bytes of lane 0, four of
// lane 1, ...):
//   kF32, kF16, kBF16  [feature][16] values
//   blocks of 32       all scales first, [block][16] float (kInt8) or half (the others; Q4_1 and
//   Q5_1: 16 scales, then 16
//                      minima), padded to 64 bytes; then per block
//     kInt8, kQ8_0     8 quad vectors: features 4i .. 4i+3
//     kQ4_x            4 quad vectors: low nibbles are features 4i .., high nibbles 16 + 4i ..
//     kQ5_x            1 vector of fifth bits (bit s of a lane's byte j: feature 4s + j), then as
//     kQ4_x
//   blocks of 256      per block
//     kQ4_K, kQ5_K     16 half d, 16 half dmin, [8][16] scales, [4][16][2] minima, (Q5_K: 8 quad
//     vectors of fifth bits, bit
//                      j: sub-block j), 4 times 8 quad vectors of nibbles: low sub-block 2p, high
//                      2p + 1
//     kQ6_K            16 half d, 32 bytes of padding, [16][16] scales, 32 quad vectors of nibbles
//     and 16 of the upper two
//                      bits, both in the order of the file
// These hold the integers and scales of the file unchanged. Q3_K becomes kQ6_K, also unchanged in
// value (its formula is the same with smaller integers). Every other format is decoded and rounded
// to kInt8, at a relative error near 2^-9 of the largest value of 32, well below that of int8
// activations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

/// The panel format for weights of a file's type. `exact`: always a float format.
[[nodiscard]] PanelFormat panel_format(DType dtype, bool exact) noexcept;

[[nodiscard]] RowFormat row_format(PanelFormat format) noexcept;

/// Bytes of a panel of rows of `columns` features; a multiple of 64 except for float formats of odd
/// sizes.
[[nodiscard]] std::size_t panel_bytes(PanelFormat format, std::int64_t columns) noexcept;

/// Packs rows [first, first + 16) of `source` into `panel`; rows that do not exist become zero.
/// `biased`: signed bytes are stored with 128 added.
void pack_panel(const WeightSource& source, PanelFormat format, bool biased, std::int64_t first,
                std::byte* panel) noexcept;

}  // namespace hearth::compute::cpu
