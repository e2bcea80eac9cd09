// The decoders and encoders of the block formats, one per type, grouped by the file that holds
// them. Internal to the room; use quant/quant.h. Every function handles `blocks` consecutive
// blocks; the layouts are those of reference/quant-blocks.md, whose order of float operations the
// decoders keep (they are bit-exact).
#pragma once

#include <cstddef>

namespace hearth::quant {

class RowWeights;  // encode_block.h

using Decoder = void (*)(const std::byte* from, std::size_t blocks, float* to);
using Encoder = void (*)(const float* from, const RowWeights& weights, std::size_t blocks,
                         std::byte* to);

// floats.cpp: plain numbers, one value per "block".
void decode_f32(const std::byte* from, std::size_t blocks, float* to);
void decode_f16(const std::byte* from, std::size_t blocks, float* to);
void decode_bf16(const std::byte* from, std::size_t blocks, float* to);
void decode_f64(const std::byte* from, std::size_t blocks, float* to);
void decode_i8(const std::byte* from, std::size_t blocks, float* to);
void decode_i16(const std::byte* from, std::size_t blocks, float* to);
void decode_i32(const std::byte* from, std::size_t blocks, float* to);
void decode_i64(const std::byte* from, std::size_t blocks, float* to);
void encode_f32(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_f16(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_bf16(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);

// legacy.cpp, legacy_encode.cpp: 32 values per block, one or two half-precision scales.
void decode_q4_0(const std::byte* from, std::size_t blocks, float* to);
void decode_q4_1(const std::byte* from, std::size_t blocks, float* to);
void decode_q5_0(const std::byte* from, std::size_t blocks, float* to);
void decode_q5_1(const std::byte* from, std::size_t blocks, float* to);
void decode_q8_0(const std::byte* from, std::size_t blocks, float* to);
void decode_q8_1(const std::byte* from, std::size_t blocks, float* to);
void encode_q4_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q4_1(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q5_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q5_1(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q8_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void round_to_q8_0(const float* from, std::size_t blocks, std::byte* to) noexcept;  // encode_kv()

// k_quants.cpp, k_encode.cpp, k_affine_encode.cpp: 256 values per block, two levels of scales.
void decode_q2_k(const std::byte* from, std::size_t blocks, float* to);
void decode_q3_k(const std::byte* from, std::size_t blocks, float* to);
void decode_q4_k(const std::byte* from, std::size_t blocks, float* to);
void decode_q5_k(const std::byte* from, std::size_t blocks, float* to);
void decode_q6_k(const std::byte* from, std::size_t blocks, float* to);
void encode_q2_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q3_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q4_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q5_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q6_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);

// iq.cpp, iq_encode.cpp, iq1_encode.cpp, iq4_encode.cpp: codebooks (grids.h) and the non-linear
// 4-bit table.
void decode_iq1_s(const std::byte* from, std::size_t blocks, float* to);
void decode_iq1_m(const std::byte* from, std::size_t blocks, float* to);
void decode_iq2_xxs(const std::byte* from, std::size_t blocks, float* to);
void decode_iq2_xs(const std::byte* from, std::size_t blocks, float* to);
void decode_iq2_s(const std::byte* from, std::size_t blocks, float* to);
void decode_iq3_xxs(const std::byte* from, std::size_t blocks, float* to);
void decode_iq3_s(const std::byte* from, std::size_t blocks, float* to);
void decode_iq4_nl(const std::byte* from, std::size_t blocks, float* to);
void decode_iq4_xs(const std::byte* from, std::size_t blocks, float* to);
void encode_iq1_s(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_iq1_m(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_iq2_xxs(const float* from, const RowWeights& weights, std::size_t blocks,
                    std::byte* to);
void encode_iq2_xs(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_iq2_s(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_iq3_xxs(const float* from, const RowWeights& weights, std::size_t blocks,
                    std::byte* to);
void encode_iq3_s(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_iq4_nl(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_iq4_xs(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);

// ternary.cpp, ternary_encode.cpp: two, three or four levels.
void decode_tq1_0(const std::byte* from, std::size_t blocks, float* to);
void decode_tq2_0(const std::byte* from, std::size_t blocks, float* to);
void decode_q1_0(const std::byte* from, std::size_t blocks, float* to);
void decode_q2_0(const std::byte* from, std::size_t blocks, float* to);
void encode_tq1_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_tq2_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q1_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_q2_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);

// fp4.cpp, fp4_encode.cpp: 4-bit floats with 8-bit scales.
void decode_mxfp4(const std::byte* from, std::size_t blocks, float* to);
void decode_nvfp4(const std::byte* from, std::size_t blocks, float* to);
void encode_mxfp4(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);
void encode_nvfp4(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to);

}  // namespace hearth::quant
