// Fills a KernelTable with the kernels of this translation unit.
//
// Included only by kernels_*.cpp, last.
#pragma once

#include "compute/cpu/dot_kernels.h"
#include "compute/cpu/elementwise_kernels.h"
#include "compute/cpu/recurrent_kernels.h"
#include "compute/cpu/vector_kernels.h"

namespace hearth::compute::cpu {
namespace {

constexpr KernelTable make_table(const char* name) {
  return {
      .name = name,
      .biased_weights = kBiasedWeights,
      // In the order of PanelFormat.
      .dot = {dot_tiles<TilesFloat<F32Panel>>, dot_tiles<TilesFloat<F16Panel>>,
              dot_tiles<TilesFloat<BF16Panel>>, dot_tiles<Tiles32<Int8Block>>,
              dot_tiles<Tiles32<Q8_0Block>>, dot_tiles<Tiles32<Q4_0Block>>,
              dot_tiles<Tiles32<Q4_1Block>>, dot_tiles<Tiles32<Q5_0Block>>,
              dot_tiles<Tiles32<Q5_1Block>>, dot_tiles<Tiles256<Q4_KBlock>>,
              dot_tiles<Tiles256<Q5_KBlock>>, dot_tiles<Tiles256<Q6_KBlock>>},
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
      .keys_to_panel = pack_keys,
      .value_to_panels = pack_value,
      .exp_row = exp_scores,
      .largest = largest_score,
      .int8_peak = measure_int8,
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
  };
}

}  // namespace
}  // namespace hearth::compute::cpu
