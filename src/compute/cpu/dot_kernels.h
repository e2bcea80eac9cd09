// Dot products of packed weight panels with activations, written once over the primitives of
// simd_*.h. A lane is one row of the weight: there are no horizontal sums, scales are vectors, and
// an activation value is broadcast.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/dot_blocks256.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/quantize_kernels.h"
#include "compute/cpu/register_tiles.h"

namespace hearth::compute::cpu {
namespace {

inline float float_at(const std::byte* p) {
  float value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
inline std::int32_t int_at(const std::byte* p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
inline const std::int8_t* int8s(const std::byte* p) {
  return reinterpret_cast<const std::int8_t*>(p);
}

inline const std::byte* row_of(const DotArguments& a, int c) {
  return a.row_table != nullptr ? a.row_table[c] : a.rows + c * a.row_stride;
}

/// -kZero times the sum of int8 values, from -128 times it at `minus`.
template <int kZero>
inline I offset(const std::byte* minus) {
  constexpr int kLog = kZero == 128  ? 7
                       : kZero == 32 ? 5
                       : kZero == 16 ? 4
                       : kZero == 8  ? 3
                       : kZero == 4  ? 2
                                     : 0;
  if constexpr (kZero == 0 || (kZero == 128 && !kBiasedWeights)) {
    return zero_int();
  } else if constexpr (kLog < 7) {
    return shift_right<7 - kLog>(set_int(int_at(minus)));
  } else {
    return set_int(int_at(minus));
  }
}

template <int kZero>
inline I dot_step(I sum, B w, const std::byte* y) {
  return kZero == 128 ? dot_byte(sum, w, int8s(y)) : dot_small(sum, w, int8s(y));
}

/// Fetches the next panel into the second-level cache while this one is multiplied, with every row
/// an equal share of each block: memory works beside the arithmetic, and few lines are awaited at a
/// time.
template <int kColumns, int kBlockBytes>
class FetchNext {
 public:
  FetchNext(const DotArguments& a, int first) {
    const int row = a.next_row + first;
    if (kColumns == 1 || row >= a.next_rows) return;
    constexpr int kLines = kBlockBytes / 64;
    const int rows = row + kColumns < a.next_rows ? row + kColumns : a.next_rows;
    begin_ = a.next - a.panel + 64 * (kLines * row / a.next_rows);
    end_ = a.next - a.panel + 64 * (kLines * rows / a.next_rows);
  }
  void operator()(const std::byte* block) const {
    if constexpr (kColumns > 1) {
      for (std::ptrdiff_t i = begin_; i < end_; i += 64) __builtin_prefetch(block + i, 0, 2);
    }
  }

 private:
  std::ptrdiff_t begin_ = 0, end_ = 0;  // bytes from a block of this panel to its share
};

/// With one row a kernel waits for memory, and what is behind a weight that has not come is not
/// looked at: where panels, which pass through the first-level cache, have pushed the row out of
/// it, each of its lines would be a wait of its own. So they are fetched this many features ahead.
constexpr std::int64_t kRowAhead = 512;

/// Fetches `bytes` bytes of a row into the first-level cache.
inline void fetch_row(const std::byte* p, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 3);
}

/// What blocks b to b + 7 want of a row.
template <class Block>
inline void fetch_row32(const std::byte* row, const Row32Layout& layout, std::int64_t b) {
  fetch_row(row + 32 * b, 256);
  fetch_row(row + layout.scales + 4 * b, 32);
  if constexpr (Block::kMinimum) fetch_row(row + layout.scaled_sums + 4 * b, 32);
  if constexpr (Block::kHalves) {
    fetch_row(row + layout.half_minus128 + 8 * b, 64);
  } else if constexpr (Block::kZero != 0) {
    fetch_row(row + layout.minus128 + 4 * b, 32);
  }
}

template <class Block, int kColumns>
inline void dot32(const DotArguments& a, int first) {
  const Row32Layout layout(a.columns);
  const std::int64_t blocks = a.columns / 32;
  const std::byte* row[kColumns];
  F total[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    row[c] = row_of(a, first + c);
    total[c] = zero();
  }
  const auto add_unit = [&](std::int64_t b, const std::byte* group, int unit)
      __attribute__((always_inline)) {
    constexpr int kHalves = Block::kHalves ? 2 : 1;
    I sums[kHalves][kColumns];
    for (int c = 0; c < kColumns; ++c) {
      if constexpr (Block::kHalves) {
        const std::byte* const minus = row[c] + layout.half_minus128 + 8 * b;
        sums[0][c] = offset<Block::kZero>(minus);
        sums[1][c] = offset<Block::kZero>(minus + 4);
      } else {
        sums[0][c] = offset<Block::kZero>(row[c] + layout.minus128 + 4 * b);
      }
    }
    if constexpr (Block::kHalves) {
      Block::half_steps(
          group, unit, [&]<int kHalf>(B w, int k) __attribute__((always_inline)) {
            for (int c = 0; c < kColumns; ++c) {
              sums[kHalf][c] = dot_step<Block::kZero>(sums[kHalf][c], w, row[c] + 32 * b + k);
            }
          });
    } else {
      Block::steps(
          group, unit, [&](B w, int k) __attribute__((always_inline)) {
            for (int c = 0; c < kColumns; ++c) {
              sums[0][c] = dot_step<Block::kZero>(sums[0][c], w, row[c] + 32 * b + k);
            }
          });
    }
    for (int c = 0; c < kColumns; ++c) {
      F value;
      if constexpr (Block::kHalves) {
        value = mul(to_float(sums[0][c]), Block::half_scale(group, unit, 0));
        value = fma(to_float(sums[kHalves - 1][c]), Block::half_scale(group, unit, 1), value);
      } else {
        value = mul(to_float(sums[0][c]), Block::scale(group, unit));
      }
      total[c] = fma(value, set(float_at(row[c] + layout.scales + 4 * b)), total[c]);
      if constexpr (Block::kMinimum) {
        total[c] = fma(Block::minimum(group), set(float_at(row[c] + layout.scaled_sums + 4 * b)),
                       total[c]);
      }
    }
  };
  constexpr std::int64_t kGroupBytes = Block::kHeader + Block::kUnits * Block::kUnitBytes;
  const std::byte* group = a.panel;
  std::int64_t b = 0;
  const FetchNext<kColumns, kGroupBytes> fetch(a, first);
  for (; b + Block::kUnits <= blocks; b += Block::kUnits, group += kGroupBytes) {
    fetch(group);
    if (kColumns == 1 && b % 8 == 0) fetch_row32<Block>(row[0], layout, b + kRowAhead / 32);
    for (int unit = 0; unit < Block::kUnits; ++unit) add_unit(b + unit, group, unit);
  }
  for (int unit = 0; b + unit < blocks; ++unit) add_unit(b + unit, group, unit);
  for (int c = 0; c < kColumns; ++c) store(a.out + (first + c) * a.out_stride, total[c]);
}

/// use(weights, lane, quad of the sub-block) for all of a part.
template <class Block, class Use>
inline void part_quads(const std::byte* p, int part, Use use) {
#ifdef __AVX512F__  // the others have half as many registers
#pragma GCC unroll 8
#endif
  for (int i = 0; i < Block::kSub / 4; i += Block::kAtOnce) {
    B w[Block::kLanes * Block::kAtOnce];
    Block::step(p, part, i, w);
    for (int j = 0; j < Block::kLanes * Block::kAtOnce; ++j) {
      use(w[j], j % Block::kLanes, i + j / Block::kLanes);
    }
  }
}

// Blocks of 256. What limits these kernels on Zen 4 are the two pipes that multiply, integers or
// floats, whatever the instruction: shifts, logic, additions and conversions go elsewhere and cost
// nothing beside products. So scales are applied to two sub-blocks at once: their sums become
// 16-bit halves of a lane, by a shift that rounds, and one instruction multiplies them with the
// products of the two scales of the weights and the two of the activations. Rounding costs less
// than a tenth of what the rounding of activations to int8 has cost before.

/// What rows have for the sub-blocks of features k to k + 255, and what is made of their sums.
template <class Block>
struct Sub256 {
  static constexpr int kShift = pair_shift(Block::kSub, Block::kLargest);

  const Row256Layout& layout;
  std::int64_t k;

  // Where a row has it for the first sub-block.
  [[nodiscard]] std::int64_t starts() const {
    if (Block::kSub == 32) return layout.starts + k / 8;
    return (Block::kZero == 128 ? layout.half_starts128 : layout.half_starts32) + k / 4;
  }
  [[nodiscard]] std::int64_t sub_scales() const {
    return Block::kSub == 32 ? layout.sub_scales + k / 16 : layout.twin_sub_scales + k / 8;
  }
  [[nodiscard]] std::int64_t sums() const {
    return Block::kSub == 32 ? layout.half_sums + k / 16 : layout.sums16 + k / 8;
  }

  void fetch(const std::byte* row) const {
    fetch_row(row + k, 256);
    fetch_row(row + sub_scales(), 512 / Block::kSub);
    if constexpr (Block::kZero != 0) fetch_row(row + starts(), 1024 / Block::kSub);
    if constexpr (Block::kMinimum) fetch_row(row + sums(), 512 / Block::kSub);
  }

  /// What undoes the offset of the weights, plus pair_rounding(kShift).
  [[nodiscard]] I start(const std::byte* row, int sub) const {
    constexpr int kZero = Block::kZero;
    if constexpr (kZero == 0 || (kZero == 128 && !kBiasedWeights)) {
      return set_int(pair_rounding(kShift, sub));
    } else if constexpr (Block::kSub == 32) {
      // What is shifted out where weights are multiples of 2^kShift, may be any rounding.
      static_assert(kShift == kPairShift32 && (kZero == 128 || kZero == 16));
      return offset<kZero>(row + starts() + 4 * sub);
    } else {
      static_assert(kShift == kPairShift16 && (kZero == 128 || kZero == 32));
      return set_int(int_at(row + starts() + 4 * sub));
    }
  }
  /// The sub-scales of sub-blocks 2 q and 2 q + 1.
  [[nodiscard]] I pair_of_sub_scales(const std::byte* row, int q) const {
    return set_int(int_at(row + sub_scales() + 4 * q));
  }
  /// totals += scaled sums of sub-blocks 2 q (`first`) and 2 q + 1 (`second`).
  template <int kColumns>
  void add_pair(const typename Block::Scales& scales, const std::byte* const* row, int q,
                const I (&first)[kColumns], const I (&second)[kColumns],
                I (&totals)[kColumns]) const {
    const auto add = [&](int c, I factors) __attribute__((always_inline)) {
      totals[c] = dot_words(totals[c], pack_words<kShift>(first[c], second[c]), factors);
    };
    if constexpr (Block::kScaled) {
      const I pair = scales.pair(q);
      for (int c = 0; c < kColumns; ++c) add(c, mul_words(pair, pair_of_sub_scales(row[c], q)));
    } else {
      for (int c = 0; c < kColumns; ++c) add(c, pair_of_sub_scales(row[c], q));
    }
  }
  /// total += what the block's integer totals stand for.
  template <int kColumns>
  void finish(const std::byte* block, const typename Block::Scales& scales,
              const std::byte* const* row, const I (&totals)[kColumns],
              F (&total)[kColumns]) const {
    F values[kColumns];
    if constexpr (Block::kMinimum) {
      // Pairs of sub-blocks; for those of 32 the sums are halved to fit.
      I minima[kColumns];
      for (I& lanes : minima) lanes = zero_int();
#pragma GCC unroll 8
      for (int pair = 0; pair < 128 / Block::kSub; ++pair) {
        for (int c = 0; c < kColumns; ++c) {
          minima[c] = dot_pairs(minima[c], scales.minima() + 32 * pair,
                                reinterpret_cast<const std::int16_t*>(row[c] + sums() + 4 * pair));
        }
      }
      // Totals that are in memory are fetched only now that minima want no registers.
      asm volatile("" ::: "memory");
      const F unit = Block::unit(block);
      F low = Block::minimum_unit(block);
      if constexpr (Block::kSub == 32) low = add(low, low);
      for (int c = 0; c < kColumns; ++c) {
        values[c] = sub(mul(unit, to_float(totals[c])), mul(low, to_float(minima[c])));
      }
    } else {
      const F unit = Block::unit(block);
      for (int c = 0; c < kColumns; ++c) values[c] = mul(unit, to_float(totals[c]));
    }
    for (int c = 0; c < kColumns; ++c) {
      total[c] = fma(values[c], set(float_at(row[c] + layout.scales + k / 64)), total[c]);
    }
  }
};

/// The sums of part `part`.
template <class Block, int kColumns>
inline void part256(const std::byte* p, const std::byte* const* row, const Sub256<Block>& subs,
                    int part, I (&sums)[Block::kLanes][kColumns]) {
  const std::int64_t k = subs.k;
  for (int lane = 0; lane < Block::kLanes; ++lane) {
    const int sub = Block::sub(part, lane);
    for (int c = 0; c < kColumns; ++c) {
      sums[lane][c] = subs.start(row[c], sub);
      if constexpr (Block::kShifts) {
        sums[lane][c] = dot_words(sums[lane][c], Block::shifts(p, sub),
                                  set_int(int_at(row[c] + subs.layout.sums8 + k / 4 + 4 * sub)));
      }
    }
  }
  part_quads<Block>(
      p, part, [&](B w, int lane, int quad) __attribute__((always_inline)) {
        const std::int64_t at = k + Block::kSub * Block::sub(part, lane) + 4 * quad;
        for (int c = 0; c < kColumns; ++c) {
          sums[lane][c] = dot_step<Block::kZero>(sums[lane][c], w, row[c] + at);
        }
      });
}

/// The integer sums of a block of 256 stay integers until its end. The sub-blocks of a pair are two
/// lanes of a part, or the same lane of two parts.
template <class Block, int kColumns>
inline void block256(const std::byte* p, const std::byte* const* row, const Sub256<Block>& subs,
                     F (&total)[kColumns]) {
  constexpr bool kBeside = Block::kLanes > 1 && Block::sub(0, 1) == 1;
  constexpr int kParts = kBeside ? 1 : 2;
  const typename Block::Scales scales(p);
  I totals[kColumns];
  for (I& lanes : totals) lanes = zero_int();
#ifdef __AVX512F__  // the others have half as many registers
#pragma GCC unroll 8
#endif
  for (int part = 0; part < Block::kParts; part += kParts) {
    I sums[kParts][Block::kLanes][kColumns];
    for (int i = 0; i < kParts; ++i) part256(p, row, subs, part + i, sums[i]);
    for (int lane = 0; lane < Block::kLanes; lane += 3 - kParts) {
      const int q = Block::sub(part, lane) / 2;
      if constexpr (kBeside) {
        subs.add_pair(scales, row, q, sums[0][lane], sums[0][lane + 1], totals);
      } else {
        subs.add_pair(scales, row, q, sums[0][lane], sums[1][lane], totals);
      }
    }
  }
  subs.finish(p, scales, row, totals, total);
}

template <class Block, int kColumns>
inline void dot256(const DotArguments& a, int first) {
  const Row256Layout layout(a.columns);
  const std::byte* row[kColumns];
  F total[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    row[c] = row_of(a, first + c);
    total[c] = zero();
  }
  const std::byte* p = a.panel;
  const FetchNext<kColumns, Block::kBytes> fetch(a, first);
  for (std::int64_t k = 0; k < a.columns; k += 256, p += Block::kBytes) {
    fetch(p);
    if constexpr (kColumns == 1) Sub256<Block>{layout, k + kRowAhead}.fetch(row[0]);
    block256(p, row, Sub256<Block>{layout, k}, total);
  }
  for (int c = 0; c < kColumns; ++c) store(a.out + (first + c) * a.out_stride, total[c]);
}

/// Weights as the wide formats want them: unsigned where there are minima, else whole bytes.
template <class Block>
inline B widened(B w) {
  constexpr int kShift = (kBiasedWeights ? 128 : 0) - Block::kZero;
  if constexpr (Block::kMinimum || Block::kZero == 128) return w;
  return add_bytes(w, bytes_of(kShift));
}

template <class Block>
inline void expand32(const std::byte* panel, std::int64_t columns, std::byte* to) {
  constexpr std::int64_t kGroupBytes = Block::kHeader + Block::kUnits * Block::kUnitBytes;
  const auto put = [&to](F scales) {
    store(reinterpret_cast<float*>(to), scales);
    to += 64;
  };
  for (std::int64_t b = 0; b < columns / 32; ++b) {
    const std::byte* const group = panel + b / Block::kUnits * kGroupBytes;
    const int unit = static_cast<int>(b % Block::kUnits);
    if constexpr (Block::kHalves) {
      put(Block::half_scale(group, unit, 0));
      put(Block::half_scale(group, unit, 1));
    } else {
      put(Block::scale(group, unit));
    }
    if constexpr (Block::kMinimum) put(Block::minimum(group));
    Block::steps(group, unit, [&](B w, int k) { store_bytes(to + 16 * k, widened<Block>(w)); });
    to += 512;
  }
}

template <class Block>
inline void expand256(const std::byte* panel, std::int64_t columns, std::byte* to) {
  using Wide = Wide256Block<Block::kSub, Block::kMinimum>;
  // Twice the weights and a shift by one more give the same integers, to the bit.
  constexpr int kTimes =
      pair_shift(Wide::kSub, Wide::kLargest) - pair_shift(Block::kSub, Block::kLargest);
  static_assert(kTimes >= 0 && (kTimes == 0 || Block::kZero == 0));
  for (std::int64_t k = 0; k < columns; k += 256, panel += Block::kBytes, to += Wide::kBytes) {
    const typename Block::Scales scales(panel);
    store(reinterpret_cast<float*>(to), Block::unit(panel));
    if constexpr (Block::kMinimum) {
      store(reinterpret_cast<float*>(to + 64), Block::minimum_unit(panel));
      __builtin_memcpy(to + Wide::kMinima, scales.minima(), 16 * Wide::kSubs);
    }
    for (int q = 0; q < Wide::kSubs / 2; ++q) {
      if constexpr (Block::kScaled) {
        store_int(to + Wide::kScales + 64 * q, scales.pair(q));
      } else {
        store_int(to + Wide::kScales + 64 * q, set_int(0x00010001));
      }
    }
    for (int part = 0; part < Block::kParts; ++part) {
      part_quads<Block>(panel, part, [&](B w, int lane, int quad) {
        const int sub = Block::sub(part, lane);
        B wide = widened<Block>(w);
        for (int i = 0; i < kTimes; ++i) wide = add_bytes(wide, wide);
        if constexpr (Block::kShifts) {
          wide = add_bytes(wide, Block::shift_bytes(panel, sub, quad));
        }
        store_bytes(to + Wide::kWeights + 16 * Block::kSub * sub + 64 * quad, wide);
      });
    }
  }
}

// Float panels: steps of kBytes, one feature, or a pair of bfloat16 ones, of sixteen rows each;
// four bytes of an activation row meet them. Two partial sums per output (even and odd steps),
// added at the end.

struct FloatSteps {
  static std::int64_t steps(std::int64_t columns) { return columns; }
  static F multiply(F w, const std::byte* y, F sum) { return fma(w, set(float_at(y)), sum); }
};
struct F32Panel : FloatSteps {
  static constexpr std::int64_t kBytes = 64;
  static F lanes(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
};
struct F16Panel : FloatSteps {
  static constexpr std::int64_t kBytes = 32;
  static F lanes(const std::byte* p) { return load_half(p); }
};
struct BF16Panel : FloatSteps {
  static constexpr std::int64_t kBytes = 32;
  static F lanes(const std::byte* p) { return load_bfloat(p); }
};
#ifdef __AVX512BF16__
/// A missing last value of a pair is zero.
struct BF16PairsPanel {
  static constexpr std::int64_t kBytes = 64;
  static std::int64_t steps(std::int64_t columns) { return (columns + 1) / 2; }
  static B lanes(const std::byte* p) { return load_bytes(p); }
  static F multiply(B w, const std::byte* y, F sum) { return dot_bf16(sum, w, set_pair(y)); }
};
#endif

template <class Panel, int kColumns>
inline void dot_float(const DotArguments& a, int first) {
  const std::byte* row[kColumns];
  F even[kColumns];
  F odd[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    row[c] = row_of(a, first + c);
    even[c] = zero();
    odd[c] = zero();
  }
  const std::byte* p = a.panel;
  const std::int64_t steps = Panel::steps(a.columns);
  std::int64_t k = 0;
  const FetchNext<kColumns, 2 * Panel::kBytes> fetch(a, first);
  for (; k + 2 <= steps; k += 2, p += 2 * Panel::kBytes) {
    fetch(p);
    const auto w0 = Panel::lanes(p);
    const auto w1 = Panel::lanes(p + Panel::kBytes);
    for (int c = 0; c < kColumns; ++c) {
      even[c] = Panel::multiply(w0, row[c] + 4 * k, even[c]);
      odd[c] = Panel::multiply(w1, row[c] + 4 * k + 4, odd[c]);
    }
  }
  if (k < steps) {
    const auto w0 = Panel::lanes(p);
    for (int c = 0; c < kColumns; ++c) even[c] = Panel::multiply(w0, row[c] + 4 * k, even[c]);
  }
  for (int c = 0; c < kColumns; ++c)
    store(a.out + (first + c) * a.out_stride, add(even[c], odd[c]));
}

/// Cuts `count` columns into register tiles of at most kMost.
template <class Tiles, int kMost>
inline void dot_tiles(const DotArguments& a) {
  constexpr int kMostOfRest = kMost < 4 ? kMost : 4;
  int first = 0;
  if constexpr (kMost > kMostOfRest) {
    for (; a.count - first >= kMost; first += kMost) Tiles::template run<kMost>(a, first);
  }
  for_parts<kMostOfRest>(
      first, a.count, [&]<int kColumns>(int column) { Tiles::template run<kColumns>(a, column); });
}

template <class Block>
struct Tiles32 {
  template <int kColumns>
  static void run(const DotArguments& a, int first) {
    dot32<Block, kColumns>(a, first);
  }
};
template <class Block>
struct Tiles256 {
  template <int kColumns>
  static void run(const DotArguments& a, int first) {
    dot256<Block, kColumns>(a, first);
  }
};
template <class Panel>
struct TilesFloat {
  template <int kColumns>
  static void run(const DotArguments& a, int first) {
    dot_float<Panel, kColumns>(a, first);
  }
};
inline void interleave(const std::byte* const (&rows)[kPanelRows], std::int64_t quads,
                       std::int64_t step, bool flip, std::byte* to) {
  const auto bits = static_cast<std::int32_t>(flip ? 0x80808080U : 0);
  for (std::int64_t i = 0; i < quads; i += 16) {
    const std::int64_t count = quads - i < 16 ? quads - i : 16;
    F lanes[kPanelRows];
    for (int lane = 0; lane < kPanelRows; ++lane) {
      const std::byte* const from = rows[lane] + i / 8 * step;
      const I row = count == 16 ? load_halves(from, from + step)
                                : bits_of(load_first(reinterpret_cast<const float*>(from), count));
      lanes[lane] = float_of(xor_int(row, bits));
    }
    store_transposed(lanes, count, reinterpret_cast<float*>(to + 64 * i));
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
