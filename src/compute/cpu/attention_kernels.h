// Attention on tiles of 64 cells with dot products of bfloat16 pairs and sums in float32, for
// instruction sets with kHasBf16Dot. Each sum has one order, whatever the number of queries and
// wherever the keys and values come from, so a query gets the same bits alone or in any company.
//
// Included only by kernels_avx512bf16.cpp and kernels_amx.cpp, after the header of its instruction
// set.
#pragma once

#include "compute/cpu/kernels.h"
#include "compute/cpu/register_tiles.h"

namespace hearth::compute::cpu {
namespace {

/// Queries that share what is loaded of keys or values: with four panels 24 sums, four operands.
constexpr int kTileQueries = 6;
/// Bytes of a pair of elements of 64 keys.
constexpr std::int64_t kTileRow = 4 * kAttentionTile;

/// Fetches what follows into the second-level cache, line by line: fetched into the first, it would
/// keep the few buffers busy that reading itself needs (half the speed).
class Fetcher {
 public:
  /// Where there is nothing to fetch, lines of `present` are, which costs next to nothing.
  Fetcher(const std::byte* ahead, const std::byte* present)
      : at_(ahead != nullptr ? ahead : present), step_(ahead != nullptr ? kCacheLine : 0) {}
  template <std::int64_t kLines>
  void next() {
    for (std::int64_t i = 0; i < kLines; ++i, at_ += step_) prefetch(at_);
  }

 private:
  const std::byte* at_;
  std::int64_t step_;
};

template <PairFormat kFormat>
inline B load_pairs(const std::byte* p) {
  return kFormat == PairFormat::kF16 ? half_to_bf16(load_bytes(p)) : load_bytes(p);
}

// ---- Scores: lanes are cells, pairs are neighbouring elements of keys and queries --------------

template <PairFormat kFormat, int kQueries>
inline void score_queries(const ScoreTile& a, int first) {
  constexpr int kPanels = 4;
  F sums[kQueries][kPanels];
  // Loops over sums are unrolled: else the compiler keeps these in memory and copies them.
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) sums[q][p] = zero();
  }
  const std::uint16_t* const queries = a.queries + first * a.query_stride;
  const std::byte* from = a.keys;
  Fetcher fetcher(first == 0 ? a.ahead : nullptr, a.keys);
  for (std::int64_t pair = 0; pair < a.pairs; ++pair, from += kTileRow) {
    B keys[kPanels];
    for (int p = 0; p < kPanels; ++p) keys[p] = load_pairs<kFormat>(from + 64 * p);
    fetcher.next<fetched_key_lines(kFormat)>();
    for (int q = 0; q < kQueries; ++q) {
      const B query = set_pair(queries + q * a.query_stride + 2 * pair);
      for (int p = 0; p < kPanels; ++p) sums[q][p] = dot_bf16(sums[q][p], keys[p], query);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      store(a.scores + (first + q) * kAttentionTile + 16 * p, sums[q][p]);
    }
  }
}

/// Bytes of the scales of a block of 32 elements of 64 cells, of the bytes of two elements of
/// theirs.
constexpr std::int64_t kScaleRow = 2 * kAttentionTile, kByteRow = 2 * kAttentionTile;

/// Of the cells of kPanels panels from `panel` on: score = query scale * sum over blocks of
/// (block's scale * sum of products of integers), |sum| <= 32 * 128 * 32767.
template <int kQueries, int kPanels>
inline void score_blocks(const ScoreTile& a, int first, std::int64_t panel) {
  constexpr std::int64_t kBlockPairs = 16;
  const std::int64_t blocks = a.pairs / kBlockPairs;
  const std::byte* scales = a.keys + 32 * panel;
  const std::byte* from = a.keys + blocks * kScaleRow + 32 * panel;
  const auto* query = reinterpret_cast<const std::byte*>(a.queries + first * a.query_stride);
  // Each call for some of the panels fetches its share of the lines.
  constexpr std::int64_t kLines = fetched_key_lines(PairFormat::kBlocks) * kPanels / 4;
  const std::int64_t before = a.pairs * fetched_key_lines(PairFormat::kBlocks) * panel / 4;
  const bool fetches = first == 0 && a.ahead != nullptr;
  Fetcher fetcher(fetches ? a.ahead + before * kCacheLine : nullptr, a.keys);
  F sums[kQueries][kPanels];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) sums[q][p] = zero();
  }
  for (std::int64_t block = 0; block < blocks; ++block, scales += kScaleRow) {
    Sums products[kQueries][kPanels];
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) products[q][p] = Sums{};
    }
    for (int pair = 0; pair < kBlockPairs; ++pair, from += kByteRow, query += 4) {
      I keys[kPanels];
      for (int p = 0; p < kPanels; ++p) keys[p] = widen_signed_pairs(from + 32 * p);
      fetcher.next<kLines>();
      for (int q = 0; q < kQueries; ++q) {
        for (int p = 0; p < kPanels; ++p) {
          products[q][p] = dot_wide_pairs(products[q][p], keys[p], query + 2 * q * a.query_stride);
        }
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      const F scale = load_half(scales + 32 * p);
#pragma GCC unroll 8
      for (int q = 0; q < kQueries; ++q) {
        sums[q][p] = fma(to_float(products[q][p]), scale, sums[q][p]);
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
    const F scale = set(a.query_scales[first + q]);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      store(a.scores + (first + q) * kAttentionTile + 16 * (panel + p), mul(sums[q][p], scale));
    }
  }
}

inline void score_tile(const ScoreTile& a) {
  for_parts<kTileQueries>(0, a.count, [&]<int kQueries>(int first) {
    if (a.format == PairFormat::kBlocks) {
      // As many sums as there are registers for, twice.
      constexpr int kPanels = kQueries <= 3 ? 4 : 2;
      for (int panel = 0; panel < 4; panel += kPanels) {
        score_blocks<kQueries, kPanels>(a, first, panel);
      }
    } else if (a.format == PairFormat::kF16) {
      score_queries<PairFormat::kF16, kQueries>(a, first);
    } else {
      score_queries<PairFormat::kBF16, kQueries>(a, first);
    }
  });
}

// ---- Softmax ------------------------------------------------------------------------------------

/// 2^x for x <= 127, to 3e-6 of it: 2^n times a polynomial of degree 4 on |r| <= 1/2, the best of
/// those that are 1 at 0 (a factor of 1 must change nothing). Minus infinity gives 0, NaN stays
/// NaN.
inline F power_of_two(F x) {
  static constexpr float kMinimax[] = {9.5828753e-3F, 5.5906482e-2F, 2.40240991e-1F, 6.93124175e-1F,
                                       1.0F};
  x = max(set(-1000.0F), x);
  const F n = nearest(x);
  return times_power(polynomial(sub(x, n), kMinimax), n);
}

/// One query's 64 scores become weights relative to the running maximum. Calls fetch() four times.
template <class Fetch>
inline void weigh_query(const WeighTile& a, std::int64_t q, Fetch fetch) {
  constexpr float kLog2E = 1.44269504088896341F;
  const float* const scores = a.scores + q * kAttentionTile;
  F x[4];
  for (int i = 0; i < 4; ++i) x[i] = load(scores + 16 * i);
  const float before = a.maxima[q];
  float maximum = before;
  // In most tiles nothing is larger than what was seen before: then no factor is needed, which
  // would be 1.
  const F most_lanes = max(max(x[0], x[1]), max(x[2], x[3]));
  const bool grows = any_greater(most_lanes, set(before));
  if (grows) {
    const float most = largest(most_lanes);
    if (before < most) maximum = most;
  }
  // Where all scores are minus infinity their weights must be zero, not NaN.
  const float reference = maximum < -3e38F ? 0.0F : maximum;
  const F base = set(reference * kLog2E - a.shift);
  F total = load(a.sums + 16 * q);
  a.factors[q] = 1;
  if (grows) {
    const F factor = power_of_two(set((before - reference) * kLog2E));
    total = mul(total, factor);
    a.maxima[q] = maximum;
    a.factors[q] = first_lane(factor);
  }
#pragma GCC unroll 4
  for (F& lanes : x) {
    lanes = power_of_two(sub_product(lanes, set(kLog2E), base));
    total = add(total, lanes);
    fetch();
  }
  std::uint16_t* const weights = a.weights + q * kAttentionTile;
  store_bytes(weights, to_bf16(x[0], x[1]));
  store_bytes(weights + 32, to_bf16(x[2], x[3]));
  store(a.sums + 16 * q, total);
}

/// Lines [done, wanted) of a stretch.
inline void fetch_lines(const std::byte* from, std::int64_t done, std::int64_t wanted) {
  for (; done < wanted; ++done) prefetch(from + kCacheLine * done);
}

inline void weigh_tile(const WeighTile& a) {
  if (a.ahead_keys == nullptr && a.ahead_values == nullptr) {
    for (std::int64_t q = 0; q < a.count; ++q) weigh_query(a, q, [] {});
    return;
  }
  const std::int64_t steps = 4 * a.count;
  const std::int64_t keys = (a.ahead_key_lines + steps - 1) / steps;
  const std::int64_t values = (a.ahead_value_lines + steps - 1) / steps;
  std::int64_t step = 0;
  for (std::int64_t q = 0; q < a.count; ++q) {
    weigh_query(a, q, [&] {
      fetch_lines(a.ahead_keys, keys * step, keys * (step + 1));
      fetch_lines(a.ahead_values, values * step, values * (step + 1));
      ++step;
    });
  }
}

// ---- Values: lanes are elements of the values, pairs are neighbouring cells --------------------

template <PairFormat kFormat, int kQueries, int kPanels>
inline void add_values(const ValueTile& a, int first, std::int64_t panel) {
  constexpr std::int64_t kRow = 64 * kPanels;  // bytes of a pair of cells
  const std::byte* const values = a.values + panel * 32 * kAttentionTile;
  const std::uint16_t* const weights = a.weights + first * kAttentionTile;
  float* const to = a.sums + first * a.stride + 16 * panel;
  const std::byte* const ahead =
      first == 0 && a.ahead != nullptr
          ? a.ahead + kAttentionTile / 2 * kCacheLine * fetched_value_lines(kFormat, panel)
          : nullptr;
  Fetcher fetcher(ahead, values);
  F sums[kQueries][kPanels];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      sums[q][p] = mul(load(to + q * a.stride + 16 * p), set(a.factors[first + q]));
    }
  }
  const auto step = [&](std::int64_t pair, auto change) __attribute__((always_inline)) {
    B cells[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      cells[p] = change(load_pairs<kFormat>(values + pair * kRow + 64 * p));
    }
    fetcher.next<fetched_value_lines(kFormat, kPanels)>();
    for (int q = 0; q < kQueries; ++q) {
      const B weight = set_pair(weights + q * kAttentionTile + 2 * pair);
      for (int p = 0; p < kPanels; ++p) sums[q][p] = dot_bf16(sums[q][p], cells[p], weight);
    }
  };
  const std::int64_t end = a.end_cell / 2;
  for (std::int64_t pair = a.first_cell / 2; pair < end; ++pair) {
    step(pair, [](B pairs) { return pairs; });
  }
  // The second cell of the last pair may never have been written.
  if (a.end_cell % 2 != 0) step(end, [](B pairs) { return first_of_pairs(pairs); });
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) store(to + q * a.stride + 16 * p, sums[q][p]);
  }
}

template <PairFormat kFormat>
inline void value_panels(const ValueTile& a) {
  for_parts<kTileQueries>(0, a.count, [&]<int kQueries>(int first) {
    std::int64_t panel = 0;
    for (; panel + 4 <= a.panels; panel += 4) add_values<kFormat, kQueries, 4>(a, first, panel);
    if (a.panels - panel == 3) add_values<kFormat, kQueries, 3>(a, first, panel);
    if (a.panels - panel == 2) add_values<kFormat, kQueries, 2>(a, first, panel);
    if (a.panels - panel == 1) add_values<kFormat, kQueries, 1>(a, first, panel);
  });
}

/// Weights of a tile times the scales of a block, as integers of 16 bits; returns what one stands
/// for. Invisible cells have weight 0, and 0 times a scale that was never written gives 0: what
/// is NaN is not the largest, and becomes the integer -2^31, of which the low 16 bits are kept.
inline float scale_weights(const std::uint16_t* weights, const std::byte* scales,
                           std::int16_t* to) {
  constexpr float kMost = 32767;
  F products[4];
  F most_lanes = zero();
  for (int i = 0; i < 4; ++i) {
    products[i] = mul(load_bfloat(weights + 16 * i), load_half(scales + 32 * i));
    most_lanes = max(products[i], most_lanes);
  }
  const float most = largest(most_lanes);
  const F inverse = set(most > 0 ? kMost / most : 0.0F);
  for (int i = 0; i < 4; ++i) store_int16(to + 16 * i, round_to_int(mul(products[i], inverse)));
  return most / kMost;
}

/// Of 32 * kBlocks elements from `element` on, which lie together.
template <int kQueries, int kBlocks>
inline void add_blocks(const ValueTile& a, int first, std::int64_t element) {
  constexpr int kPanels = 2 * kBlocks;
  constexpr std::int64_t kRow = 32 * kPanels;  // bytes of a pair of cells
  const std::byte* const scales = a.values + element / 32 * kScaleRow;
  const std::byte* const values = a.values + a.panels / 2 * kScaleRow + element * kAttentionTile;
  alignas(64) std::int16_t weights[kQueries][kBlocks][kAttentionTile];
  float steps[kQueries][kBlocks];
  for (int q = 0; q < kQueries; ++q) {
    for (int b = 0; b < kBlocks; ++b) {
      steps[q][b] = scale_weights(a.weights + (first + q) * kAttentionTile, scales + b * kScaleRow,
                                  weights[q][b]);
    }
  }
  const std::byte* const ahead =
      first == 0 && a.ahead != nullptr
          ? a.ahead + kAttentionTile / 2 * kCacheLine *
                          fetched_value_lines(PairFormat::kBlocks, element / kPanelRows)
          : nullptr;
  Fetcher fetcher(ahead, values);
  Sums products[kQueries][kPanels];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) products[q][p] = Sums{};
  }
  for (std::int64_t pair = a.first_cell / 2; pair < (a.end_cell + 1) / 2; ++pair) {
    I cells[kPanels];
    for (int p = 0; p < kPanels; ++p) cells[p] = widen_signed_pairs(values + pair * kRow + 32 * p);
    fetcher.next<fetched_value_lines(PairFormat::kBlocks, kPanels)>();
    for (int q = 0; q < kQueries; ++q) {
      for (int p = 0; p < kPanels; ++p) {
        const auto* const weight = reinterpret_cast<const std::byte*>(weights[q][p / 2] + 2 * pair);
        products[q][p] = dot_wide_pairs(products[q][p], cells[p], weight);
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
    float* const to = a.sums + (first + q) * a.stride + element;
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      const F before = mul(load(to + 16 * p), set(a.factors[first + q]));
      store(to + 16 * p, fma(to_float(products[q][p]), set(steps[q][p / 2]), before));
    }
  }
}

inline void value_blocks(const ValueTile& a) {
  const std::int64_t size = 16 * a.panels;
  for_parts<kTileQueries>(0, a.count, [&]<int kQueries>(int first) {
    std::int64_t element = 0;
    for (; element + kValueBlock <= size; element += kValueBlock) {
      add_blocks<kQueries, 2>(a, first, element);
    }
    if (element < size) add_blocks<kQueries, 1>(a, first, element);
  });
}

inline void value_tile(const ValueTile& a) {
  if (a.format == PairFormat::kBlocks) {
    value_blocks(a);
  } else if (a.format == PairFormat::kF16) {
    value_panels<PairFormat::kF16>(a);
  } else {
    value_panels<PairFormat::kBF16>(a);
  }
}

// ---- Preparing ----------------------------------------------------------------------------------

inline void pack_query(const float* x, float factor, std::int64_t size, std::uint16_t* to) {
  const F scale = set(factor);
  const F limit = set(3e38F);  // rounds to a finite number
  const auto scaled = [&](F lanes) { return min(limit, max(set(-3e38F), mul(lanes, scale))); };
  std::int64_t i = 0;
  for (; i + 32 <= size; i += 32) {
    store_bytes(to + i, to_bf16(scaled(load(x + i)), scaled(load(x + i + 16))));
  }
  if (i == size) return;
  const std::int64_t rest = size - i;
  const F low = rest >= 16 ? load(x + i) : load_first(x + i, rest);
  const F high = rest > 16 ? load_first(x + i + 16, rest - 16) : zero();
  std::uint16_t last[32];
  store_bytes(last, to_bf16(scaled(low), scaled(high)));
  __builtin_memcpy(to + i, last, static_cast<std::size_t>((rest + 1) / 2 * 4));
}

inline float pack_query_integers(const float* x, float factor, std::int64_t size,
                                 std::uint16_t* to) {
  constexpr float kMost = 32767;
  const F scale = set(factor);
  F most_lanes = zero();
  for (std::int64_t i = 0; i < size; i += 16) {
    most_lanes = max(abs(mul(load(x + i), scale)), most_lanes);
  }
  const float most = largest(most_lanes);
  const F inverse = set(most > 0 ? kMost / most : 0.0F);
  for (std::int64_t i = 0; i < size; i += 16) {
    store_int16(reinterpret_cast<std::int16_t*>(to) + i,
                round_to_int(mul(mul(load(x + i), scale), inverse)));
  }
  return most / kMost;
}

inline void halves_to_pairs(const std::byte* from, std::int64_t count, std::byte* to,
                            const std::byte* ahead) {
  for (std::int64_t i = 0; i < 2 * count; i += 64) {
    store_bytes(to + i, half_to_bf16(load_bytes(from + i)));
    prefetch(ahead + i);
  }
}

/// 32 bytes, which are pairs, times the scales of their first and second half as bfloat16.
inline B scaled_bytes(const std::byte* p, F first, F second) {
  return to_bf16(mul(to_float(widen_s8(p)), first), mul(to_float(widen_s8(p + 16)), second));
}

inline void keys_from_blocks(const std::byte* tile, std::int64_t size, std::byte* to) {
  constexpr std::int64_t kRow = 2 * kAttentionTile;  // bytes of a pair of elements
  const std::byte* const bytes = tile + size / 32 * kRow;
  for (std::int64_t block = 0; block < size / 32; ++block) {
    for (std::int64_t cells = 0; cells < 4; ++cells) {
      const F scales = load_half(tile + block * kRow + 32 * cells);
      const F first = twice<false>(scales);
      const F second = twice<true>(scales);
      std::int64_t place = 16 * block * kRow + 32 * cells;
      for (int pair = 0; pair < 16; ++pair, place += kRow) {
        store_bytes(to + 2 * place, scaled_bytes(bytes + place, first, second));
      }
    }
  }
}

inline void pairs_to_floats(const std::byte* keys, PairFormat format, std::int64_t pairs,
                            float* to) {
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const I both = load_int(keys + kTileRow * pair);
    F first, second;
    if (format == PairFormat::kF16) {
      first = half_of_int(both);
      second = half_of_int(shift_right<16>(both));
    } else {
      first = float_of(shift_left<16>(both));
      second = float_of(shift_left<16>(shift_right<16>(both)));
    }
    store(to + 32 * pair, first);
    store(to + 32 * pair + 16, second);
  }
}

/// Blocks of 8 x 8 pairs of pairs are transposed.
inline void turn_pairs(const std::byte* keys, std::int64_t pairs, std::byte* values) {
  const std::int64_t panels = (pairs + 7) / 8;
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t block = panel / 4 * 4;
    const std::int64_t row = 64 * (panels - block < 4 ? panels - block : 4);
    std::byte* const to = values + block * 32 * kAttentionTile + (panel - block) * 64;
    for (std::int64_t cells = 0; cells < 4; ++cells) {
      B rows[8];
      for (std::int64_t r = 0; r < 8; ++r) {
        const std::int64_t pair = 8 * panel + r;
        rows[r] = pair < pairs ? swap_middle_words(load_bytes(keys + kTileRow * pair + 64 * cells))
                               : zero_bytes();
      }
      transpose_eight(rows);
      for (std::int64_t r = 0; r < 8; ++r) store_bytes(to + (8 * cells + r) * row, rows[r]);
    }
  }
}

inline float sum_lanes(const float* lanes) { return sum(load(lanes)); }

constexpr PairAttentionKernels kPairAttention = {
    .score = score_tile,
    .weigh = weigh_tile,
    .value = value_tile,
    .pack_query = pack_query,
    .pack_query_integers = pack_query_integers,
    .from_halves = halves_to_pairs,
    .keys_from_blocks = keys_from_blocks,
    .to_floats = pairs_to_floats,
    .turn = turn_pairs,
    .sum = sum_lanes,
};

}  // namespace
}  // namespace hearth::compute::cpu
