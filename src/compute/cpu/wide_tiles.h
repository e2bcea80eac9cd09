// Products of two expanded panels with six rows of a batch: an activation value that was broadcast
// meets both panels, so that twelve products cost eight loads instead of fourteen. The arithmetic
// is that of dot_kernels.h, to the bit.
//
// What limits these kernels on Zen 4 are the two pipes that multiply, integers or floats, whatever
// the instruction: additions, conversions and shifts go elsewhere. 32 features of a row cost 8
// products and 2 multiplications for scales, so 80 % of the int8 peak is the most to be had.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/dot_kernels.h"

namespace hearth::compute::cpu {
namespace {

/// Sums of products of two panels with kPairColumns rows.
using PairSums = I[2][kPairColumns];
using PairTotals = F[2][kPairColumns];

struct PairInputs {
  const std::byte* panels[2];
  const std::byte* rows[kPairColumns];

  explicit PairInputs(const DotArguments& a) : panels{a.panel, a.panel + a.panel_stride} {
    for (int c = 0; c < kPairColumns; ++c) rows[c] = row_of(a, c);
  }
};

inline void store_totals(const DotArguments& a, const PairTotals& total) {
  for (int p = 0; p < 2; ++p) {
    for (int c = 0; c < kPairColumns; ++c) {
      store(a.out + c * a.out_stride + p * kPanelRows, total[p][c]);
    }
  }
}

/// sums += products of 4 kQuads features: of the weights at weights[panel] and of the rows from
/// feature k on.
template <int kZero, int kQuads>
inline void add_products_of_two(const std::byte* const (&weights)[2],
                                const std::byte* const (&rows)[kPairColumns], std::int64_t k,
                                PairSums& sums) {
#pragma GCC unroll 8
  for (int i = 0; i < kQuads; ++i) {
    const B first = load_bytes(weights[0] + 64 * i);
    const B second = load_bytes(weights[1] + 64 * i);
#pragma GCC unroll 8
    for (int c = 0; c < kPairColumns; ++c) {
      const std::byte* const y = rows[c] + k + 4 * i;
      sums[0][c] = dot_step<kZero>(sums[0][c], first, y);
      sums[1][c] = dot_step<kZero>(sums[1][c], second, y);
    }
  }
}

/// Sums begin at what undoes the offset of the weights, from -2^kShift times the sums at `minus`.
template <int kZero, int kShift>
inline void start_sums(const std::byte* const (&rows)[kPairColumns], std::int64_t minus,
                       PairSums& sums) {
  for (int c = 0; c < kPairColumns; ++c) {
    sums[0][c] = sums[1][c] = offset<kZero, kShift>(rows[c] + minus);
  }
}

/// Expanded panels of blocks of 32.
template <class Block>
inline void two_panels32(const DotArguments& a) {
  static_assert(Block::kUnits == 1 && !Block::kHalves);
  constexpr std::int64_t kGroupBytes = Block::kHeader + Block::kUnitBytes;
  const Row32Layout layout(a.columns);
  const PairInputs in(a);
  PairTotals total;
  for (auto& of_panel : total) {
    for (F& lanes : of_panel) lanes = zero();
  }
  const std::byte* groups[2] = {in.panels[0], in.panels[1]};
  for (std::int64_t b = 0; b < a.columns / 32; ++b) {
    PairSums sums;
    start_sums<Block::kZero, 7>(in.rows, layout.minus128 + 4 * b, sums);
    const std::byte* const weights[2] = {groups[0] + Block::kHeader, groups[1] + Block::kHeader};
    add_products_of_two<Block::kZero, 8>(weights, in.rows, 32 * b, sums);
    for (int p = 0; p < 2; ++p) {
      const F scale = Block::scale(groups[p], 0);
      for (int c = 0; c < kPairColumns; ++c) {
        total[p][c] = fma(mul(to_float(sums[p][c]), scale),
                          set(float_at(in.rows[c] + layout.scales + 4 * b)), total[p][c]);
        if constexpr (Block::kMinimum) {
          total[p][c] = fma(Block::minimum(groups[p]),
                            set(float_at(in.rows[c] + layout.scaled_sums + 4 * b)), total[p][c]);
        }
      }
      groups[p] += kGroupBytes;
    }
  }
  store_totals(a, total);
}

/// totals += the scaled sums of features 32 g .. 32 g + 31 of a block.
template <class Block>
inline void add_group256(const std::byte* const (&blocks)[2],
                         const std::byte* const (&rows)[kPairColumns], std::int64_t k, int g,
                         const Row256Layout& layout, PairSums& totals) {
  constexpr int kParts = 32 / Block::kSub;
  PairSums scaled;
  for (int part = 0; part < kParts; ++part) {
    const int sub = kParts * g + part;
    PairSums sums;
    start_sums<Block::kZero, 5>(
        rows, (kParts == 1 ? layout.minus32 + k / 8 : layout.half_minus32 + k / 4) + 4 * sub, sums);
    const std::int64_t at = Block::kWeights + 16 * Block::kSub * sub;
    const std::byte* const weights[2] = {blocks[0] + at, blocks[1] + at};
    add_products_of_two<Block::kZero, Block::kSub / 4>(weights, rows, k + Block::kSub * sub, sums);
    for (int p = 0; p < 2; ++p) {
      const I scale = typename Block::Scales(blocks[p]).scale(sub);
      for (int c = 0; c < kPairColumns; ++c) {
        const I product = mul_int(sums[p][c], scale);
        scaled[p][c] = part == 0 ? product : add_int(scaled[p][c], product);
      }
    }
  }
  for (int c = 0; c < kPairColumns; ++c) {
    const I sub_scale = set_int(int_at(rows[c] + layout.sub_scales + k / 8 + 4 * g));
    for (int p = 0; p < 2; ++p) {
      totals[p][c] = add_int(totals[p][c], mul_int(scaled[p][c], sub_scale));
    }
  }
}

/// total[panel] += what the integer sums of the block of features k .. k + 255 stand for.
template <class Block>
inline void finish_block256(const std::byte* block, const std::byte* const (&rows)[kPairColumns],
                            std::int64_t k, const Row256Layout& layout,
                            const I (&sums)[kPairColumns], F (&total)[kPairColumns]) {
  I minima[kPairColumns];
  F low = zero();
  if constexpr (Block::kMinimum) {
    for (I& lanes : minima) lanes = zero_int();
    const typename Block::Scales scales(block);
    const std::int64_t at = Block::kSub == 32 ? layout.half_sums + k / 16 : layout.sums16 + k / 8;
#pragma GCC unroll 8
    for (int pair = 0; pair < 128 / Block::kSub; ++pair) {
      for (int c = 0; c < kPairColumns; ++c) {
        minima[c] = dot_pairs(minima[c], scales.minima() + 32 * pair,
                              reinterpret_cast<const std::int16_t*>(rows[c] + at + 4 * pair));
      }
    }
    low = Block::minimum_unit(block);
    if constexpr (Block::kSub == 32) low = add(low, low);
  }
  const F unit = Block::unit(block);
  for (int c = 0; c < kPairColumns; ++c) {
    F value = mul(unit, to_float(sums[c]));
    if constexpr (Block::kMinimum) value = sub(value, mul(low, to_float(minima[c])));
    total[c] = fma(value, set(float_at(rows[c] + layout.scales + k / 64)), total[c]);
  }
}

/// Expanded panels of blocks of 256.
template <class Block>
inline void two_panels256(const DotArguments& a) {
  const Row256Layout layout(a.columns);
  PairInputs in(a);
  PairTotals total;
  for (auto& of_panel : total) {
    for (F& lanes : of_panel) lanes = zero();
  }
  for (std::int64_t k = 0; k < a.columns; k += 256) {
    PairSums sums;
    for (auto& of_panel : sums) {
      for (I& lanes : of_panel) lanes = zero_int();
    }
    // Unrolled, two groups would be mixed, and registers not suffice.
#pragma GCC unroll 1
    for (int g = 0; g < 8; ++g) add_group256<Block>(in.panels, in.rows, k, g, layout, sums);
    // So that nothing of what follows is fetched into registers before.
    asm volatile("" ::: "memory");
    for (int p = 0; p < 2; ++p) {
      finish_block256<Block>(in.panels[p], in.rows, k, layout, sums[p], total[p]);
      in.panels[p] += Block::kBytes;
    }
  }
  store_totals(a, total);
}

}  // namespace
}  // namespace hearth::compute::cpu
