// Fills a KernelTable with the kernels of this translation unit.
//
// Included only by kernels_*.cpp, last.
#pragma once

#include "compute/cpu/dot_kernels.h"
#include "compute/cpu/elementwise_kernels.h"
#include "compute/cpu/recurrent_kernels.h"
#include "compute/cpu/vector_kernels.h"
#include "compute/cpu/wide_tiles.h"

namespace hearth::compute::cpu {
namespace {

constexpr int kNarrowTile = kMaxTile < 4 ? kMaxTile : 4;
template <class Panel>
constexpr DotFunction wide_float = dot_tiles<TilesFloat<Panel>, kMaxTile>;
template <class Block>
constexpr DotFunction narrow32 = dot_tiles<Tiles32<Block>, kNarrowTile>;
template <class Block>
constexpr DotFunction narrow256 = dot_tiles<Tiles256<Block>, kNarrowTile>;
template <class Block>
constexpr DotFunction wide32 = dot_tiles<Tiles32<Block>, kMaxTile>;
template <int kSub, bool kMinimum>
constexpr DotFunction wide256 = dot_tiles<Tiles256<Wide256Block<kSub, kMinimum>>, kMaxTile>;

/// Kernels for two panels need thirty registers. Those for sub-blocks of 16 would need more, and
/// are slower than for one.
constexpr DotFunction two_panels_dot([[maybe_unused]] PanelFormat format) {
  if constexpr (kMaxTile >= 8) {
    switch (format) {
      case PanelFormat::kWide32:
        return two_panels32<Wide32Block>;
      case PanelFormat::kWide32Minimum:
        return two_panels32<Wide32MinimumBlock>;
      case PanelFormat::kWide256x32:
        return two_panels256<Wide256Block<32, false>>;
      case PanelFormat::kWide256x32Minimum:
        return two_panels256<Wide256Block<32, true>>;
      default:
        break;
    }
  }
  return nullptr;
}

/// Null where there are no such products: panels are not packed in pairs then.
constexpr DotFunction bfloat_pairs_dot() {
#ifdef __AVX512BF16__
  return wide_float<BF16PairsPanel>;
#else
  return nullptr;
#endif
}

constexpr KernelTable make_table(const char* name,
                                 const PairAttentionKernels* pair_attention = nullptr) {
  KernelTable table = {
      .name = name,
      .biased_weights = kBiasedWeights,
      .bfloat_pairs = kHasBf16Dot,
      // In the order of PanelFormat. Formats that are expanded for many columns have small tiles.
      .dot = {wide_float<F32Panel>,    wide_float<F16Panel>,   wide_float<BF16Panel>,
              bfloat_pairs_dot(),      narrow32<Q8_0Block>,    narrow32<Q4_0Block>,
              narrow32<Q4_1Block>,     narrow32<Q5_0Block>,    narrow32<Q5_1Block>,
              narrow32<IQ4_NLBlock>,   narrow32<MXFP4Block>,   narrow32<NVFP4Block>,
              narrow32<Q1_0Block>,     narrow32<Q2_0Block>,    narrow256<Q2_KBlock>,
              narrow256<Q3_KBlock>,    narrow256<Q4_KBlock>,   narrow256<Q5_KBlock>,
              narrow256<Q6_KBlock>,    narrow256<IQ4_XSBlock>, narrow256<IQ3_XXSBlock>,
              narrow256<IQ3_SBlock>,   narrow256<IQ2Block>,    narrow256<IQ1Block>,
              narrow256<TernaryBlock>, wide32<Wide32Block>,    wide32<Wide32MinimumBlock>,
              wide32<Wide16Block>,     wide256<32, false>,     wide256<32, true>,
              wide256<16, false>,      wide256<16, true>},
      .dot_two = {},
      .expand = {nullptr,
                 nullptr,
                 nullptr,
                 nullptr,
                 expand32<Q8_0Block>,
                 expand32<Q4_0Block>,
                 expand32<Q4_1Block>,
                 expand32<Q5_0Block>,
                 expand32<Q5_1Block>,
                 expand32<IQ4_NLBlock>,
                 expand32<MXFP4Block>,
                 expand32<NVFP4Block>,
                 expand32<Q1_0Block>,
                 expand32<Q2_0Block>,
                 expand256<Q2_KBlock>,
                 expand256<Q3_KBlock>,
                 expand256<Q4_KBlock>,
                 expand256<Q5_KBlock>,
                 expand256<Q6_KBlock>,
                 expand256<IQ4_XSBlock>,
                 expand256<IQ3_XXSBlock>,
                 expand256<IQ3_SBlock>,
                 expand256<IQ2Block>,
                 expand256<IQ1Block>,
                 expand256<TernaryBlock>,
                 nullptr,
                 nullptr,
                 nullptr,
                 nullptr,
                 nullptr,
                 nullptr,
                 nullptr},
      .interleave_quads = interleave,
      .to_bfloat = bfloat_row,
      .quantize32 = quantize_row32,
      .quantize256 = quantize_row256,
      .norm_rms = norm_rms_row,
      .norm_layer = norm_layer_row,
      .norm_l2 = norm_l2_row,
      .activate = activate_row,
      .activate_gated = activate_gated_row,
      .add = add_row,
      .scale = scale_row,
      .clamp = clamp_row,
      .softcap = softcap_row,
      .rope_halves = rope_halves_head,
      .rope_adjacent = rope_adjacent_head,
      .to_half = to_half_row,
      .to_blocks = quantize_blocks,
      .keys_to_panel = pack_keys,
      .value_to_panels = pack_value,
      .exp_row = exp_scores,
      .largest = largest_score,
      .int8_peak = measure_int8,
      .f32_peak = measure_f32,
      .bf16_peak = measure_bf16<kHasBf16Dot>,
      .read_memory = sum_memory,
      .small_product = small_product,
      .transpose = transpose_matrix,
      .convolve = convolve_strip,
      .delta_step = delta_step,
      .state_space_step = state_space_step,
      .rwkv_step = rwkv_step,
      .selective_rows = selective_rows,
      .multiply = multiply_row,
      .sum_squares = sum_squares_row,
      .keep_largest = keep_largest_row,
      .panel_to_values = turn_panel,
      .blend = blend_row,
      .pair_attention = pair_attention,
  };
  for (int format = 0; format < kPanelFormats; ++format) {
    table.dot_two[format] = two_panels_dot(static_cast<PanelFormat>(format));
  }
  return table;
}

}  // namespace
}  // namespace hearth::compute::cpu
