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
// every lane behind them (then i is even). Weights are at most kLargest in magnitude, and come with
// kZero added, as in dot_blocks32.h. Scales(block).pair(q) are the integer scales of sub-blocks
// 2 q and 2 q + 1, 16 bits each; unit(block) the float one of the block times 2^pair_shift(kSub,
// kLargest). Where kLargest is more than the format has, weights are multiples of its own, so that
// rounding sums costs nothing, or formats share what lies in rows for one shift. kMinimum: Scales
// has minima(), pairs of bytes for dot_pairs, and minimum_unit. kScaled: there are integer scales.
// kShifts: shifts() are pairs of what the two eights of a sub-block of 16 have added to their
// weights; shift_bytes() the same for the bytes of step().

/// The largest magnitude of weights in the format that blocks are expanded to.
template <int kSub, bool kMinimum>
constexpr int kLargestExpanded = kSub == 32 ? (kMinimum ? 31 : 127) : (kMinimum ? 3 : 43);

/// x times 2^kPower. Additions, because it is multiplications that limit kernels.
template <int kPower>
inline F doubled(F x) {
  for (int i = 0; i < kPower; ++i) x = add(x, x);
  return x;
}

struct Block256 {
  static constexpr bool kScaled = true, kShifts = false;
  static constexpr int kAtOnce = 1;
};

constexpr std::int64_t kHead = 64;  // [16] half units, and minima's or padding

/// A signed byte per sub-block: [pairs][16][2].
struct ByteScales {
  const std::byte* bytes;
  explicit ByteScales(const std::byte* block) : bytes(block + kHead) {}
  [[nodiscard]] I pair(int q) const { return widen_signed_pairs(bytes + 32 * q); }
};

/// The same where a block is two halves of kHalf bytes, each beginning with its own scales. Memory
/// feeds a core better the more nearly it is read front to back: with all scales in front, to which
/// the kernel comes back after every half, one row took up to a third longer.
template <std::int64_t kHalf>
struct HalvedByteScales {
  const std::byte* bytes;
  explicit HalvedByteScales(const std::byte* block) : bytes(block + kHead) {}
  [[nodiscard]] I pair(int q) const {
    return widen_signed_pairs(bytes + q / 4 * kHalf + 32 * (q % 4));
  }
};

/// A nibble n per sub-block, for 2 n + 1.
struct NibbleScales {
  const std::byte* bytes;
  explicit NibbleScales(const std::byte* block) : bytes(block + kHead) {}
  [[nodiscard]] I pair(int q) const { return of(bytes + 16 * q); }
  static I of(const std::byte* nibbles) {
    const I both = widen_u8(nibbles);
    const I apart = or_int(shift_left<1>(both), shift_left<13>(both));
    return or_int(and_int(apart, 0x001E001E), set_int(0x00010001));
  }
};
template <std::int64_t kHalf>
struct HalvedNibbleScales {
  const std::byte* bytes;
  explicit HalvedNibbleScales(const std::byte* block) : bytes(block + kHead) {}
  [[nodiscard]] I pair(int q) const {
    return NibbleScales::of(bytes + q / 4 * kHalf + 16 * (q % 4));
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
  [[nodiscard]] I pair(int q) const { return widen_pairs(scales + 32 * q); }
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
  static F minimum_unit(const std::byte* block) { return load_half(block + 32); }
  static B both(const std::byte* block, int part, int i) {
    return load_codes(block + kHeader + kHighBytes + 512 * part + 64 * i);
  }
};

struct Q4_KBlock : NibbleParts<kHead + 192, 0> {
  using Scales = KScales;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0, kLargest = 15;
  static F unit(const std::byte* block) {
    return doubled<pair_shift(kSub, kLargest)>(load_half(block));
  }
  static void step(const std::byte* block, int part, int i, B (&w)[2]) {
    const B nibbles = both(block, part, i);
    w[0] = low_nibbles(nibbles);
    w[1] = high_nibbles(nibbles);
  }
};

/// Four parts of two sub-blocks. Five vectors hold four quads of both: one in the lower five bits
/// of each, three in what is left.
struct Q5_KBlock : Block256 {
  using Scales = KScales;
  static constexpr std::int64_t kHeader = kHead + 192;
  static constexpr std::int64_t kBytes = kHeader + 2560;
  static constexpr int kSub = 32, kLanes = 2, kParts = 4, kAtOnce = 4;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0, kLargest = 31;
  static constexpr int sub(int part, int lane) { return 2 * part + lane; }
  static F unit(const std::byte* block) {
    return doubled<pair_shift(kSub, kLargest)>(load_half(block));
  }
  static F minimum_unit(const std::byte* block) { return load_half(block + 32); }
  static void step(const std::byte* block, int part, int i, B (&w)[8]) {
    const std::byte* const p = block + kHeader + 640 * part + 80 * i;
    const B five[5] = {load_codes(p), load_codes(p + 64), load_codes(p + 128), load_codes(p + 192),
                       load_codes(p + 256)};
    B tops[3];
    tops_of_five(five, tops);
    for (int j = 0; j < 5; ++j) w[j] = field<0, 0x1F>(five[j]);
    for (int j = 0; j < 3; ++j) w[5 + j] = tops[j];
  }
};

/// Values::kBytes are 2^kTimes times what the weights are in units of the file.
template <class Values, int kTimes, class ScaleBytes, std::int64_t kHeaderBytes>
struct NibbleTableBlock : NibbleParts<kHeaderBytes, 0> {
  using Scales = ScaleBytes;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 128, kLargest = 127;
  static F unit(const std::byte* block) { return doubled<kPairShift32 - kTimes>(load_half(block)); }
  static void step(const std::byte* block, int part, int i, B (&w)[2]) {
    const NibbleTable table(Values::kBytes);
    const B nibbles = NibbleParts<kHeaderBytes, 0>::both(block, part, i);
    w[0] = table.low(nibbles);
    w[1] = table.high(nibbles);
  }
};

/// Eight times the magnitudes of IQ3_S; from 8 on, negative.
struct IQ3_SValues {
  static constexpr std::uint8_t kBytes[16] = {whole(8),   whole(24),  whole(40),   whole(56),
                                              whole(72),  whole(88),  whole(104),  whole(120),
                                              whole(-8),  whole(-24), whole(-40),  whole(-56),
                                              whole(-72), whole(-88), whole(-104), whole(-120)};
};
/// Eight times those of IQ3_XXS: 1, 3 .. 13, 15.5.
struct IQ3_XXSValues {
  static constexpr std::uint8_t kBytes[16] = {whole(8),   whole(24),  whole(40),   whole(56),
                                              whole(72),  whole(88),  whole(104),  whole(124),
                                              whole(-8),  whole(-24), whole(-40),  whole(-56),
                                              whole(-72), whole(-88), whole(-104), whole(-124)};
};
using IQ4_XSBlock = NibbleTableBlock<NonLinear4, 0, ByteScales, kHead + 128>;
using IQ3_SBlock = NibbleTableBlock<IQ3_SValues, 3, NibbleScales, kHead + 64>;
using IQ3_XXSBlock = NibbleTableBlock<IQ3_XXSValues, 3, NibbleScales, kHead + 64>;

/// Two halves of two parts of four sub-blocks. Three vectors hold a quad of each: three in their
/// lower six bits, the fourth in the upper two.
struct Q6_KBlock : Block256 {
  static constexpr std::int64_t kHalf = 128 + 2 * 768;
  using Scales = HalvedByteScales<kHalf>;
  static constexpr std::int64_t kBytes = kHead + 2 * kHalf;
  static constexpr int kSub = 16, kLanes = 4, kParts = 4;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 32, kLargest = 43;
  static constexpr int sub(int part, int lane) { return part / 2 * 8 + 2 * lane + part % 2; }
  static F unit(const std::byte* block) { return doubled<kPairShift16>(load_half(block)); }
  static void step(const std::byte* block, int part, int i, B (&w)[4]) {
    const std::byte* const p = block + kHead + part / 2 * kHalf + 128 + part % 2 * 768 + 192 * i;
    const B three[3] = {load_codes(p), load_codes(p + 64), load_codes(p + 128)};
    for (int j = 0; j < 3; ++j) w[j] = field<0, 0x3F>(three[j]);
    w[3] = field<0, 0x3F>(three_tops(three[0], three[1], three[2]));
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
  /// 2^kTimes times codes 0 .. 3.
  template <int kTimes = 0>
  static void codes(const std::byte* block, int part, int i, B (&w)[4]) {
    const B four = load_codes(block + kHeader + 256 * part + 64 * i);
    w[0] = field<0 - kTimes, 3 << kTimes>(four);
    w[1] = field<2 - kTimes, 3 << kTimes>(four);
    w[2] = field<4 - kTimes, 3 << kTimes>(four);
    w[3] = field<6 - kTimes, 3 << kTimes>(four);
  }
};

struct Q2_KBlock : TwoBitParts<kHead + 256> {
  using Scales = Q2_KScales;
  static constexpr bool kMinimum = true;
  static constexpr int kZero = 0, kLargest = 3;
  static F unit(const std::byte* block) { return load_half(block); }
  static F minimum_unit(const std::byte* block) { return load_half(block + 32); }
  static void step(const std::byte* block, int part, int i, B (&w)[4]) { codes(block, part, i, w); }
};

/// Sixteen times -1, 0 or 1, or 2, which a file can say too. Without scales parts 2 h and 2 h + 1
/// are one.
struct TernaryBlock : TwoBitParts<kHead> {
  using Scales = NoScales;
  static constexpr int kSub = 32, kParts = 2;
  static constexpr int sub(int part, int lane) { return 4 * part + lane; }
  static constexpr bool kScaled = false;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 16, kLargest = 127;
  static F unit(const std::byte* block) { return doubled<kPairShift32 - 4>(load_half(block)); }
  static void step(const std::byte* block, int part, int i, B (&w)[4]) {
    codes<4>(block, 2 * part, i, w);
  }
};

/// Three bits of four sub-blocks of 16, two quads of each at once: three bytes hold eight codes,
/// the first bits 0 to 2 of the first byte, the second bits 3 to 5, two more the second and two the
/// third byte; the seventh and eighth are in the topmost two bits of the three. Parts as in
/// TwoBitParts; before those of each half of the block its kScaleBytes of scales.
template <std::int64_t kScaleBytes>
struct ThreeBitParts : Block256 {
  static constexpr std::int64_t kHalf = kScaleBytes + 2 * 384;
  static constexpr std::int64_t kBytes = kHead + 2 * kHalf;
  static constexpr int kSub = 16, kLanes = 4, kParts = 4, kAtOnce = 2;
  static constexpr int sub(int part, int lane) { return part / 2 * 8 + 2 * lane + part % 2; }
  /// Weights from pairs of codes: first(pairs) makes those of bits 0 to 2, second(pairs) those of
  /// bits 3 to 5; the topmost bits are of others.
  template <class First, class Second>
  static void weights(const std::byte* block, int part, int i, B (&w)[8], First first,
                      Second second) {
    const std::byte* const p =
        block + kHead + part / 2 * kHalf + kScaleBytes + part % 2 * 384 + 96 * i;
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

/// Eight times -4 .. 3.
struct Q3_KBlock : ThreeBitParts<128> {
  using Scales = HalvedByteScales<kHalf>;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 32, kLargest = 43;
  static F unit(const std::byte* block) { return mul(load_half(block), set(0.5F)); }
  static void step(const std::byte* block, int part, int i, B (&w)[8]) {
    weights(
        block, part, i, w, [](B pairs) { return field<-3, 0x38>(pairs); },
        [](B pairs) { return field<0, 0x38>(pairs); });
  }
};

/// IQ2_XXS, IQ2_XS and IQ2_S: a magnitude and, in the third bit, a sign.
struct IQ2Block : ThreeBitParts<64> {
  using Scales = HalvedNibbleScales<kHalf>;
  static constexpr bool kMinimum = false;
  static constexpr int kZero = 128, kLargest = 43;
  static constexpr std::uint8_t kValues[8] = {whole(8),  whole(25),  whole(43),  whole(0),
                                              whole(-8), whole(-25), whole(-43), whole(0)};
  static F unit(const std::byte* block) { return mul(load_half(block), set(0.5F)); }
  static void step(const std::byte* block, int part, int i, B (&w)[8]) {
    const PairTables<kValues> tables;
    weights(
        block, part, i, w, [&](B pairs) { return tables.first(pairs); },
        [&](B pairs) { return tables.second(pairs); });
  }
};

/// IQ1_S and IQ1_M: 32 times -1, 0 or 1, plus or minus four, the same for eight features: a
/// lane's int32 has a bit for each eight, those of even ones in its lower half; set for minus.
struct IQ1Block : TwoBitParts<kHead + 128 + 64> {
  using Scales = NibbleScales;
  static constexpr bool kMinimum = false, kShifts = true;
  static constexpr int kZero = 32, kLargest = 43;
  static F unit(const std::byte* block) { return mul(load_half(block), set(0.125F)); }
  static I bits(const std::byte* block, int sub) {
    return and_int(shift_right_by(load_int(block + kHead + 128), sub), 0x00010001);
  }
  /// 16-bit 4 or -4, one for each eight of the sub-block.
  static I shifts(const std::byte* block, int sub) {
    return sub_words(set_int(0x00040004), shift_left<3>(bits(block, sub)));
  }
  static B shift_bytes(const std::byte* block, int sub, int i) {
    const int bit = i / 2 == 0 ? 0 : 16;
    return select_lanes(bits(block, sub), bit, bytes_of(-4), bytes_of(4));
  }
  static void step(const std::byte* block, int part, int i, B (&w)[4]) {
    codes<5>(block, part, i, w);
  }
};

// What the others are expanded to: [16] float units (and minima's), [pairs][16][2] int16 scales
// (and pairs of minima as bytes), weights.

template <int kSubFeatures, bool kHasMinimum>
struct Wide256Block : Block256 {
  static constexpr int kSub = kSubFeatures, kSubs = 256 / kSub;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr int kZero = kHasMinimum ? 0 : 128;
  static constexpr int kLargest = kLargestExpanded<kSub, kMinimum>;
  static constexpr std::int64_t kScales = kHasMinimum ? 128 : 64;
  static constexpr std::int64_t kMinima = kScales + 32 * kSubs;
  static constexpr std::int64_t kWeights = kMinima + (kHasMinimum ? 16 * kSubs : 0);
  static constexpr std::int64_t kBytes = kWeights + 4096;
  static constexpr int kLanes = 1, kParts = kSubs;
  static constexpr int sub(int part, int) { return part; }
  struct Scales {
    const std::byte* block;
    explicit Scales(const std::byte* p) : block(p) {}
    [[nodiscard]] I pair(int q) const { return load_int(block + kScales + 64 * q); }
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
