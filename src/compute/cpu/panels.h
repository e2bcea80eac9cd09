// Panels: how the CPU backend keeps weights. Sixteen rows (output features) are interleaved so that
// one 64-byte load holds four consecutive features of all sixteen, a product is one broadcast and
// one dot instruction, scales are vectors, and a panel is read front to back as a single stream:
// what does not lie in the order in which kernels read it makes them wait for memory.
//
// Layouts. A lane is a row within the panel; a quad vector is 64 bytes: four of lane 0, four of
// lane 1, and so on.
//   kF32, kF16, kBF16: [feature][16] values; kBF16Pairs: [feature / 2][16][2].
//   Blocks of 32, 64 or 128 come in groups of 64 bytes of scales and the blocks that these are for:
//   [2][16] halves, or [16] halves and [16] half minima (Q4_1, Q5_1), or [4][16] bytes (MXFP4:
//   E8M0; NVFP4: E4M3). In units of 32 features:
//     kQ8_0: 8 quad vectors, features 4i to 4i + 3;
//     kQ4_0, kQ4_1, kIQ4_NL, kMXFP4, kNVFP4: 4 quad vectors, low nibbles features 4i .., high 16 +
//     4i ..; kQ5_0, kQ5_1: a vector of fifth bits (bit s of byte j of a lane: feature 4s + j), then
//     as kQ4_0; kQ1_0: a vector of bits, as the fifth ones; kQ2_0: 2 quad vectors, two bits of 8s +
//     4i + j each.
//   Blocks of 256: [16] half units d, [16] half dmin or 32 bytes of padding, scales, weights.
//     kQ4_K, kQ5_K: [3][2 pairs][16][2] scale and minimum bytes as in the file; kQ4_K: 4 times 8
//     quad vectors of nibbles (low: sub-block 2p, high: 2p + 1); kQ5_K: 8 times 5, which have eight
//     codes of five bits (dot_blocks256.h, Q5_KBlock): four quads of sub-blocks 2p and 2p + 1;
//     kIQ4_XS, kIQ3_*: [4 pairs][16][2] scale bytes or [4][16] bytes of two scale nibbles; nibbles
//     as kQ4_K; two bits each: 16 quad vectors; bits 2g of vector 8h + i: features 128h + 32g +
//     4i ... kQ2_K: [8][16][2] bytes of scale and minimum; kTernary: no scales; kIQ1: [8][16] of
//     two nibbles, [16] int32 of shift signs (bit: feature / 8); kQ6_K, kQ3_K, kIQ2: for each half
//     h [4 pairs][16][2] scale bytes, or [4][16] of two nibbles, and then its weights. kQ6_K: 8
//     times 3 quad vectors, which have four codes of six bits (Q6_KBlock): a quad of features 128h
//     + 32g + 4l .. for all g, l running first; kQ3_K, kIQ2: 4 times 3 with eight codes of three
//     bits (ThreeBitParts): two quads of features 128h + 32g + 8l ..
// These hold the integers and scales of the file, unchanged in value: codebook indices become the
// values of their grid as codes. kBF16Pairs holds F16 weights rounded to bfloat16 (relative error
// at most 2^-9, a tenth of what int8 activations cost), since two of those are multiplied at a
// time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {

/// The panel format for weights of a file's type. `exact`: always a float format.
[[nodiscard]] PanelFormat panel_format(DType dtype, bool exact,
                                       const KernelTable& kernels) noexcept;

[[nodiscard]] RowFormat row_format(PanelFormat format) noexcept;

/// What KernelTable::expand makes of a panel, or the format itself where there is no such kernel.
[[nodiscard]] PanelFormat wide_format(PanelFormat format) noexcept;

/// Bytes of a panel of rows of `columns` features; a multiple of 64 except for float formats of odd
/// sizes.
[[nodiscard]] std::size_t panel_bytes(PanelFormat format, std::int64_t columns) noexcept;

/// Packs rows [first, first + count) of `source` (of the whole stack, when it is one) into `panel`;
/// the lanes beyond `count` <= 16 become zero.
void pack_panel(const KernelTable& kernels, const WeightSource& source, PanelFormat format,
                std::int64_t first, std::int64_t count, std::byte* panel) noexcept;

}  // namespace hearth::compute::cpu
