// The kernels of attention on coded pages, written once over the primitives of an instruction set.
//
// Included only by coded_kernels_code.h.
#pragma once

#include "compute/cpu/coded_decode_code.h"
#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_lanes.h"
#include "compute/cpu/register_tiles.h"

namespace hearth::compute::cpu {
namespace {

constexpr int kCodedQueries = kMaxTile >= 8 ? 4 : 2;
constexpr int kCodedPanels = kMaxTile >= 8 ? 4 : 2;
constexpr int kCodedValuePanels = kMaxTile >= 8 ? 2 : 1;
/// With registers enough so many queries take numbers as they are looked up.
constexpr int kDirectQueries = kMaxTile >= 8 ? 8 : 0;

// ---- Scores -------------------------------------------------------------------------------------

template <int kQueries>
inline void mean_products_of(const MeanProducts& a, int first) {
  const float* const x = a.x + first * a.stride;
  F totals[4];
  for_each<4>([&]<int kQ>() __attribute__((always_inline)) { totals[kQ] = zero(); });
  for (std::int64_t i = 0; i < a.count; i += 16) {
    const F mean = to_float(widen_s8(a.mean + i));
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      totals[kQ] = fma(mean, load(x + kQ * a.stride + i), totals[kQ]);
    });
  }
  float products[4];
  sums_of(totals, products);
  for (int q = 0; q < kQueries; ++q) a.products[first + q] += a.unit * products[q];
}

inline void mean_products(const MeanProducts& a) {
  for_parts<4>(0, a.queries_count,
               [&]<int kQueries>(int first) { mean_products_of<kQueries>(a, first); });
}

/// Sums of products of a tile's panels [panel, panel + kPanels) with some queries.
template <int kQueries, int kPanels>
struct ScoreSums {
  I sums[kQueries][kPanels];

  [[gnu::always_inline]] inline void start(const CodedScore& a, int first) {
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      const I correction = set_int(a.corrections[(first + kQ) * a.parameter_stride]);
      for_each<kPanels>([&]<int kP>()
                            __attribute__((always_inline)) { sums[kQ][kP] = correction; });
    });
  }
  /// `queries`: four bytes of each.
  template <int kPanel>
  [[gnu::always_inline]] inline void add(B keys, const std::int8_t* queries) {
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      sums[kQ][kPanel] = dot_from(sums[kQ][kPanel], keys, queries + 4 * kQ);
    });
  }
  [[gnu::always_inline]] inline void finish(const CodedScore& a, int first, int panel) {
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      const F scale = set(a.scales[(first + kQ) * a.parameter_stride]);
      for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
        const std::int64_t cell = 16 * (panel + kP);
        float* const to = a.scores + (first + kQ) * kCells + cell;
        const F before = a.start == nullptr ? load(to) : set(a.start[first + kQ]);
        store(to, fma(mul(to_float(sums[kQ][kP]), scale), load(a.factors + cell), before));
      });
    });
  }
};

template <int kQueries, int kPanels>
inline void score_part(const CodedScore& a, int first, int panel) {
  ScoreSums<kQueries, kPanels> sums;
  sums.start(a, first);
  const std::int8_t* queries = a.queries + 4 * first;
  const std::byte* from = a.keys + panel * kVector;
  for (std::int64_t i = 0; i < a.count; i += 4, from += 4 * kVector) {
    for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
      sums.template add<kP>(load_bytes(from + kP * kVector), queries);
    });
    queries += 4 * a.query_stride;
  }
  sums.finish(a, first, panel);
}

/// The panels [kPanel, kPanel + kPanels) of all queries.
template <int kBits, int kQueries, int kPanel, int kPanels>
inline void score_codes_part(const CodedScore& a, const Decoder<kBits>& decoder) {
  ScoreSums<kQueries, kPanels> sums;
  sums.start(a, 0);
  const std::byte* block = a.keys;
  const std::byte* ahead = a.ahead;
  const std::int8_t* queries = a.queries;
  for (std::int64_t i = 0; i < a.count; i += 8, block += kBits * kVector) {
    if constexpr (kPanel == 0) {
      fetch_block<kBits>(ahead);
      ahead += kBits * kVector;
    }
    for_each<2>([&]<int kQuad>() __attribute__((always_inline)) {
      for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
        sums.template add<kP>(decoder.template get<4 * kQuad + kPanel + kP>(block), queries);
      });
      queries += 4 * a.query_stride;
    });
  }
  sums.finish(a, 0, kPanel);
}

template <int kBits, int kQueries>
inline void score_codes(const CodedScore& a) {
  const Decoder<kBits> decoder(a.numbers);
  if constexpr (kQueries <= 4) {
    score_codes_part<kBits, kQueries, 0, 4>(a, decoder);
  } else {
    // As many sums as there are registers for: every panel is decoded once all the same.
    score_codes_part<kBits, kQueries, 0, 2>(a, decoder);
    score_codes_part<kBits, kQueries, 2, 2>(a, decoder);
  }
}

inline void score_coded(const CodedScore& a) {
  if constexpr (kDirectQueries > 0) {
    if (a.bits != 0) {
      with_bits(a.bits, [&]<int kBits>() {
        with_size<kDirectQueries>(a.queries_count, 0,
                                  [&]<int kQueries>(int) { score_codes<kBits, kQueries>(a); });
      });
      return;
    }
  }
  for_parts<kCodedQueries>(0, a.queries_count, [&]<int kQueries>(int first) {
    for (int panel = 0; panel < 4; panel += kCodedPanels) {
      score_part<kQueries, kCodedPanels>(a, first, panel);
    }
  });
}

// ---- Weights ------------------------------------------------------------------------------------

constexpr float kLog2E = 1.44269504088896341F;
/// A reference is replaced by the maximum when scores are above it by more than this.
constexpr float kHeadroom = 8;

/// The query's reference becomes `most`, and what was summed up so far shrinks accordingly.
inline void raise_reference(const CodedSoftmax& a, int query, float most) {
  const float before = a.references[query];
  float shrink[16] = {};
  if (before > -3e38F) store(shrink, power_of_two(mul(set(before - most), set(kLog2E))));
  a.references[query] = most;
  a.shrink[query] = shrink[0];
}

// Several queries at a time: each step waits for the one before it, and what other queries do
// meanwhile is free.
template <int kQueries>
inline void softmax_of(const CodedSoftmax& a, int first) {
  float* const scores = a.scores + first * kCells;
  F most[4];
  F totals[4];
  for_each<4>([&]<int kQ>() __attribute__((always_inline)) {
    most[kQ] = totals[kQ] = zero();
    if constexpr (kQ < kQueries) {
      const float* const x = scores + kQ * kCells;
      most[kQ] = max(max(load(x), load(x + 16)), max(load(x + 32), load(x + 48)));
    }
  });
  float tops[4];
  largest_of(most, tops);
  for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
    a.shrink[first + kQ] = 1;
    if (tops[kQ] > a.references[first + kQ] + kHeadroom) [[unlikely]] {
      raise_reference(a, first + kQ, tops[kQ]);
    }
    // Without any cell yet all scores are minus infinity.
    const float reference = a.references[first + kQ];
    const F base = set(reference > -3e38F ? reference : 0.0F);
    for_each<4>([&]<int kI>() __attribute__((always_inline)) {
      float* const x = scores + kQ * kCells + 16 * kI;
      const F p = power_of_two(mul(sub(load(x), base), set(kLog2E)));
      store(x, p);
      totals[kQ] = add(totals[kQ], p);
    });
  });
  float sums[4];
  sums_of(totals, sums);
  for (int q = 0; q < kQueries; ++q) {
    a.sums[first + q] = a.sums[first + q] * a.shrink[first + q] + sums[q];
  }
}

inline void softmax_coded(const CodedSoftmax& a) {
  for_parts<4>(0, a.queries_count,
               [&]<int kQueries>(int first) { softmax_of<kQueries>(a, first); });
}

/// Between -1/2 and 1/2: multiples of the golden ratio, which are spread evenly in any few cells.
struct Dither {
  float values[kCells];
  constexpr Dither() : values() {
    double x = 0;
    for (float& value : values) {
      x += 0.61803398874989485;
      if (x >= 1) x -= 1;
      value = static_cast<float>(x - 0.5);
    }
  }
};

template <int kQueries>
inline void weigh_narrow(const float* p, const float* factors, const CodedWeights& to, int first) {
  static constexpr Dither kDither;
  F products[kQueries][4];
  F most[4];
  F totals[4];
  I counts[4];
  for_each<4>([&]<int kQ>() __attribute__((always_inline)) {
    most[kQ] = totals[kQ] = zero();
    counts[kQ] = zero_int();
  });
  for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
    F(&x)[4] = products[kQ];
    for_each<4>([&]<int kI>() __attribute__((always_inline)) {
      x[kI] = mul(load(p + (first + kQ) * kCells + 16 * kI), load(factors + 16 * kI));
    });
    most[kQ] = max(max(x[0], x[1]), max(x[2], x[3]));
    totals[kQ] = add(add(x[0], x[1]), add(x[2], x[3]));
  });
  float tops[4];
  float sums[4];
  largest_of(most, tops);
  sums_of(totals, sums);
  for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
    const F inverse = set(tops[kQ] > 1e-31F ? 126.49F / tops[kQ] : 0.0F);
    I numbers[4];
    for_each<4>([&]<int kI>() __attribute__((always_inline)) {
      numbers[kI] = round_to_int(fma(products[kQ][kI], inverse, load(kDither.values + 16 * kI)));
    });
    counts[kQ] = store_numbers(numbers, to.high + (first + kQ) * kCells);
  });
  std::int32_t all[4];
  int_sums_of(counts, all);
  for (int q = 0; q < kQueries; ++q) {
    to.scales[first + q] = all[q] > 0 ? sums[q] / static_cast<float>(all[q]) : 0.0F;
    to.corrections[first + q] = kBiasedWeights ? -128 * all[q] : 0;
  }
}

inline void weigh_wide(const float* p, const float* factors, const CodedWeights& to, int query) {
  constexpr float kMost = 127 * 128;
  F products[4];
  F most = zero();
  for (int i = 0; i < 4; ++i) {
    products[i] = mul(load(p + query * kCells + 16 * i), load(factors + 16 * i));
    most = max(abs(products[i]), most);
  }
  const float scale = largest(most) / kMost;
  const F inverse = set(scale > 1e-33F ? 1.0F / scale : 0.0F);
  I total = zero_int();
  for (int i = 0; i < 4; ++i) {
    const I number = round_to_int(mul(products[i], inverse));
    store_int8(to.high + query * kCells + 16 * i, shift_right<7>(number));
    store_int8(to.low + query * kCells + 16 * i, and_int(number, 127));
    total = add_int(total, number);
  }
  to.scales[query] = scale;
  to.corrections[query] = kBiasedWeights ? -128 * sum_int(total) : 0;
}

inline void weigh_coded(const float* p, const float* factors, const CodedWeights& to, int count) {
  if (to.low == nullptr) {
    for_parts<4>(0, count,
                 [&]<int kQueries>(int first) { weigh_narrow<kQueries>(p, factors, to, first); });
  } else {
    for (int q = 0; q < count; ++q) weigh_wide(p, factors, to, q);
  }
}

// ---- Values -------------------------------------------------------------------------------------

/// Sums of products with weights, of the high bytes and, where they have them, of the low ones.
template <int kQueries, int kPanels, bool kWide>
struct ValueSums {
  I high[kQueries][kPanels];
  I low[kQueries][kWide ? kPanels : 1];

  [[gnu::always_inline]] inline void start(const CodedValue& a, int first) {
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      const I correction = set_int(a.weights.corrections[first + kQ]);
      for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
        high[kQ][kP] = kWide ? zero_int() : correction;
        if constexpr (kWide) low[kQ][kP] = correction;
      });
    });
  }
  template <int kPanel>
  [[gnu::always_inline]] inline void add(const CodedValue& a, int first, std::int64_t cell,
                                         B values) {
    const std::int64_t at = first * kCells + cell;
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      high[kQ][kPanel] = dot_from(high[kQ][kPanel], values, a.weights.high + at + kQ * kCells);
      if constexpr (kWide) {
        low[kQ][kPanel] = dot_from(low[kQ][kPanel], values, a.weights.low + at + kQ * kCells);
      }
    });
  }
  [[gnu::always_inline]] inline void finish(const CodedValue& a, int first, std::int64_t panel) {
    for_each<kQueries>([&]<int kQ>() __attribute__((always_inline)) {
      const F scale = set(a.weights.scales[first + kQ]);
      const F shrink = set(a.shrink[first + kQ]);
      float* const to = a.sums + (first + kQ) * a.stride + 16 * panel;
      for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
        I products = high[kQ][kP];
        if constexpr (kWide) products = add_int(shift_left<7>(products), low[kQ][kP]);
        store(to + 16 * kP, fma(to_float(products), scale, mul(load(to + 16 * kP), shrink)));
      });
    });
  }
};

template <int kQueries, int kPanels, bool kWide>
inline void value_part(const CodedValue& a, int first, std::int64_t panel) {
  ValueSums<kQueries, kPanels, kWide> sums;
  sums.start(a, first);
  const std::byte* from = a.values + panel * 16 * kVector;
  for (std::int64_t cell = 0; cell < kCells; cell += 4, from += kVector) {
    for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
      sums.template add<kP>(a, first, cell, load_bytes(from + kP * 16 * kVector));
    });
  }
  sums.finish(a, first, panel);
}

/// Panels side by side: they share the weights that every query needs in all lanes, and their sums
/// do not wait for each other.
template <int kBits, int kQueries, int kPanels, bool kWide>
inline void value_codes_part(const CodedValue& a, const Decoder<kBits>& decoder,
                             std::int64_t panel) {
  ValueSums<kQueries, kPanels, kWide> sums;
  sums.start(a, 0);
  for (int half = 0; half < 2; ++half) {
    const std::int64_t offset = (2 * panel + half) * kBits * kVector;
    const std::byte* const block = a.values + offset;
    for (int p = 0; p < kPanels; ++p)
      fetch_block<kBits>(a.ahead + offset + 2 * p * kBits * kVector);
    for_each<8>([&]<int kIndex>() __attribute__((always_inline)) {
      for_each<kPanels>([&]<int kP>() __attribute__((always_inline)) {
        sums.template add<kP>(a, 0, 32 * half + 4 * kIndex,
                              decoder.template get<kIndex>(block + 2 * kP * kBits * kVector));
      });
    });
  }
  sums.finish(a, 0, panel);
}

template <int kBits, int kQueries, bool kWide>
inline void value_codes(const CodedValue& a) {
  constexpr int kRegisters = kQueries * (kWide ? 2 : 1);
  constexpr int kPanels = kRegisters == 1 ? 4 : kRegisters <= 8 ? 2 : 1;
  const Decoder<kBits> decoder(a.numbers);
  std::int64_t panel = 0;
  for (; panel + kPanels <= a.panels; panel += kPanels) {
    value_codes_part<kBits, kQueries, kPanels, kWide>(a, decoder, panel);
  }
  for (; panel < a.panels; ++panel) value_codes_part<kBits, kQueries, 1, kWide>(a, decoder, panel);
}

template <bool kWide>
inline void value_of_width(const CodedValue& a) {
  if constexpr (kDirectQueries > 0) {
    if (a.bits != 0) {
      with_bits(a.bits, [&]<int kBits>() {
        // Only integers of four and eight bits are kept so exactly, and those always.
        if constexpr (kWide ? kBits >= 4 : kBits <= 4) {
          with_size<kDirectQueries>(a.queries_count, 0, [&]<int kQueries>(int) {
            value_codes<kBits, kQueries, kWide>(a);
          });
        }
      });
      return;
    }
  }
  for_parts<kCodedQueries>(0, a.queries_count, [&]<int kQueries>(int first) {
    std::int64_t panel = 0;
    for (; panel + kCodedValuePanels <= a.panels; panel += kCodedValuePanels) {
      value_part<kQueries, kCodedValuePanels, kWide>(a, first, panel);
    }
    if (panel < a.panels) value_part<kQueries, 1, kWide>(a, first, panel);
  });
}

inline void value_coded(const CodedValue& a) {
  if (a.weights.low == nullptr) {
    value_of_width<false>(a);
  } else {
    value_of_width<true>(a);
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
