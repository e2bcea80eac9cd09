// The kernels that encode pages of keys and values, written once over the primitives of an
// instruction set.
//
// Included only by coded_kernels_code.h.
#pragma once

#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_lanes.h"

namespace hearth::compute::cpu {
namespace {

/// Element `i` of the format.
inline F load_format(const std::byte* from, PanelFormat format, std::int64_t i) {
  if (format == PanelFormat::kF16) return load_half(from + 2 * i);
  if (format == PanelFormat::kBF16) return load_bfloat(from + 2 * i);
  return load(reinterpret_cast<const float*>(from) + i);
}

inline void load_key_panel(const std::byte* from, PanelFormat format, std::int64_t size,
                           float* to) {
  for (std::int64_t i = 0; i < 16 * size; i += 16) store(to + i, load_format(from, format, i));
}

inline void load_value_panel(const std::byte* page, PanelFormat format, std::int64_t size,
                             std::int64_t panel, float* to) {
  for (std::int64_t i = 0; i < size; i += 16) {
    F rows[16];
    for (int cell = 0; cell < 16; ++cell) {
      rows[cell] = load_format(page, format, kCells * i + 16 * (16 * panel + cell));
    }
    store_transposed(rows, 16, to + 16 * i);
  }
}

/// Of numbers of 16 bits only.
inline void load_value_pairs(const std::byte* page, PanelFormat format, std::int64_t size,
                             std::int64_t panel, float* to) {
#if defined(__AVX512BF16__)
  for (std::int64_t i = 0; i < size; i += 16) {
    const std::int64_t block = i / kValueBlock * kValueBlock;
    const std::int64_t width = size - block < kValueBlock ? size - block : kValueBlock;
    F rows[16];
    for (int cell = 0; cell < 16; cell += 2) {
      const I both =
          load_int(page + 2 * (block * kCells + (16 * panel + cell) * width + 2 * (i - block)));
      if (format == PanelFormat::kF16) {
        rows[cell] = half_of_int(both);
        rows[cell + 1] = half_of_int(shift_right<16>(both));
      } else {
        rows[cell] = float_of(shift_left<16>(both));
        rows[cell + 1] = float_of(shift_left<16>(shift_right<16>(both)));
      }
    }
    store_transposed(rows, 16, to + 16 * i);
  }
#else
  // There are no such pages (kv_layout.h).
  (void)page, (void)format, (void)size, (void)panel, (void)to;
#endif
}

inline void make_finite_lanes(float* x, std::int64_t count) {
  const F limit = set(1e17F);
  const F below = set(-1e17F);
  for (std::int64_t i = 0; i < 16 * count; i += 16) {
    const F lanes = load(x + i);
    // Comparisons with NaN are false.
    const F cut = select_less(limit, lanes, limit, select_less(lanes, below, below, zero()));
    store(x + i, select_less(abs(lanes), limit, lanes, cut));
  }
}

inline void mean_lanes(const float* x, std::int64_t stride, std::int64_t count, float* mean) {
  for (std::int64_t i = 0; i < count; ++i) {
    F total = load(x + 16 * i);
    for (int panel = 1; panel < 4; ++panel) total = add(total, load(x + panel * stride + 16 * i));
    mean[i] = sum(total) / static_cast<float>(kCells);
  }
}

inline void subtract_mean(float* x, std::int64_t count, const float* mean) {
  for (std::int64_t i = 0; i < count; ++i) store(x + 16 * i, sub(load(x + 16 * i), set(mean[i])));
}

inline void add_squares(const float* x, std::int64_t count, float* sums) {
  F total[4] = {load(sums), zero(), zero(), zero()};
  for (std::int64_t i = 0; i < count; ++i) {
    const F lanes = load(x + 16 * i);
    total[i % 4] = fma(lanes, lanes, total[i % 4]);
  }
  store(sums, add(add(total[0], total[1]), add(total[2], total[3])));
}

inline void find_extremes(const float* x, std::int64_t count, float* least, float* most) {
  F low = load(x);
  F high = low;
  for (std::int64_t i = 1; i < count; ++i) {
    low = min(low, load(x + 16 * i));
    high = max(high, load(x + 16 * i));
  }
  store(least, low);
  store(most, high);
}

/// Four coordinates of sixteen cells as bytes.
inline void store_quad(const I (&numbers)[4], std::byte* to) {
  store_int(to, or_int(or_int(numbers[0], shift_left<8>(numbers[1])),
                       or_int(shift_left<16>(numbers[2]), shift_left<24>(numbers[3]))));
}

template <int kBits>
inline void code_lanes(const CodeLanes& a) {
  constexpr int kHalf = 1 << (kBits - 1);
  // A magnitude counts 128 for every boundary below it, plus the number it stands for.
  F boundaries[kHalf];
  F steps[kHalf];
  for (int i = 1; i < kHalf; ++i) {
    boundaries[i] = set(a.boundaries[kHalf - 1 + i]);
    steps[i] = set(static_cast<float>(128 + a.numbers[kHalf + i] - a.numbers[kHalf + i - 1]));
  }
  const F smallest = set(static_cast<float>(a.numbers[kHalf]));
  const F unit = load(a.to_unit);
  F product = load(a.product);
  for (std::int64_t i = 0; i < a.count; i += 4) {
    I quad[4];
    for (int j = 0; j < 4; ++j) {
      const F x = load(a.x + 16 * (i + j));
      const F magnitude = mul(abs(x), unit);
      F counted = smallest;
      for (int b = 1; b < kHalf; ++b) {
        counted = add(counted, select_less(boundaries[b], magnitude, steps[b], zero()));
      }
      const I both = round_to_int(counted);
      product = fma(abs(x), to_float(and_int(both, 127)), product);
      const F index = to_float(shift_right<7>(both));
      const F code = select_less(zero(), x, add(set(kHalf), index), sub(set(kHalf - 1), index));
      quad[j] = round_to_int(code);
    }
    store_quad(quad, a.to + i * kCells);
  }
  store(a.product, product);
}

inline void code_lanes_of(const CodeLanes& a) {
  switch (a.bits) {
    case 1:
      return code_lanes<1>(a);
    case 2:
      return code_lanes<2>(a);
    case 3:
      return code_lanes<3>(a);
    default:
      return code_lanes<4>(a);
  }
}

inline void round_lanes(const RoundLanes& a) {
  const F inverse = load(a.inverse);
  for (std::int64_t i = 0; i < a.count; i += 4) {
    I quad[4];
    for (int j = 0; j < 4; ++j) {
      const F x = mul(load(a.x + 16 * (i + j)), inverse);
      quad[j] = round_to_int(add(max(set(a.low), min(set(a.high), x)), set(a.zero)));
    }
    store_quad(quad, a.to + i * kCells);
  }
}

template <int kBits>
inline void pack_block(const std::byte* bytes, std::byte* to) {
  const auto at = [&](int v) { return load_bytes(bytes + v * kVector); };
  if constexpr (kBits == 4) {
    for (int v = 0; v < 8; v += 2) {
      store_bytes(to + v / 2 * kVector, or_bytes(at(v), field<-4, 0xF0>(at(v + 1))));
    }
  } else if constexpr (kBits == 1) {
    const B low = or_bytes(or_bytes(at(0), field<-1, 2>(at(1))),
                           or_bytes(field<-2, 4>(at(2)), field<-3, 8>(at(3))));
    const B high = or_bytes(or_bytes(field<-4, 16>(at(4)), field<-5, 32>(at(5))),
                            or_bytes(field<-6, 64>(at(6)), field<-7, 128>(at(7))));
    store_bytes(to, or_bytes(low, high));
  } else {
    for (int v = 0; v < 8; v += 4) {
      const B first = or_bytes(field<0, 3>(at(v)), field<-2, 0x0C>(at(v + 1)));
      const B second = or_bytes(field<-4, 0x30>(at(v + 2)), field<-6, 0xC0>(at(v + 3)));
      store_bytes(to + v / 4 * kVector, or_bytes(first, second));
    }
    if constexpr (kBits == 3) {
      const B low = or_bytes(or_bytes(field<2, 1>(at(0)), field<1, 2>(at(1))),
                             or_bytes(field<0, 4>(at(2)), field<-1, 8>(at(3))));
      const B high = or_bytes(or_bytes(field<-2, 16>(at(4)), field<-3, 32>(at(5))),
                              or_bytes(field<-4, 64>(at(6)), field<-5, 128>(at(7))));
      store_bytes(to + 2 * kVector, or_bytes(low, high));
    }
  }
}

template <int kBits>
inline void pack_blocks(const std::byte* bytes, std::int64_t blocks, std::byte* to) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    pack_block<kBits>(bytes + b * 8 * kVector, to + b * kBits * kVector);
  }
}

inline void pack_codes(const std::byte* bytes, int bits, std::int64_t blocks, std::byte* to) {
  switch (bits) {
    case 1:
      return pack_blocks<1>(bytes, blocks, to);
    case 2:
      return pack_blocks<2>(bytes, blocks, to);
    case 3:
      return pack_blocks<3>(bytes, blocks, to);
    case 4:
      return pack_blocks<4>(bytes, blocks, to);
    default:
      for (std::int64_t i = 0; i < 8 * blocks; ++i) {
        store_bytes(to + i * kVector, load_bytes(bytes + i * kVector));
      }
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
