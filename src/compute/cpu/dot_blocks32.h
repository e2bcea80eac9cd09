// Panels of blocks of 32, 64 or 128 weights with float scales, as the dot kernels read them: in
// units of 32 features. Layouts: panels.h.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/code_tables.h"
#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {
namespace {

// A block type says how a group (kHeader bytes of scales, then kUnits units of kUnitBytes) is read:
// scale(group, unit), and steps(group, unit, use), which calls use(weights of four features, first
// feature) eight times. Weights come with kZero added: 0 to 63, or, for kZero = 128, whole bytes as
// dot_byte wants them. kHalves: there is a scale for each half of a unit, and half_steps().

/// A signed byte as dot_byte wants it.
constexpr std::uint8_t whole(int value) {
  return static_cast<std::uint8_t>(kBiasedWeights ? value + 128 : value);
}

struct Q8_0Block {
  static constexpr std::int64_t kHeader = 64, kUnits = 2, kUnitBytes = 512;
  static constexpr bool kMinimum = false, kHalves = false;
  static constexpr int kZero = 128;
  static F scale(const std::byte* group, int unit) { return load_half(group + 32 * unit); }
  template <class Use>
  static void steps(const std::byte* group, int unit, Use use) {
    const std::byte* const p = group + kHeader + unit * kUnitBytes;
    for (int i = 0; i < 8; ++i) use(load_bytes(p + 64 * i), 4 * i);
  }
};

struct Q4_0Block {
  static constexpr std::int64_t kHeader = 64, kUnits = 2, kUnitBytes = 256;
  static constexpr bool kMinimum = false, kHalves = false;
  static constexpr int kZero = 8;
  static F scale(const std::byte* group, int unit) { return load_half(group + 32 * unit); }
  template <class Use>
  static void steps(const std::byte* group, int unit, Use use) {
    const std::byte* const p = group + kHeader + unit * kUnitBytes;
    for (int i = 0; i < 4; ++i) {
      const B both = load_codes(p + 64 * i);
      use(low_nibbles(both), 4 * i);
      use(high_nibbles(both), 16 + 4 * i);
    }
  }
};

struct Q4_1Block : Q4_0Block {
  static constexpr std::int64_t kUnits = 1;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0;
  static F minimum(const std::byte* group) { return load_half(group + 32); }
};

struct Q5_0Block : Q4_0Block {
  static constexpr std::int64_t kUnitBytes = 320;
  static constexpr int kZero = 16;
  template <class Use>
  static void steps(const std::byte* group, int unit, Use use) {
    const std::byte* const p = group + kHeader + unit * kUnitBytes;
    const B high = load_codes(p);
    for (int i = 0; i < 4; ++i) {
      const B both = load_codes(p + 64 + 64 * i);
      use(with_fifth_bit(low_nibbles(both), high, i), 4 * i);
      use(with_fifth_bit(high_nibbles(both), high, 4 + i), 16 + 4 * i);
    }
  }
};

struct Q5_1Block : Q5_0Block {
  static constexpr std::int64_t kUnits = 1;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0;
  static F minimum(const std::byte* group) { return load_half(group + 32); }
};

/// Nibbles that are looked up.
template <class Values>
struct TableBlock : Q4_0Block {
  static constexpr int kZero = 128;
  template <class Use>
  static void look_up(const std::byte* p, Use use) {
    const NibbleTable table(Values::kBytes);
    for (int i = 0; i < 4; ++i) {
      const B both = load_codes(p + 64 * i);
      use(table.low(both), 4 * i);
      use(table.high(both), 16 + 4 * i);
    }
  }
  template <class Use>
  static void steps(const std::byte* group, int unit, Use use) {
    look_up(group + kHeader + unit * kUnitBytes, use);
  }
};

struct NonLinear4 {
  static constexpr std::uint8_t kBytes[16] = {whole(-127), whole(-104), whole(-83), whole(-65),
                                              whole(-49),  whole(-35),  whole(-22), whole(-10),
                                              whole(1),    whole(13),   whole(25),  whole(38),
                                              whole(53),   whole(69),   whole(89),  whole(113)};
};
/// Twice the values of E2M1.
struct E2M1 {
  static constexpr std::uint8_t kBytes[16] = {
      whole(0), whole(1),  whole(2),  whole(3),  whole(4),  whole(6),  whole(8),  whole(12),
      whole(0), whole(-1), whole(-2), whole(-3), whole(-4), whole(-6), whole(-8), whole(-12)};
};

using IQ4_NLBlock = TableBlock<NonLinear4>;

struct MXFP4Block : TableBlock<E2M1> {
  static constexpr std::int64_t kUnits = 4;
  /// E8M0: the exponent of a float; halved, because the table is doubled.
  static F scale(const std::byte* group, int unit) {
    return mul(float_of(shift_left<23>(widen_u8(group + 16 * unit))), set(0.5F));
  }
};

struct NVFP4Block : TableBlock<E2M1> {
  static constexpr bool kHalves = true;
  /// E4M3 without its sign: exponent and mantissa moved into a float whose exponent is 120 too
  /// small, subnormal numbers included; halved, because the table is doubled.
  /// As steps(), with the half of the features as a template argument.
  template <class Use>
  static void half_steps(const std::byte* group, int unit, Use use) {
    const std::byte* const p = group + kHeader + unit * kUnitBytes;
    const NibbleTable table(E2M1::kBytes);
    for (int i = 0; i < 4; ++i) {
      const B both = load_codes(p + 64 * i);
      use.template operator()<0>(table.low(both), 4 * i);
      use.template operator()<1>(table.high(both), 16 + 4 * i);
    }
  }
  static F half_scale(const std::byte* group, int unit, int half) {
    const I bits = widen_u8(group + 32 * unit + 16 * half);
    return mul(float_of(shift_left<20>(bits)), set(0x1p119F));
  }
};

/// Bits, as weights 0 and 2.
struct Q1_0Block : Q4_0Block {
  static constexpr std::int64_t kUnits = 8, kUnitBytes = 64;
  static constexpr int kZero = 1;
  static F scale(const std::byte* group, int unit) { return load_half(group + 32 * (unit / 4)); }
  template <class Use>
  static void steps(const std::byte* group, int unit, Use use) {
    const B bits = load_codes(group + kHeader + unit * kUnitBytes);
    use(shift_left_one(field<0, 1>(bits)), 0);
    use(field<0, 2>(bits), 4);
    use(field<1, 2>(bits), 8);
    use(field<2, 2>(bits), 12);
    use(field<3, 2>(bits), 16);
    use(field<4, 2>(bits), 20);
    use(field<5, 2>(bits), 24);
    use(field<6, 2>(bits), 28);
  }
};

struct Q2_0Block : Q4_0Block {
  static constexpr std::int64_t kUnits = 4, kUnitBytes = 128;
  static constexpr int kZero = 1;
  static F scale(const std::byte* group, int unit) { return load_half(group + 32 * (unit / 2)); }
  template <class Use>
  static void steps(const std::byte* group, int unit, Use use) {
    const std::byte* const p = group + kHeader + unit * kUnitBytes;
    for (int i = 0; i < 2; ++i) {
      const B four = load_codes(p + 64 * i);
      use(field<0, 3>(four), 4 * i);
      use(field<2, 3>(four), 8 + 4 * i);
      use(field<4, 3>(four), 16 + 4 * i);
      use(field<6, 3>(four), 24 + 4 * i);
    }
  }
};

// What the others are expanded to.

struct Wide32Block : Q8_0Block {
  static constexpr std::int64_t kUnits = 1;
  static F scale(const std::byte* group, int) {
    return load(reinterpret_cast<const float*>(group));
  }
};

struct Wide32MinimumBlock : Wide32Block {
  static constexpr std::int64_t kHeader = 128;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0;
  static F minimum(const std::byte* group) {
    return load(reinterpret_cast<const float*>(group + 64));
  }
  template <class Use>
  static void steps(const std::byte* group, int, Use use) {
    for (int i = 0; i < 8; ++i) use(load_bytes(group + kHeader + 64 * i), 4 * i);
  }
};

struct Wide16Block : Wide32Block {
  static constexpr std::int64_t kHeader = 128;
  static constexpr bool kHalves = true;
  static F half_scale(const std::byte* group, int, int half) {
    return load(reinterpret_cast<const float*>(group + 64 * half));
  }
  template <class Use>
  static void half_steps(const std::byte* group, int, Use use) {
    for (int i = 0; i < 4; ++i) {
      use.template operator()<0>(load_bytes(group + kHeader + 64 * i), 4 * i);
    }
    for (int i = 4; i < 8; ++i) {
      use.template operator()<1>(load_bytes(group + kHeader + 64 * i), 4 * i);
    }
  }
};

}  // namespace
}  // namespace hearth::compute::cpu
