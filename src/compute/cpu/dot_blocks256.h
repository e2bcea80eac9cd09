// Panels of blocks of 256 weights with integer scales, as the dot kernels read them. Layouts:
// panels.h.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/dot_blocks32.h"

namespace hearth::compute::cpu {
namespace {

// A block type says how kBytes are read: in kParts parts, each of kLanes sub-blocks of kSub
// features that lie in the same bytes. sub(part, lane) is the number of a sub-block; step(block,
// part, i, w) gives features 4 i .. 4 i + 3 of every lane, and where kAtOnce is 2 the next four of
// every lane behind them (then i is even). Weights come with kZero added, as in dot_blocks32.h.
// Scales(block).scale(sub) is the integer scale of a sub-block; unit(block) the float one of the
// block. kMinimum: Scales has minima(), pairs of bytes for dot_pairs, and minimum_unit. kScaled:
// there are integer scales. kShifts: shifts() are pairs of what the two eights of a sub-block of 16
// have added to their weights; shift_bytes() the same for the bytes of step().

struct Block256 {
  static constexpr bool kScaled = true, kShifts = false;
  static constexpr int kAtOnce = 1;
};

constexpr std::int64_t kHead = 64;  // [16] half units, and minima's or padding

/// A signed byte per sub-block.
struct ByteScales {
  const std::byte* bytes;
  explicit ByteScales(const std::byte* block) : bytes(block + kHead) {}
  [[nodiscard]] I scale(int sub) const { return widen_s8(bytes + 16 * sub); }
};

/// A nibble n per sub-block, for 2 n + 1: all are made at once.
template <int kPairs>
struct NibbleScales {
  alignas(64) std::byte even[16 * kPairs];
  alignas(64) std::byte odd[16 * kPairs];
  explicit NibbleScales(const std::byte* block) {
    const B one = bytes_of(1);
    for (int i = 0; i < 16 * kPairs; i += 64) {
      const B both = load_codes(block + kHead + i);
      store_bytes(even + i, or_bytes(field<-1, 30>(both), one));
      store_bytes(odd + i, or_bytes(field<3, 30>(both), one));
    }
  }
  [[nodiscard]] I scale(int sub) const {
    return widen_u8((sub % 2 == 0 ? even : odd) + 16 * (sub / 2));
  }
};

struct NoScales {
  explicit NoScales(const std::byte*) {}
};

/// Scales and minima as bytes, those of two sub-blocks beside each other: [pairs][16][2].
template <int kPairs>
struct PairScales {
  alignas(64) std::byte scales[32 * kPairs];
  alignas(64) std::byte lows[32 * kPairs];
  [[nodiscard]] I scale(int sub) const {
    const I both = widen_pairs(scales + 32 * (sub / 2));
    return sub % 2 == 0 ? and_int(both, 0xFFFF) : shift_right<16>(both);
  }
  [[nodiscard]] const std::byte* minima() const { return lows; }
};

/// The twelve bytes of Q4_K and Q5_K (quant-blocks.md section 3), each four as two pairs.
struct KScales : PairScales<4> {
  explicit KScales(const std::byte* block) {
    const B first = load_bytes(block + kHead);
    const B second = load_bytes(block + kHead + 64);
    const B third = load_bytes(block + kHead + 128);
    store_bytes(scales, field<0, 63>(first));
    store_bytes(scales + 64, or_bytes(field<0, 15>(third), field<2, 0x30>(first)));
    store_bytes(lows, field<0, 63>(second));
    store_bytes(lows + 64, or_bytes(field<4, 15>(third), field<2, 0x30>(second)));
  }
};

/// Low nibbles: scales, high ones: minima.
struct Q2_KScales : PairScales<8> {
  explicit Q2_KScales(const std::byte* block) {
    for (int i = 0; i < 4; ++i) {
      const B both = load_bytes(block + kHead + 64 * i);
      store_bytes(scales + 64 * i, low_nibbles(both));
      store_bytes(lows + 64 * i, high_nibbles(both));
    }
  }
};

/// What is common to formats whose byte holds nibbles of two sub-blocks of 32.
template <std::int64_t kHeaderBytes, std::int64_t kHighBytes>
struct NibbleParts : Block256 {
  static constexpr std::int64_t kHeader = kHeaderBytes;
  static constexpr std::int64_t kBytes = kHeaderBytes + kHighBytes + 2048;
  static constexpr int kSub = 32, kLanes = 2, kParts = 4;
  static constexpr int sub(int part, int lane) { return 2 * part + lane; }
  static F unit(const std::byte* block) { return load_half(block); }
  static F minimum_unit(const std::byte* block) { return load_half(block + 32); }
  static B both(const std::byte* block, int part, int i) {
    return load_codes(block + kHeader + kHighBytes + 512 * part + 64 * i);
  }
};

struct Q4_KBlock : NibbleParts<kHead + 192, 0> {
  using Scales = KScales;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0;
  static void step(const std::byte* block, int part, int i, B (&w)[2]) {
    const B nibbles = both(block, part, i);
    w[0] = low_nibbles(nibbles);
    w[1] = high_nibbles(nibbles);
  }
};

struct Q5_KBlock : NibbleParts<kHead + 192, 512> {
  using Scales = KScales;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0;
  static void step(const std::byte* block, int part, int i, B (&w)[2]) {
    const B nibbles = both(block, part, i);
    const B high = load_codes(block + kHeader + 64 * i);
    w[0] = with_high_bits<1>(low_nibbles(nibbles), high, 2 * part);
    w[1] = with_high_bits<1>(high_nibbles(nibbles), high, 2 * part + 1);
  }
};

template <class Values, class ScaleBytes, std::int64_t kHeaderBytes>
struct NibbleTableBlock : NibbleParts<kHeaderBytes, 0> {
  using Scales = ScaleBytes;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 128;
  static void step(const std::byte* block, int part, int i, B (&w)[2]) {
    const NibbleTable table(Values::kBytes);
    const B nibbles = NibbleParts<kHeaderBytes, 0>::both(block, part, i);
    w[0] = table.low(nibbles);
    w[1] = table.high(nibbles);
  }
};

using IQ4_XSBlock = NibbleTableBlock<NonLinear4, ByteScales, kHead + 128>;

/// Magnitudes of IQ3_S; from 8 on, negative.
struct IQ3_SValues {
  static constexpr std::uint8_t kBytes[16] = {
      whole(1),  whole(3),  whole(5),  whole(7),  whole(9),  whole(11),  whole(13),  whole(15),
      whole(-1), whole(-3), whole(-5), whole(-7), whole(-9), whole(-11), whole(-13), whole(-15)};
};
struct IQ3_XXSValues {
  static constexpr std::uint8_t kBytes[16] = {whole(4),   whole(12),  whole(20),  whole(28),
                                              whole(36),  whole(44),  whole(52),  whole(62),
                                              whole(-4),  whole(-12), whole(-20), whole(-28),
                                              whole(-36), whole(-44), whole(-52), whole(-62)};
};
using IQ3_SBlock = NibbleTableBlock<IQ3_SValues, NibbleScales<4>, kHead + 64>;

struct IQ3_XXSBlock : NibbleTableBlock<IQ3_XXSValues, NibbleScales<4>, kHead + 64> {
  static F unit(const std::byte* block) { return mul(load_half(block), set(0.25F)); }
};

/// 4 parts, each: the upper bits of 16 features of four quarters, the nibbles of quarters 0 and 2,
/// and those of 1 and 3.
struct Q6_KBlock : Block256 {
  using Scales = ByteScales;
  static constexpr std::int64_t kBytes = kHead + 256 + 3072;
  static constexpr int kSub = 16, kLanes = 4, kParts = 4;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 32;
  static constexpr int sub(int part, int lane) { return part / 2 * 8 + 2 * lane + part % 2; }
  static F unit(const std::byte* block) { return load_half(block); }
  static void step(const std::byte* block, int part, int i, B (&w)[4]) {
    const std::byte* const p = block + kHead + 256 + 768 * part + 64 * i;
    const B high = load_codes(p);
    const B even = load_codes(p + 256);
    const B odd = load_codes(p + 512);
    w[0] = with_high_bits<2>(low_nibbles(even), high, 0);
    w[1] = with_high_bits<2>(low_nibbles(odd), high, 2);
    w[2] = with_high_bits<2>(high_nibbles(even), high, 4);
    w[3] = with_high_bits<2>(high_nibbles(odd), high, 6);
  }
};

/// What is common to formats whose byte holds two bits of four sub-blocks of 16: part 2 h + s has
/// features 128 h + 32 lane + 16 s ...
template <std::int64_t kHeaderBytes>
struct TwoBitParts : Block256 {
  static constexpr std::int64_t kHeader = kHeaderBytes;
  static constexpr std::int64_t kBytes = kHeaderBytes + 1024;
  static constexpr int kSub = 16, kLanes = 4, kParts = 4;
  static constexpr int sub(int part, int lane) { return part / 2 * 8 + 2 * lane + part % 2; }
  static F unit(const std::byte* block) { return load_half(block); }
  static F minimum_unit(const std::byte* block) { return load_half(block + 32); }
  static void codes(const std::byte* block, int part, int i, B (&w)[4]) {
    const B four = load_codes(block + kHeader + 256 * part + 64 * i);
    w[0] = field<0, 3>(four);
    w[1] = field<2, 3>(four);
    w[2] = field<4, 3>(four);
    w[3] = field<6, 3>(four);
  }
};

struct Q2_KBlock : TwoBitParts<kHead + 256> {
  using Scales = Q2_KScales;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0;
  static void step(const std::byte* block, int part, int i, B (&w)[4]) { codes(block, part, i, w); }
};

struct TernaryBlock : TwoBitParts<kHead> {
  using Scales = NoScales;
  static constexpr bool kScaled = false;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 1;
  static void step(const std::byte* block, int part, int i, B (&w)[4]) { codes(block, part, i, w); }
};

/// Three bits of four sub-blocks of 16, two quads of each at once: three bytes hold eight codes,
/// the first bits 0 to 2 of the first byte, the second bits 3 to 5, two more the second and two the
/// third byte; the seventh and eighth are in the topmost two bits of the three. Parts as in
/// TwoBitParts.
template <std::int64_t kScaleBytes>
struct ThreeBitParts : Block256 {
  static constexpr std::int64_t kHeader = kHead + kScaleBytes;
  static constexpr std::int64_t kBytes = kHeader + 1536;
  static constexpr int kSub = 16, kLanes = 4, kParts = 4, kAtOnce = 2;
  static constexpr int sub(int part, int lane) { return part / 2 * 8 + 2 * lane + part % 2; }
  static F unit(const std::byte* block) { return load_half(block); }
  /// Weights from pairs of codes: first(pairs) makes those of bits 0 to 2, second(pairs) those of
  /// bits 3 to 5; the topmost bits are of others.
  template <class First, class Second>
  static void weights(const std::byte* block, int part, int i, B (&w)[8], First first,
                      Second second) {
    const std::byte* const p = block + kHeader + 384 * part + 96 * i;
    const B b0 = load_codes(p);
    const B b1 = load_codes(p + 64);
    const B b2 = load_codes(p + 128);
    const B b3 = three_tops(b0, b1, b2);
    w[0] = first(b0);
    w[1] = second(b0);
    w[2] = first(b1);
    w[3] = second(b1);
    w[4] = first(b2);
    w[5] = second(b2);
    w[6] = first(b3);
    w[7] = second(b3);
  }
};

struct Q3_KBlock : ThreeBitParts<256> {
  using Scales = ByteScales;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 4;
  static void step(const std::byte* block, int part, int i, B (&w)[8]) {
    weights(
        block, part, i, w, [](B pairs) { return field<0, 7>(pairs); },
        [](B pairs) { return field<3, 7>(pairs); });
  }
};

/// IQ2_XXS, IQ2_XS and IQ2_S: a magnitude and, in the third bit, a sign.
struct IQ2Block : ThreeBitParts<128> {
  using Scales = NibbleScales<8>;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 128;
  static constexpr std::uint8_t kValues[8] = {whole(8),  whole(25),  whole(43),  whole(0),
                                              whole(-8), whole(-25), whole(-43), whole(0)};
  static F unit(const std::byte* block) { return mul(load_half(block), set(0.125F)); }
  static void step(const std::byte* block, int part, int i, B (&w)[8]) {
    const PairTables<kValues> tables;
    weights(
        block, part, i, w, [&](B pairs) { return tables.first(pairs); },
        [&](B pairs) { return tables.second(pairs); });
  }
};

/// IQ1_S and IQ1_M: eight times -1, 0 or 1, plus or minus one, the same for eight features: a
/// lane's int32 has a bit for each eight, those of even ones in its lower half; set for minus.
struct IQ1Block : TwoBitParts<kHead + 128 + 64> {
  using Scales = NibbleScales<8>;
  static constexpr bool kMinimum = false, kShifts = true;
  static constexpr int kZero = 8;
  static F unit(const std::byte* block) { return mul(load_half(block), set(0.125F)); }
  static I bits(const std::byte* block, int sub) {
    return and_int(shift_right_by(load_int(block + kHead + 128), sub), 0x00010001);
  }
  /// 16-bit 1 or -1, one for each eight of the sub-block.
  static I shifts(const std::byte* block, int sub) {
    return or_int(sub_words(zero_int(), bits(block, sub)), set_int(0x00010001));
  }
  static B shift_bytes(const std::byte* block, int sub, int i) {
    const int bit = i / 2 == 0 ? 0 : 16;
    return select_lanes(bits(block, sub), bit, bytes_of(-1), bytes_of(1));
  }
  /// Codes times eight.
  static void step(const std::byte* block, int part, int i, B (&w)[4]) {
    const B four = load_codes(block + kHeader + 256 * part + 64 * i);
    w[0] = field<-3, 0x18>(four);
    w[1] = field<-1, 0x18>(four);
    w[2] = field<1, 0x18>(four);
    w[3] = field<3, 0x18>(four);
  }
};

// What the others are expanded to: [16] float units (and minima's), [sub-blocks][16] int32 scales
// (and pairs of minima), weights.

template <int kSubFeatures, bool kHasMinimum>
struct Wide256Block : Block256 {
  static constexpr int kSub = kSubFeatures, kSubs = 256 / kSub;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr int kZero = kHasMinimum ? 0 : 128;
  static constexpr std::int64_t kScales = kHasMinimum ? 128 : 64;
  static constexpr std::int64_t kMinima = kScales + 64 * kSubs;
  static constexpr std::int64_t kWeights = kMinima + (kHasMinimum ? 16 * kSubs : 0);
  static constexpr std::int64_t kBytes = kWeights + 4096;
  static constexpr int kLanes = 1, kParts = kSubs;
  static constexpr int sub(int part, int) { return part; }
  struct Scales {
    const std::byte* block;
    explicit Scales(const std::byte* p) : block(p) {}
    [[nodiscard]] I scale(int sub) const { return load_int(block + kScales + 64 * sub); }
    [[nodiscard]] const std::byte* minima() const { return block + kMinima; }
  };
  static F unit(const std::byte* block) { return load(reinterpret_cast<const float*>(block)); }
  static F minimum_unit(const std::byte* block) {
    return load(reinterpret_cast<const float*>(block + 64));
  }
  static void step(const std::byte* block, int part, int i, B (&w)[1]) {
    w[0] = load_bytes(block + kWeights + 16 * kSub * part + 64 * i);
  }
};

}  // namespace
}  // namespace hearth::compute::cpu
