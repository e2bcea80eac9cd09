// Codes of three and four bits that share bytes, and what they stand for.
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

}  // namespace
}  // namespace hearth::compute::cpu
