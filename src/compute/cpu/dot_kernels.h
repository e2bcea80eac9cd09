// Dot products of packed weight panels with activations, written once over the primitives of
// simd_*.h. A lane is one row of the weight: there are no horizontal sums, scales are vectors, and
// an activation value is broadcast.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/kernels.h"

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

// Blocks of 32: `for_steps` calls use(weights of four features, first feature) eight times; `start`
// corrects for weights that are stored with an offset.

struct Int8Block {
  static constexpr std::int64_t kScaleBytes = 64, kBytes = 512;
  static constexpr bool kMinimum = false;
  static F scale(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  static I start(const std::byte* minus128) {
    return kBiasedWeights ? set_int(int_at(minus128)) : zero_int();
  }
  static I dot(I sum, B w, const std::int8_t* y) { return dot_byte(sum, w, y); }
  template <class Use>
  static void for_steps(const std::byte* p, Use use) {
    for (int i = 0; i < 8; ++i) use(load_bytes(p + 64 * i), 4 * i);
  }
};

struct Q8_0Block : Int8Block {
  static constexpr std::int64_t kScaleBytes = 32;
  static F scale(const std::byte* p) { return load_half(p); }
};

struct Q4_0Block {
  static constexpr std::int64_t kScaleBytes = 32, kBytes = 256;
  static constexpr bool kMinimum = false;
  static F scale(const std::byte* p) { return load_half(p); }
  static I start(const std::byte* minus128) {
    return shift_right<4>(set_int(int_at(minus128)));
  }  // -8 sum
  static I dot(I sum, B w, const std::int8_t* y) { return dot_small(sum, w, y); }
  template <class Use>
  static void for_steps(const std::byte* p, Use use) {
    for (int i = 0; i < 4; ++i) {
      const B both = load_bytes(p + 64 * i);
      use(low_nibbles(both), 4 * i);
      use(high_nibbles(both), 16 + 4 * i);
    }
  }
};

struct Q4_1Block : Q4_0Block {
  static constexpr std::int64_t kScaleBytes = 64;
  static constexpr bool kMinimum = true;
  static I start(const std::byte*) { return zero_int(); }
};

struct Q5_0Block : Q4_0Block {
  static constexpr std::int64_t kBytes = 320;
  static I start(const std::byte* minus128) {
    return shift_right<3>(set_int(int_at(minus128)));
  }  // -16 sum
  template <class Use>
  static void for_steps(const std::byte* p, Use use) {
    const B high = load_bytes(p);
    for (int i = 0; i < 4; ++i) {
      const B both = load_bytes(p + 64 + 64 * i);
      use(with_high_bits<1>(low_nibbles(both), high, i), 4 * i);
      use(with_high_bits<1>(high_nibbles(both), high, 4 + i), 16 + 4 * i);
    }
  }
};

struct Q5_1Block : Q5_0Block {
  static constexpr std::int64_t kScaleBytes = 64;
  static constexpr bool kMinimum = true;
  static I start(const std::byte*) { return zero_int(); }
};

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
  const auto add_block = [&](std::int64_t b, const std::byte* scales, const std::byte* weights)
      __attribute__((always_inline)) {
    I sums[kColumns];
    for (int c = 0; c < kColumns; ++c) sums[c] = Block::start(row[c] + layout.minus128 + 4 * b);
    Block::for_steps(
        weights, [&](B w, int k) __attribute__((always_inline)) {
          for (int c = 0; c < kColumns; ++c) {
            sums[c] = Block::dot(sums[c], w, int8s(row[c] + 32 * b + k));
          }
        });
    const F scale = Block::scale(scales);
    for (int c = 0; c < kColumns; ++c) {
      total[c] = fma(mul(to_float(sums[c]), scale), set(float_at(row[c] + layout.scales + 4 * b)),
                     total[c]);
    }
    if constexpr (Block::kMinimum) {
      const F minimum = load_half(scales + 32);
      for (int c = 0; c < kColumns; ++c) {
        total[c] = fma(minimum, set(float_at(row[c] + layout.scaled_sums + 4 * b)), total[c]);
      }
    }
  };
  // 64 bytes of scales, then their one or two blocks: one stream, which the hardware fetches ahead.
  constexpr std::int64_t kGroup = 64 / Block::kScaleBytes;
  const std::byte* p = a.panel;
  for (std::int64_t b = 0; b < blocks; b += kGroup, p += 64 + kGroup * Block::kBytes) {
    add_block(b, p, p + 64);
    if constexpr (kGroup == 2) {
      if (b + 1 < blocks) add_block(b + 1, p + 32, p + 64 + Block::kBytes);
    }
  }
  for (int c = 0; c < kColumns; ++c) store(a.out + (first + c) * kPanelRows, total[c]);
}

// Blocks of 256 with integer scales per 32 (Q4_K, Q5_K: also minima) or 16 (Q6_K): integer sums
// over the whole block, one conversion to float at its end.

template <int kColumns, bool kFiveBits>
struct K45 {
  static constexpr std::int64_t kHeader = 64 + 128 + 128;
  static constexpr std::int64_t kBytes = kHeader + (kFiveBits ? 512 : 0) + 2048;

  /// Adds sub-block j, whose products are `sums`, to the totals.
  static void add_scaled(const std::byte* p, const std::byte* const* row, std::int64_t k, int j,
                         const Row256Layout& layout, const I* sums, I* totals) {
    const I scale = widen_u8(p + 64 + 16 * j);
    for (int c = 0; c < kColumns; ++c) {
      const I sub_scale = set_int(int_at(row[c] + layout.sub_scales + k / 8 + 4 * j));
      totals[c] = add_int(totals[c], mul_int(mul_int(sums[c], scale), sub_scale));
    }
  }

  static void sub_block(const std::byte* p, const std::byte* const* row, std::int64_t k, int j,
                        const Row256Layout& layout, I* totals) {
    const std::byte* const high = p + kHeader;
    const std::byte* const nibbles = p + kHeader + (kFiveBits ? 512 : 0) + (j / 2) * 512;
    I sums[kColumns];
    for (int c = 0; c < kColumns; ++c) sums[c] = zero_int();
    for (int i = 0; i < 8; ++i) {
      const B both = load_bytes(nibbles + 64 * i);
      B w = j % 2 == 0 ? low_nibbles(both) : high_nibbles(both);
      if constexpr (kFiveBits) w = with_high_bits<1>(w, load_bytes(high + 64 * i), j);
      for (int c = 0; c < kColumns; ++c)
        sums[c] = dot_small(sums[c], w, int8s(row[c] + k + 32 * j + 4 * i));
    }
    add_scaled(p, row, k, j, layout, sums, totals);
  }

  /// Sub-blocks j and j + 1 together: every nibble vector is loaded once. For few columns only,
  /// whose sums fit into registers twice.
  static void sub_block_pair(const std::byte* p, const std::byte* const* row, std::int64_t k, int j,
                             const Row256Layout& layout, I* totals) {
    const std::byte* const high = p + kHeader;
    const std::byte* const nibbles = p + kHeader + (kFiveBits ? 512 : 0) + (j / 2) * 512;
    I first[kColumns];
    I second[kColumns];
    for (int c = 0; c < kColumns; ++c) first[c] = second[c] = zero_int();
    for (int i = 0; i < 8; ++i) {
      const B both = load_bytes(nibbles + 64 * i);
      B w0 = low_nibbles(both);
      B w1 = high_nibbles(both);
      if constexpr (kFiveBits) {
        const B bits = load_bytes(high + 64 * i);
        w0 = with_high_bits<1>(w0, bits, j);
        w1 = with_high_bits<1>(w1, bits, j + 1);
      }
      for (int c = 0; c < kColumns; ++c) {
        const std::int8_t* const y = int8s(row[c] + k + 32 * j + 4 * i);
        first[c] = dot_small(first[c], w0, y);
        second[c] = dot_small(second[c], w1, y + 32);
      }
    }
    add_scaled(p, row, k, j, layout, first, totals);
    add_scaled(p, row, k, j + 1, layout, second, totals);
  }

  static void block(const std::byte* p, const std::byte* const* row, std::int64_t k,
                    const Row256Layout& layout, F* total) {
    I sums[kColumns];
    for (int c = 0; c < kColumns; ++c) sums[c] = zero_int();
    for (int j = 0; j < 8; j += 2) {
      if constexpr (kColumns <= 2) {
        sub_block_pair(p, row, k, j, layout, sums);
      } else {
        sub_block(p, row, k, j, layout, sums);
        sub_block(p, row, k, j + 1, layout, sums);
      }
    }
    const F scale = load_half(p);
    const F half_minimum = load_half(p + 32);
    const F minimum = add(half_minimum, half_minimum);
    for (int c = 0; c < kColumns; ++c) {
      I minima = zero_int();
      for (int pair = 0; pair < 4; ++pair) {
        const auto* pair_sums =
            reinterpret_cast<const std::int16_t*>(row[c] + layout.half_sums + k / 16 + 4 * pair);
        minima = dot_pairs(minima, p + 192 + 32 * pair, pair_sums);
      }
      const F value = sub(mul(scale, to_float(sums[c])), mul(minimum, to_float(minima)));
      total[c] = fma(value, set(float_at(row[c] + layout.scales + k / 64)), total[c]);
    }
  }
};
template <int kColumns>
struct Q4_KBlock : K45<kColumns, false> {};
template <int kColumns>
struct Q5_KBlock : K45<kColumns, true> {};

template <int kColumns>
struct Q6_KBlock {
  static constexpr std::int64_t kHeader = 64 + 256;
  static constexpr std::int64_t kBytes = kHeader + 2048 + 1024;

  static void block(const std::byte* p, const std::byte* const* row, std::int64_t k,
                    const Row256Layout& layout, F* total) {
    I sums[kColumns];
    for (int c = 0; c < kColumns; ++c) sums[c] = zero_int();
    // In the order of memory: the upper bits of four times 16 features, then their nibbles.
    for (int order = 0; order < 16; ++order) {
      const int quarter = order % 4;
      const int group = order / 8 * 8 + 2 * quarter + order / 4 % 2;  // 16 features each
      const std::byte* const high = p + kHeader + order / 4 * 768;
      const std::byte* const nibbles = high + 256 + quarter % 2 * 256;
      I part[kColumns];
      for (int c = 0; c < kColumns; ++c) {
        part[c] = set_int(int_at(row[c] + layout.minus32 + k / 4 + 4 * group));
      }
      for (int i = 0; i < 4; ++i) {
        const B both = load_bytes(nibbles + 64 * i);
        const B w = with_high_bits<2>(quarter < 2 ? low_nibbles(both) : high_nibbles(both),
                                      load_bytes(high + 64 * i), 2 * quarter);
        for (int c = 0; c < kColumns; ++c) {
          part[c] = dot_small(part[c], w, int8s(row[c] + k + 16 * group + 4 * i));
        }
      }
      const I scale = widen_s8(p + 64 + 16 * group);
      for (int c = 0; c < kColumns; ++c) {
        const I sub_scale = set_int(int_at(row[c] + layout.sub_scales + k / 8 + 4 * (group / 2)));
        sums[c] = add_int(sums[c], mul_int(mul_int(part[c], scale), sub_scale));
      }
    }
    const F scale = load_half(p);
    for (int c = 0; c < kColumns; ++c) {
      total[c] = fma(mul(scale, to_float(sums[c])), set(float_at(row[c] + layout.scales + k / 64)),
                     total[c]);
    }
  }
};

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
  for (std::int64_t k = 0; k < a.columns; k += 256, p += Block::kBytes)
    Block::block(p, row, k, layout, total);
  for (int c = 0; c < kColumns; ++c) store(a.out + (first + c) * kPanelRows, total[c]);
}

// Float panels [feature][16]. Two partial sums per output (even and odd features), added at the
// end.

struct F32Panel {
  static constexpr std::int64_t kBytes = 64;
  static F lanes(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
};
struct F16Panel {
  static constexpr std::int64_t kBytes = 32;
  static F lanes(const std::byte* p) { return load_half(p); }
};
struct BF16Panel {
  static constexpr std::int64_t kBytes = 32;
  static F lanes(const std::byte* p) { return load_bfloat(p); }
};

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
  std::int64_t k = 0;
  for (; k + 2 <= a.columns; k += 2, p += 2 * Panel::kBytes) {
    const F w0 = Panel::lanes(p);
    const F w1 = Panel::lanes(p + Panel::kBytes);
    for (int c = 0; c < kColumns; ++c) {
      even[c] = fma(w0, set(float_at(row[c] + 4 * k)), even[c]);
      odd[c] = fma(w1, set(float_at(row[c] + 4 * k + 4)), odd[c]);
    }
  }
  if (k < a.columns) {
    const F w0 = Panel::lanes(p);
    for (int c = 0; c < kColumns; ++c) even[c] = fma(w0, set(float_at(row[c] + 4 * k)), even[c]);
  }
  for (int c = 0; c < kColumns; ++c) store(a.out + (first + c) * kPanelRows, add(even[c], odd[c]));
}

// Cuts `count` columns into register tiles of 8, 4, 2 and 1.
template <class Tiles>
inline void dot_tiles(const DotArguments& a) {
  int first = 0;
  if constexpr (kMaxTile >= 8) {
    for (; a.count - first >= 8; first += 8) Tiles::template run<8>(a, first);
  }
  for (; a.count - first >= 4; first += 4) Tiles::template run<4>(a, first);
  for (; a.count - first >= 2; first += 2) Tiles::template run<2>(a, first);
  if (a.count > first) Tiles::template run<1>(a, first);
}

template <class Block>
struct Tiles32 {
  template <int kColumns>
  static void run(const DotArguments& a, int first) {
    dot32<Block, kColumns>(a, first);
  }
};
template <template <int> class Block>
struct Tiles256 {
  template <int kColumns>
  static void run(const DotArguments& a, int first) {
    dot256<Block<kColumns>, kColumns>(a, first);
  }
};
template <class Panel>
struct TilesFloat {
  template <int kColumns>
  static void run(const DotArguments& a, int first) {
    dot_float<Panel, kColumns>(a, first);
  }
};

// Quantization of activations: scale = largest magnitude / 127, round to nearest.

inline void quantize_lanes(const float* x, std::int64_t vectors, float largest_magnitude,
                           std::int8_t* out, std::int32_t* sums) {
  const F inverse = set(largest_magnitude > 1e-30F ? 127.0F / largest_magnitude : 0.0F);
  for (std::int64_t i = 0; i < vectors; ++i) {
    const I q = round_to_int(mul(load(x + 16 * i), inverse));
    store_int8(out + 16 * i, q);
    sums[i] = sum_int(q);
  }
}

inline float largest_magnitude(const float* x, std::int64_t vectors) {
  F most = zero();
  for (std::int64_t i = 0; i < vectors; ++i) most = max(most, abs(load(x + 16 * i)));
  return largest(most);
}

inline void quantize_row32(const float* x, std::int64_t columns, std::byte* row) {
  const Row32Layout layout(columns);
  auto* const scales = reinterpret_cast<float*>(row + layout.scales);
  auto* const minus128 = reinterpret_cast<std::int32_t*>(row + layout.minus128);
  auto* const scaled_sums = reinterpret_cast<float*>(row + layout.scaled_sums);
  for (std::int64_t b = 0; b < columns / 32; ++b) {
    const float most = largest_magnitude(x + 32 * b, 2);
    std::int32_t sums[2];
    quantize_lanes(x + 32 * b, 2, most, reinterpret_cast<std::int8_t*>(row) + 32 * b, sums);
    scales[b] = most / 127.0F;
    minus128[b] = -128 * (sums[0] + sums[1]);
    scaled_sums[b] = scales[b] * static_cast<float>(sums[0] + sums[1]);
  }
}

inline void quantize_row256(const float* x, std::int64_t columns, std::byte* row) {
  const Row256Layout layout(columns);
  auto* const scales = reinterpret_cast<float*>(row + layout.scales);
  auto* const minus32 = reinterpret_cast<std::int32_t*>(row + layout.minus32);
  auto* const sub_scales = reinterpret_cast<std::int32_t*>(row + layout.sub_scales);
  auto* const half_sums = reinterpret_cast<std::int16_t*>(row + layout.half_sums);
  for (std::int64_t b = 0; b < columns / 256; ++b) {
    const float unit = largest_magnitude(x + 256 * b, 16) / kSubScales;
    scales[b] = unit / 127.0F;
    for (std::int64_t i = 8 * b; i < 8 * b + 8; ++i) {
      const float most = largest_magnitude(x + 32 * i, 2);
      int sub_scale = 1;
      while (sub_scale < kSubScales && static_cast<float>(sub_scale) * unit < most) ++sub_scale;
      std::int32_t sums[2];
      quantize_lanes(x + 32 * i, 2, static_cast<float>(sub_scale) * unit,
                     reinterpret_cast<std::int8_t*>(row) + 32 * i, sums);
      sub_scales[i] = sub_scale;
      minus32[2 * i] = -32 * sums[0];
      minus32[2 * i + 1] = -32 * sums[1];
      half_sums[i] = static_cast<std::int16_t>(sub_scale * (sums[0] + sums[1]) / 2);
    }
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
