// Products of two expanded panels with six rows of a batch: an activation value that was broadcast
// meets both panels, so that twelve products cost eight loads instead of fourteen. The arithmetic
// is that of dot_kernels.h, to the bit.
//
// In blocks of 32, the features of a block cost a row 8 products and 2 multiplications for scales
// in the two pipes that limit these kernels (dot_kernels.h): 80 % of the int8 peak is the most to
// be had.
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

/// Sums begin at what undoes the offset of the weights, from -128 times the sums at `minus`.
template <int kZero>
inline void start_sums(const std::byte* const (&rows)[kPairColumns], std::int64_t minus,
                       PairSums& sums) {
  for (int c = 0; c < kPairColumns; ++c) {
    sums[0][c] = sums[1][c] = offset<kZero>(rows[c] + minus);
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
    start_sums<Block::kZero>(in.rows, layout.minus128 + 4 * b, sums);
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

/// The sums of sub-block `sub`.
template <class Block>
inline void sums_of_two(const std::byte* const (&blocks)[2],
                        const std::byte* const (&rows)[kPairColumns], const Sub256<Block>& subs,
                        int sub, PairSums& sums) {
  for (int c = 0; c < kPairColumns; ++c) sums[0][c] = sums[1][c] = subs.start(rows[c], sub);
  const std::int64_t at = Block::kWeights + 16 * Block::kSub * sub;
  const std::byte* const weights[2] = {blocks[0] + at, blocks[1] + at};
  add_products_of_two<Block::kZero, Block::kSub / 4>(weights, rows, subs.k + Block::kSub * sub,
                                                     sums);
}

/// Expanded panels of blocks of 256.
template <class Block>
inline void two_panels256(const DotArguments& a) {
  using Scales = typename Block::Scales;
  const Row256Layout layout(a.columns);
  PairInputs in(a);
  PairTotals total;
  for (auto& of_panel : total) {
    for (F& lanes : of_panel) lanes = zero();
  }
  for (std::int64_t k = 0; k < a.columns; k += 256) {
    const Sub256<Block> subs{layout, k};
    PairSums totals;
    for (auto& of_panel : totals) {
      for (I& lanes : of_panel) lanes = zero_int();
    }
    // Unrolled, two pairs would be mixed, and registers not suffice.
#pragma GCC unroll 1
    for (int q = 0; q < Block::kSubs / 2; ++q) {
      PairSums first;
      PairSums second;
      sums_of_two(in.panels, in.rows, subs, 2 * q, first);
      sums_of_two(in.panels, in.rows, subs, 2 * q + 1, second);
      for (int p = 0; p < 2; ++p) {
        subs.add_pair(Scales(in.panels[p]), in.rows, q, first[p], second[p], totals[p]);
      }
    }
    for (int p = 0; p < 2; ++p) {
      // So that nothing of what follows is fetched into registers before. The sums of rows for
      // minima are fetched anew for the second panel: as operands of products they cost nothing,
      // and kept for it they would be spilled.
      asm volatile("" ::: "memory");
      subs.finish(in.panels[p], Scales(in.panels[p]), in.rows, totals[p], total[p]);
      in.panels[p] += Block::kBytes;
    }
  }
  store_totals(a, total);
}

}  // namespace
}  // namespace hearth::compute::cpu
