// The kernels of attention on coded pages, written once over the primitives of an instruction set.
//
// Included only by coded_kernels_code.h.
#pragma once

#include "compute/cpu/coded_decode_code.h"
#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_lanes.h"

namespace hearth::compute::cpu {
namespace {

constexpr int kCodedQueries = kMaxTile >= 8 ? 4 : 2;
constexpr int kCodedPanels = kMaxTile >= 8 ? 4 : 2;
constexpr int kCodedValuePanels = kMaxTile >= 8 ? 2 : 1;
/// With registers enough so many queries take numbers as they are looked up.
constexpr int kDirectQueries = kMaxTile >= 8 ? 8 : 0;

/// body<n>(first) for all queries, n at most kMost.
template <int kMost, class Body>
inline void for_queries(int count, Body body) {
  int first = 0;
  for (; first + kMost <= count; first += kMost) body.template operator()<kMost>(first);
  const int rest = count - first;
  if constexpr (kMost > 4) {
    if (rest == 7) body.template operator()<7>(first);
    if (rest == 6) body.template operator()<6>(first);
    if (rest == 5) body.template operator()<5>(first);
    if (rest == 4) body.template operator()<4>(first);
  }
  if constexpr (kMost > 2) {
    if (rest == 3) body.template operator()<3>(first);
    if (rest == 2) body.template operator()<2>(first);
  }
  if (rest == 1) body.template operator()<1>(first);
}

// ---- Scores -------------------------------------------------------------------------------------

template <int kQueries>
inline void mean_products_of(const MeanProducts& a, int first) {
  const float* const x = a.x + first * a.stride;
  F totals[4];
  for (F& total : totals) total = zero();
  for (std::int64_t i = 0; i < a.count; i += 16) {
    const F mean = to_float(widen_s8(a.mean + i));
    for (int q = 0; q < kQueries; ++q) totals[q] = fma(mean, load(x + q * a.stride + i), totals[q]);
  }
  float products[4];
  sums_of(totals, products);
  for (int q = 0; q < kQueries; ++q) a.products[first + q] += a.unit * products[q];
}

inline void mean_products(const MeanProducts& a) {
  for_queries<4>(a.queries_count,
                 [&]<int kQueries>(int first) { mean_products_of<kQueries>(a, first); });
}

template <int kPanels>
inline void finish_scores(const CodedScore& a, int query, int panel, const I (&sums)[kPanels]) {
  const F scale = set(a.scales[query * a.parameter_stride]);
  for (int p = 0; p < kPanels; ++p) {
    const std::int64_t cell = 16 * (panel + p);
    float* const to = a.scores + query * kCells + cell;
    const F before = a.start == nullptr ? load(to) : set(a.start[query]);
    store(to, fma(mul(to_float(sums[p]), scale), load(a.factors + cell), before));
  }
}

template <int kQueries, int kPanels>
inline void score_part(const CodedScore& a, int first, int panel) {
  I sums[kQueries][kPanels];
  for (int q = 0; q < kQueries; ++q) {
    for (I& lanes : sums[q]) lanes = set_int(a.corrections[(first + q) * a.parameter_stride]);
  }
  const std::int8_t* const queries = a.queries + first * a.query_stride;
  const std::byte* from = a.keys + panel * kVector;
  for (std::int64_t i = 0; i < a.count; i += 4, from += 4 * kVector) {
    B keys[kPanels];
    for (int p = 0; p < kPanels; ++p) keys[p] = load_bytes(from + p * kVector);
    for (int q = 0; q < kQueries; ++q) {
      for (int p = 0; p < kPanels; ++p) {
        sums[q][p] = dot_byte(sums[q][p], keys[p], queries + q * a.query_stride + i);
      }
    }
  }
  for (int q = 0; q < kQueries; ++q) finish_scores<kPanels>(a, first + q, panel, sums[q]);
}

/// The panels [kPanel, kPanel + kPanels) of all queries.
template <int kBits, int kQueries, int kPanel, int kPanels>
inline void score_codes_part(const CodedScore& a, const Decoder<kBits>& decoder) {
  I sums[kQueries][kPanels];
  for (int q = 0; q < kQueries; ++q) {
    for (I& lanes : sums[q]) lanes = set_int(a.corrections[q * a.parameter_stride]);
  }
  const std::byte* block = a.keys;
  const std::byte* ahead = a.ahead;
  for (std::int64_t i = 0; i < a.count; i += 8, block += kBits * kVector) {
    if constexpr (kPanel == 0) {
      fetch_block<kBits>(ahead);
      ahead += kBits * kVector;
    }
    for_vectors([&]<int kIndex>() __attribute__((always_inline)) {
      constexpr int kOf = kIndex % 4 - kPanel;
      if constexpr (kOf >= 0 && kOf < kPanels) {
        const B keys = decoder.template get<kIndex>(block);
        for (int q = 0; q < kQueries; ++q) {
          sums[q][kOf] =
              dot_byte(sums[q][kOf], keys, a.queries + q * a.query_stride + i + kIndex / 4 * 4);
        }
      }
    });
  }
  for (int q = 0; q < kQueries; ++q) finish_scores<kPanels>(a, q, kPanel, sums[q]);
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
        for_queries<kDirectQueries>(a.queries_count,
                                    [&]<int kQueries>(int) { score_codes<kBits, kQueries>(a); });
      });
      return;
    }
  }
  for_queries<kCodedQueries>(a.queries_count, [&]<int kQueries>(int first) {
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
  for (F& lanes : most) lanes = zero();
  for (int q = 0; q < kQueries; ++q) {
    const float* const x = scores + q * kCells;
    most[q] = max(max(load(x), load(x + 16)), max(load(x + 32), load(x + 48)));
  }
  float tops[4];
  largest_of(most, tops);
  F totals[4];
  for (F& total : totals) total = zero();
  for (int q = 0; q < kQueries; ++q) {
    a.shrink[first + q] = 1;
    if (tops[q] > a.references[first + q] + kHeadroom) [[unlikely]] {
      raise_reference(a, first + q, tops[q]);
    }
    // Without any cell yet all scores are minus infinity.
    const float reference = a.references[first + q];
    const F base = set(reference > -3e38F ? reference : 0.0F);
    for (int i = 0; i < 4; ++i) {
      float* const x = scores + q * kCells + 16 * i;
      const F p = power_of_two(mul(sub(load(x), base), set(kLog2E)));
      store(x, p);
      totals[q] = add(totals[q], p);
    }
  }
  float sums[4];
  sums_of(totals, sums);
  for (int q = 0; q < kQueries; ++q) {
    a.sums[first + q] = a.sums[first + q] * a.shrink[first + q] + sums[q];
  }
}

inline void softmax_coded(const CodedSoftmax& a) {
  for_queries<4>(a.queries_count, [&]<int kQueries>(int first) { softmax_of<kQueries>(a, first); });
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
  for (int q = 0; q < 4; ++q) most[q] = totals[q] = zero();
  for (int q = 0; q < kQueries; ++q) {
    for (int i = 0; i < 4; ++i) {
      products[q][i] = mul(load(p + (first + q) * kCells + 16 * i), load(factors + 16 * i));
    }
    most[q] = max(max(products[q][0], products[q][1]), max(products[q][2], products[q][3]));
    totals[q] = add(add(products[q][0], products[q][1]), add(products[q][2], products[q][3]));
  }
  float tops[4];
  float sums[4];
  largest_of(most, tops);
  sums_of(totals, sums);
  I counts[4];
  for (I& lanes : counts) lanes = zero_int();
  for (int q = 0; q < kQueries; ++q) {
    const F inverse = set(tops[q] > 1e-31F ? 126.49F / tops[q] : 0.0F);
    I numbers[4];
    for (int i = 0; i < 4; ++i) {
      numbers[i] = round_to_int(fma(products[q][i], inverse, load(kDither.values + 16 * i)));
    }
    counts[q] = store_numbers(numbers, to.high + (first + q) * kCells);
  }
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
    for_queries<4>(count,
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

  inline void start(const CodedValue& a, int first) {
    for (int q = 0; q < kQueries; ++q) {
      for (int p = 0; p < kPanels; ++p) {
        const I correction = set_int(a.weights.corrections[first + q]);
        high[q][p] = kWide ? zero_int() : correction;
        if constexpr (kWide) low[q][p] = correction;
      }
    }
  }
  inline void add(const CodedValue& a, int first, int panel, std::int64_t cell, B values) {
    for (int q = 0; q < kQueries; ++q) {
      const std::int64_t at = (first + q) * kCells + cell;
      high[q][panel] = dot_byte(high[q][panel], values, a.weights.high + at);
      if constexpr (kWide) low[q][panel] = dot_byte(low[q][panel], values, a.weights.low + at);
    }
  }
  inline void finish(const CodedValue& a, int first, std::int64_t panel) {
    for (int q = 0; q < kQueries; ++q) {
      const F scale = set(a.weights.scales[first + q]);
      const F shrink = set(a.shrink[first + q]);
      for (int p = 0; p < kPanels; ++p) {
        float* const to = a.sums + (first + q) * a.stride + 16 * (panel + p);
        I products = high[q][p];
        if constexpr (kWide) products = add_int(shift_left<7>(products), low[q][p]);
        store(to, fma(to_float(products), scale, mul(load(to), shrink)));
      }
    }
  }
};

template <int kQueries, int kPanels, bool kWide>
inline void value_part(const CodedValue& a, int first, std::int64_t panel) {
  ValueSums<kQueries, kPanels, kWide> sums;
  sums.start(a, first);
  const std::byte* from = a.values + panel * 16 * kVector;
  for (std::int64_t cell = 0; cell < kCells; cell += 4, from += kVector) {
    for (int p = 0; p < kPanels; ++p) {
      sums.add(a, first, p, cell, load_bytes(from + p * 16 * kVector));
    }
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
    for_vectors([&]<int kIndex>() __attribute__((always_inline)) {
      for (int p = 0; p < kPanels; ++p) {
        sums.add(a, 0, p, 32 * half + 4 * kIndex,
                 decoder.template get<kIndex>(block + 2 * p * kBits * kVector));
      }
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
          for_queries<kDirectQueries>(
              a.queries_count, [&]<int kQueries>(int) { value_codes<kBits, kQueries, kWide>(a); });
        }
      });
      return;
    }
  }
  for_queries<kCodedQueries>(a.queries_count, [&]<int kQueries>(int first) {
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
