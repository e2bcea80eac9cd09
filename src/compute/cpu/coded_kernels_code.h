// The kernels on coded pages, written once over the primitives of an instruction set.
//
// Included only by coded_kernels_*.cpp, after the header of the instruction set.
#pragma once

#include "compute/cpu/coded_encode_code.h"
#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_lanes.h"

namespace hearth::compute::cpu {
namespace {

// ---- Hadamard transforms ------------------------------------------------------------------------

/// One pass of butterflies over kRadix vectors that are `half` vectors apart; `factors` may be
/// null.
template <int kRadix>
inline void butterfly_pass(float* x, std::int64_t vectors, std::int64_t half,
                           const float* factors) {
  for (std::int64_t block = 0; block < vectors; block += kRadix * half) {
    for (std::int64_t first = block; first < block + half; ++first) {
      F v[kRadix];
      for (int r = 0; r < kRadix; ++r) {
        v[r] = load(x + 16 * (first + r * half));
        if (factors != nullptr) v[r] = mul(v[r], set(factors[first + r * half]));
      }
      for (int step = 1; step < kRadix; step *= 2) {
        for (int r = 0; r < kRadix; ++r) {
          if ((r & step) != 0) continue;
          const F a = v[r];
          v[r] = add(a, v[r + step]);
          v[r + step] = sub(a, v[r + step]);
        }
      }
      for (int r = 0; r < kRadix; ++r) store(x + 16 * (first + r * half), v[r]);
    }
  }
}

/// The transform across `vectors` vectors, of every lane.
inline void transform_vectors(float* x, std::int64_t vectors, const float* factors) {
  std::int64_t half = 1;
  while (half < vectors) {
    const std::int64_t rest = vectors / half;
    if (rest >= 8 && kMaxTile >= 8) {
      butterfly_pass<8>(x, vectors, half, factors);
      half *= 8;
    } else if (rest >= 4) {
      butterfly_pass<4>(x, vectors, half, factors);
      half *= 4;
    } else {
      butterfly_pass<2>(x, vectors, half, factors);
      half *= 2;
    }
    factors = nullptr;
  }
  if (vectors == 1 && factors != nullptr) store(x, mul(load(x), set(*factors)));
}

/// The transform of one vector of `size` coordinates.
inline void transform(float* x, std::int64_t size) {
  if (size >= 16) {
    for (std::int64_t i = 0; i < size; i += 16) store(x + i, hadamard_lanes(load(x + i)));
    transform_vectors(x, size / 16, nullptr);
    return;
  }
  for (std::int64_t half = 1; half < size; half *= 2) {
    for (std::int64_t i = 0; i < size; ++i) {
      if ((i & half) != 0) continue;
      const float a = x[i];
      x[i] = a + x[i + half];
      x[i + half] = a - x[i + half];
    }
  }
}

inline void turn(const RotationStages& rotation, float* x) {
  for (std::int64_t s = 0; s < rotation.count; ++s) {
    const RotationStage& stage = rotation.stages[s];
    float* const part = x + stage.first;
    for (std::int64_t i = 0; i < stage.size; ++i) part[i] *= stage.factors[i];
    transform(part, stage.size);
  }
}

inline void turn_back(const RotationStages& rotation, float* x) {
  for (std::int64_t s = rotation.count; s-- > 0;) {
    const RotationStage& stage = rotation.stages[s];
    float* const part = x + stage.first;
    transform(part, stage.size);
    for (std::int64_t i = 0; i < stage.size; ++i) part[i] *= stage.factors[i];
  }
}

inline void turn_lanes(const RotationStages& rotation, float* x) {
  for (std::int64_t s = 0; s < rotation.count; ++s) {
    const RotationStage& stage = rotation.stages[s];
    transform_vectors(x + 16 * stage.first, stage.size, stage.factors);
  }
}

// ---- Queries ------------------------------------------------------------------------------------

inline float quantize_query(const float* x, std::int64_t count, std::int8_t* to,
                            std::int32_t* correction) {
  F most = zero();
  for (std::int64_t i = 0; i < count; i += 16) most = max(abs(load(x + i)), most);
  const float scale = largest(most) / 127.0F;
  // Where all are tiny the products are zero anyway.
  const F inverse = set(scale > 1e-30F ? 1.0F / scale : 0.0F);
  I total = zero_int();
  for (std::int64_t i = 0; i < count; i += 16) {
    const I numbers = round_to_int(mul(load(x + i), inverse));
    store_int8(to + i, numbers);
    total = add_int(total, numbers);
  }
  *correction = kBiasedWeights ? -128 * sum_int(total) : 0;
  return scale;
}

inline float mean_product(const std::int8_t* mean, const float* x, std::int64_t count) {
  F total = zero();
  for (std::int64_t i = 0; i < count; i += 16) {
    total = fma(to_float(widen_s8(mean + i)), load(x + i), total);
  }
  return sum(total);
}

// ---- Pages --------------------------------------------------------------------------------------

/// A vector of codes of up to four bits from the packed ones of its block.
template <int kBits, int kIndex>
inline B code_vector(const std::byte* block) {
  if constexpr (kBits == 4) {
    const B both = load_bytes(block + kIndex / 2 * kVector);
    return kIndex % 2 == 0 ? low_nibbles(both) : high_nibbles(both);
  } else if constexpr (kBits == 1) {
    return field<kIndex, 1>(load_bytes(block));
  } else {
    const B low = field<kIndex % 4 * 2, 3>(load_bytes(block + kIndex / 4 * kVector));
    if constexpr (kBits == 2) return low;
    return or_bytes(low, field<kIndex - 2, 4>(load_bytes(block + 2 * kVector)));
  }
}

#if defined(__AVX512VBMI__)

// vpermb looks at six bits: with the table repeated what is above a code need not be taken off.
template <int kShift>
inline B shifted(B x) {
  return kShift < 0 ? _mm512_slli_epi16(x, kShift < 0 ? -kShift : 0)
                    : _mm512_srli_epi16(x, kShift > 0 ? kShift : 0);
}
template <int kBits, int kIndex>
inline B numbers_vector(const std::byte* block, B table) {
  B codes;
  if constexpr (kBits == 8) {
    return load_bytes(block + kIndex * kVector);
  } else if constexpr (kBits == 4) {
    codes = shifted<kIndex % 2 * 4>(load_bytes(block + kIndex / 2 * kVector));
  } else if constexpr (kBits == 1) {
    codes = shifted<kIndex>(load_bytes(block));
  } else {
    codes = shifted<kIndex % 4 * 2>(load_bytes(block + kIndex / 4 * kVector));
    if constexpr (kBits == 3) {
      const B high = shifted<kIndex - 2>(load_bytes(block + 2 * kVector));
      // (mask & codes) | (~mask & high)
      codes = _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), codes, high, 0xCA);
    }
  }
  return _mm512_permutexvar_epi8(codes, table);
}

#else

template <int kBits, int kIndex>
inline B numbers_vector(const std::byte* block, B table) {
  if constexpr (kBits == 8) {
    // They have 128 added.
    const B bytes = load_bytes(block + kIndex * kVector);
    return kBiasedWeights ? bytes : add_bytes(bytes, bytes_of(128));
  } else {
    return lookup(table, code_vector<kBits, kIndex>(block));
  }
}

#endif

/// body<v>(bytes) for the eight vectors of a block.
template <int kBits, int kIndex = 0, class Body>
inline void for_vectors(const std::byte* block, B table, Body body) {
  body.template operator()<kIndex>(numbers_vector<kBits, kIndex>(block, table));
  if constexpr (kIndex < 7) for_vectors<kBits, kIndex + 1>(block, table, body);
}

/// The numbers of codes as dot bytes, in a register. Those of bytes are not looked at.
template <int kBits>
inline B table_of(const std::int8_t* numbers) {
  std::uint8_t table[16] = {};
  if constexpr (kBits < 8) __builtin_memcpy(table, numbers, sizeof table);
  return add_bytes(load_table(table), bytes_of(kBiasedWeights ? 128 : 0));
}

/// Into the second-level cache, a little at a time: many at once keep the buffers busy that reading
/// itself needs.
template <int kBits>
inline void fetch_block(const std::byte* block) {
  for (int i = 0; i < kBits; ++i) __builtin_prefetch(block + i * kVector, 0, 2);
}

template <int kBits>
inline void expand_blocks(const std::byte* codes, const std::int8_t* numbers, std::int64_t blocks,
                          std::byte* to) {
  const B table = table_of<kBits>(numbers);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for_vectors<kBits>(codes + b * kBits * kVector, table, [&]<int kIndex>(B bytes) {
      store_bytes(to + (8 * b + kIndex) * kVector, bytes);
    });
  }
}

/// body<bits>() for the bits of a run.
template <class Body>
inline void with_bits(int bits, Body body) {
  switch (bits) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 3:
      return body.template operator()<3>();
    case 4:
      return body.template operator()<4>();
    default:
      return body.template operator()<8>();
  }
}

inline void expand_codes(const std::byte* codes, int bits, const std::int8_t* numbers,
                         std::int64_t blocks, std::byte* to) {
  with_bits(bits, [&]<int kBits>() { expand_blocks<kBits>(codes, numbers, blocks, to); });
}

inline void turn_bytes(const std::byte* keys, std::int64_t panels, std::byte* values) {
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    for (std::int64_t cells = 0; cells < 4; ++cells) {
      B rows[4];
      for (std::int64_t quad = 0; quad < 4; ++quad) {
        rows[quad] = load_bytes(keys + ((4 * panel + quad) * 4 + cells) * kVector);
      }
      turn_quads(rows);
      for (std::int64_t quad = 0; quad < 4; ++quad) {
        store_bytes(values + (16 * panel + 4 * cells + quad) * kVector, rows[quad]);
      }
    }
  }
}

inline void read_factors(const std::byte* bytes, float largest, const float* steps, float* to) {
  for (std::int64_t i = 0; i < kCells; i += 16) {
    store(to + i, mul(set(largest), factor_lanes(bytes + i, steps)));
  }
}

inline void read_half_factors(const std::byte* halves, float* to) {
  for (std::int64_t i = 0; i < kCells; i += 16) store(to + i, load_half(halves + 2 * i));
}

// ---- Attention ----------------------------------------------------------------------------------

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

constexpr int kCodedQueries = kMaxTile >= 8 ? 4 : 2;
constexpr int kCodedPanels = kMaxTile >= 8 ? 4 : 2;
constexpr int kCodedValuePanels = kMaxTile >= 8 ? 2 : 1;
/// With registers enough so many queries take numbers as they are looked up.
constexpr int kDirectQueries = kMaxTile >= 8 ? kCodedQueries : 0;

/// body<n>(first) for all queries, n at most kCodedQueries.
template <class Body>
inline void for_coded_queries(int count, Body body) {
  int first = 0;
  for (; first + kCodedQueries <= count; first += kCodedQueries) {
    body.template operator()<kCodedQueries>(first);
  }
  const int rest = count - first;
  if constexpr (kCodedQueries > 2) {
    if (rest == 3) body.template operator()<3>(first);
    if (rest == 2) body.template operator()<2>(first);
  }
  if (rest == 1) body.template operator()<1>(first);
}

template <int kBits, int kQueries>
inline void score_codes(const CodedScore& a) {
  I sums[kQueries][4];
  for (int q = 0; q < kQueries; ++q) {
    for (I& lanes : sums[q]) lanes = set_int(a.corrections[q * a.parameter_stride]);
  }
  const B table = table_of<kBits>(a.numbers);
  const std::byte* block = a.keys;
  const std::byte* ahead = a.ahead;
  for (std::int64_t i = 0; i < a.count; i += 8, block += kBits * kVector) {
    fetch_block<kBits>(ahead);
    ahead += kBits * kVector;
    for_vectors<kBits>(
        block, table, [&]<int kIndex>(B keys) __attribute__((always_inline)) {
          for (int q = 0; q < kQueries; ++q) {
            sums[q][kIndex % 4] = dot_byte(sums[q][kIndex % 4], keys,
                                           a.queries + q * a.query_stride + i + kIndex / 4 * 4);
          }
        });
  }
  for (int q = 0; q < kQueries; ++q) finish_scores<4>(a, q, 0, sums[q]);
}

inline void score_coded(const CodedScore& a) {
  if constexpr (kDirectQueries > 0) {
    if (a.bits != 0) {
      with_bits(a.bits, [&]<int kBits>() {
        for_coded_queries(a.queries_count,
                          [&]<int kQueries>(int) { score_codes<kBits, kQueries>(a); });
      });
      return;
    }
  }
  for_coded_queries(a.queries_count, [&]<int kQueries>(int first) {
    for (int panel = 0; panel < 4; panel += kCodedPanels) {
      score_part<kQueries, kCodedPanels>(a, first, panel);
    }
  });
}

/// 2^x for x <= 0, to 3e-6 of it: 2^n times Taylor's polynomial of degree 5 on |r| <= 1/2; 2^-126
/// where it is less.
inline F power_of_two_below(F x) {
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23
  static constexpr float kTaylor[] = {1.3333558e-3F, 9.6181291e-3F, 5.5504109e-2F,
                                      2.4022651e-1F, 6.9314718e-1F, 1.0F};
  x = max(x, set(-126.0F));
  const F shifted = add(x, set(kRounder));
  const F r = sub(x, sub(shifted, set(kRounder)));
  F power = set(kTaylor[0]);
  for (int i = 1; i < 6; ++i) power = fma(power, r, set(kTaylor[i]));
  return float_of(add_int(bits_of(power), shift_left<23>(bits_of(shifted))));
}

inline float softmax_coded(float* scores, float before, float* maximum) {
  constexpr float kLog2E = 1.44269504088896341F;
  F x[4];
  for (int i = 0; i < 4; ++i) x[i] = load(scores + 16 * i);
  const float most = largest(max(max(x[0], x[1]), max(x[2], x[3])));
  *maximum = before < most ? most : before;
  const F base = set(*maximum < -3e38F ? 0.0F : *maximum);
  F total = zero();
  for (int i = 0; i < 4; ++i) {
    const F p = power_of_two_below(mul(sub(x[i], base), set(kLog2E)));
    store(scores + 16 * i, p);
    total = add(total, p);
  }
  return sum(total);
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

inline void weigh_narrow(const F (&products)[4], F most, const CodedWeights& to) {
  static constexpr Dither kDither;
  const float unit = largest(most) / 126.49F;
  const F inverse = set(unit > 1e-33F ? 1.0F / unit : 0.0F);
  I total = zero_int();
  F all = zero();
  for (int i = 0; i < 4; ++i) {
    const I number = round_to_int(fma(products[i], inverse, load(kDither.values + 16 * i)));
    store_int8(to.high + 16 * i, number);
    total = add_int(total, number);
    all = add(all, products[i]);
  }
  const std::int32_t count = sum_int(total);
  *to.scales = count > 0 ? sum(all) / static_cast<float>(count) : 0.0F;
  *to.corrections = kBiasedWeights ? -128 * count : 0;
}

inline void weigh_wide(const F (&products)[4], F most, const CodedWeights& to) {
  constexpr float kMost = 127 * 128;
  const float scale = largest(most) / kMost;
  const F inverse = set(scale > 1e-33F ? 1.0F / scale : 0.0F);
  I total = zero_int();
  for (int i = 0; i < 4; ++i) {
    const I number = round_to_int(mul(products[i], inverse));
    store_int8(to.high + 16 * i, shift_right<7>(number));
    store_int8(to.low + 16 * i, and_int(number, 127));
    total = add_int(total, number);
  }
  *to.scales = scale;
  *to.corrections = kBiasedWeights ? -128 * sum_int(total) : 0;
}

inline void weigh_coded(const float* p, const float* factors, const CodedWeights& to) {
  F products[4];
  F most = zero();
  for (int i = 0; i < 4; ++i) {
    products[i] = mul(load(p + 16 * i), load(factors + 16 * i));
    most = max(abs(products[i]), most);
  }
  if (to.low == nullptr) {
    weigh_narrow(products, most, to);
  } else {
    weigh_wide(products, most, to);
  }
}

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

template <int kBits, int kQueries, int kPanels, bool kWide>
inline void value_codes_part(const CodedValue& a, B table, std::int64_t panel) {
  ValueSums<kQueries, kPanels, kWide> sums;
  sums.start(a, 0);
  for (int half = 0; half < 2; ++half) {
    for (int p = 0; p < kPanels; ++p) {
      const std::int64_t offset = (2 * (panel + p) + half) * kBits * kVector;
      const std::byte* const block = a.values + offset;
      fetch_block<kBits>(a.ahead + offset);
      for_vectors<kBits>(
          block, table, [&]<int kIndex>(B values) __attribute__((always_inline)) {
            sums.add(a, 0, p, 32 * half + 4 * kIndex, values);
          });
    }
  }
  sums.finish(a, 0, panel);
}

template <int kBits, int kQueries, bool kWide>
inline void value_codes(const CodedValue& a) {
  constexpr int kPanels = kQueries * (kWide ? 2 : 1) <= 4 ? 2 : 1;
  const B table = table_of<kBits>(a.numbers);
  std::int64_t panel = 0;
  for (; panel + kPanels <= a.panels; panel += kPanels) {
    value_codes_part<kBits, kQueries, kPanels, kWide>(a, table, panel);
  }
  for (; panel < a.panels; ++panel) value_codes_part<kBits, kQueries, 1, kWide>(a, table, panel);
}

template <bool kWide>
inline void value_of_width(const CodedValue& a) {
  if constexpr (kDirectQueries > 0) {
    if (a.bits != 0) {
      with_bits(a.bits, [&]<int kBits>() {
        for_coded_queries(a.queries_count,
                          [&]<int kQueries>(int) { value_codes<kBits, kQueries, kWide>(a); });
      });
      return;
    }
  }
  for_coded_queries(a.queries_count, [&]<int kQueries>(int first) {
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

constexpr CodedKernels make_coded_kernels(const char* name) {
  return {
      .name = name,
      .direct_queries = kDirectQueries,
      .turn = turn,
      .turn_back = turn_back,
      .quantize = quantize_query,
      .mean_product = mean_product,
      .expand = expand_codes,
      .turn_bytes = turn_bytes,
      .factors = read_factors,
      .half_factors = read_half_factors,
      .score = score_coded,
      .softmax = softmax_coded,
      .weigh = weigh_coded,
      .value = value_coded,
      .load_key_panel = load_key_panel,
      .load_value_panel = load_value_panel,
      .load_value_pairs = load_value_pairs,
      .make_finite = make_finite_lanes,
      .turn_lanes = turn_lanes,
      .mean_lanes = mean_lanes,
      .subtract_mean = subtract_mean,
      .squares = add_squares,
      .extremes = find_extremes,
      .code = code_lanes_of,
      .round = round_lanes,
      .pack = pack_codes,
  };
}

}  // namespace
}  // namespace hearth::compute::cpu
