// Panels: how the CPU backend keeps weights. Sixteen rows (output features) are interleaved so that
// one 64-byte load holds four consecutive features of all sixteen, a product is one broadcast and
// one dot instruction, scales are vectors, and a panel is read front to back as a single stream.
//
// Layouts. A lane is a row within the panel; a quad vector is 64 bytes: four of lane 0, four of
// lane 1, and so on.
//   kF32, kF16, kBF16: [feature][16] values.
//   Blocks of 32: 64 bytes of scales, then the one or two blocks they are for. The scales are
//   [16] float (kInt8), [16] half and [16] half minima (Q4_1, Q5_1) or [2][16] half. A block is
//     kInt8, kQ8_0: 8 quad vectors, features 4i to 4i + 3;
//     kQ4_0, kQ4_1: 4 quad vectors, low nibbles features 4i .., high nibbles 16 + 4i ..;
//     kQ5_0, kQ5_1: a vector of fifth bits (bit s of byte j of a lane: feature 4s + j), then as
//     kQ4_0.
//   Blocks of 256:
//     kQ4_K, kQ5_K: [16] half d, [16] half dmin, [8][16] scales, [4][16][2] minima; kQ5_K: 8 quad
//     vectors of fifth bits (bit j: sub-block j); 4 times 8 quad vectors of nibbles (low: sub-block
//     2p, high: 2p + 1);
//     kQ6_K: [16] half d, 32 bytes of padding, [16][16] scales, 4 parts of 4 quad vectors of upper
//     bits and 8 of nibbles, in the order in which they are used.
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

/// Packs rows [first, first + count) of `source` (of the whole stack, when it is one) into `panel`;
/// the lanes beyond `count` <= 16 become zero. `biased`: signed bytes are stored with 128 added.
void pack_panel(const WeightSource& source, PanelFormat format, bool biased, std::int64_t first,
                std::int64_t count, std::byte* panel) noexcept;

}  // namespace hearth::compute::cpu
