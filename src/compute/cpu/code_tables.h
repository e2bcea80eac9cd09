// Codes of three to six bits that share bytes, and what they stand for.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include <cstdint>

namespace hearth::compute::cpu {
namespace {

/// NibbleTable: values of the low and the high nibbles of bytes. PairTables: of bits 0 to 2
/// (first) and 3 to 5 (second) of bytes, whatever the topmost bits are.
#ifdef __AVX512VBMI__
// A table of 64 values repeats itself, so that bits of a neighbour do not matter; the topmost two
// are not looked at.
class NibbleTable {
 public:
  explicit NibbleTable(const std::uint8_t (&values)[16]) : values_(load_table(values)) {}
  [[nodiscard]] B low(B both) const { return lookup64(values_, both); }
  [[nodiscard]] B high(B both) const { return lookup64(values_, shift_words_right<4>(both)); }

 private:
  B values_;
};

/// The codes 0 to 63 of pairs.
template <const std::uint8_t (&kValues)[8]>
struct PairedValues {
  std::uint8_t first[64] = {};
  std::uint8_t second[64] = {};
  constexpr PairedValues() {
    for (int i = 0; i < 64; ++i) {
      first[i] = kValues[i % 8];
      second[i] = kValues[i / 8];
    }
  }
};
template <const std::uint8_t (&kValues)[8]>
class PairTables {
 public:
  PairTables() : first_(load_bytes(kPaired.first)), second_(load_bytes(kPaired.second)) {}
  [[nodiscard]] B first(B pairs) const { return lookup64(first_, pairs); }
  [[nodiscard]] B second(B pairs) const { return lookup64(second_, pairs); }

 private:
  static constexpr PairedValues<kValues> kPaired = {};
  B first_, second_;
};
#else
class NibbleTable {
 public:
  explicit NibbleTable(const std::uint8_t (&values)[16]) : values_(load_table(values)) {}
  [[nodiscard]] B low(B both) const { return lookup(values_, low_nibbles(both)); }
  [[nodiscard]] B high(B both) const { return lookup(values_, high_nibbles(both)); }

 private:
  B values_;
};

template <const std::uint8_t (&kValues)[8]>
class PairTables {
 public:
  PairTables() : values_(load_table(kTwice)) {}
  [[nodiscard]] B first(B pairs) const { return lookup(values_, field<0, 7>(pairs)); }
  [[nodiscard]] B second(B pairs) const { return lookup(values_, field<3, 7>(pairs)); }

 private:
  static constexpr std::uint8_t kTwice[16] = {kValues[0], kValues[1], kValues[2], kValues[3],
                                              kValues[4], kValues[5], kValues[6], kValues[7],
                                              kValues[0], kValues[1], kValues[2], kValues[3],
                                              kValues[4], kValues[5], kValues[6], kValues[7]};
  B values_;
};
#endif

/// The topmost two bits of three vectors: bits 0 and 1, 2 and 3, 4 and 5; the others may be
/// anything.
inline B three_tops(B a, B b, B c) {
#ifdef __AVX512F__
  const B low = select_bits<0x03>(shift_words_right<6>(a), shift_words_right<4>(b));
  return select_bits<0x0F>(low, shift_words_right<2>(c));
#else
  return or_bytes(or_bytes(field<6, 0x03>(a), field<4, 0x0C>(b)), field<2, 0x30>(c));
#endif
}

/// Three codes of five bits from the topmost three bits of five vectors: of the first and second,
/// of the third and fourth, and of the fifth and what these leave, in the second and the fourth.
inline void tops_of_five(const B (&from)[5], B (&codes)[3]) {
#ifdef __AVX512F__
  const B rest = select_bits<0x08>(shift_words_right<2>(from[1]), shift_words_right<1>(from[3]));
  const auto code = [](B low, B high) {
    return field<0, 0x1F>(select_bits<0x07>(shift_words_right<5>(low), high));
  };
  codes[0] = code(from[0], shift_words_right<3>(from[1]));
  codes[1] = code(from[2], shift_words_right<3>(from[3]));
  codes[2] = code(from[4], rest);
#else
  const B rest = or_bytes(field<2, 0x08>(from[1]), field<1, 0x10>(from[3]));
  codes[0] = or_bytes(field<5, 0x07>(from[0]), field<3, 0x18>(from[1]));
  codes[1] = or_bytes(field<5, 0x07>(from[2]), field<3, 0x18>(from[3]));
  codes[2] = or_bytes(field<5, 0x07>(from[4]), rest);
#endif
}

}  // namespace
}  // namespace hearth::compute::cpu
