// The sixteen-lane primitives that kernels are written in, for 64-bit Arm (Advanced SIMD), with the
// dot product instructions where the compiler may use them. Four registers per vector. Included
// only by files compiled for this instruction set; everything is in an anonymous namespace (see
// rooms.cmake).
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hearth::compute::cpu {
namespace {

/// Products are of signed bytes.
constexpr bool kBiasedWeights = false;
constexpr bool kHasBf16Dot = false;
constexpr int kMaxTile = 4;

struct F {  // lanes 0-3, 4-7, 8-11, 12-15
  float32x4_t a, b, c, d;
};
struct I {
  int32x4_t a, b, c, d;
};
struct B {
  uint8x16_t a, b, c, d;
};

template <class R, class X, class Operation>
inline R each(const X& x, Operation operation) {
  return {operation(x.a), operation(x.b), operation(x.c), operation(x.d)};
}
template <class R, class X, class Y, class Operation>
inline R each(const X& x, const Y& y, Operation operation) {
  return {operation(x.a, y.a), operation(x.b, y.b), operation(x.c, y.c), operation(x.d, y.d)};
}

inline F set(float x) {
  const float32x4_t all = vdupq_n_f32(x);
  return {all, all, all, all};
}
inline F zero() { return set(0); }
inline F load(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
inline void store(float* p, F x) {
  vst1q_f32(p, x.a);
  vst1q_f32(p + 4, x.b);
  vst1q_f32(p + 8, x.c);
  vst1q_f32(p + 12, x.d);
}
inline F load_first(const float* p, std::int64_t n) {
  float values[16] = {};
  for (std::int64_t i = 0; i < n; ++i) values[i] = p[i];
  return load(values);
}
inline void store_first(float* p, F x, std::int64_t n) {
  float values[16];
  store(values, x);
  for (std::int64_t i = 0; i < n; ++i) p[i] = values[i];
}
/// The sixteen 16-bit numbers at any address.
struct Halves {
  uint16x4_t a, b, c, d;
};
inline Halves load_halves(const void* p) {
  const auto* const bytes = static_cast<const std::uint8_t*>(p);
  const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(bytes));
  const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(bytes + 16));
  return {vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)};
}
inline F load_half(const void* p) {
  return each<F>(load_halves(p),
                 [](uint16x4_t x) { return vcvt_f32_f16(vreinterpret_f16_u16(x)); });
}
inline void store_half(void* p, F x) {
  const Halves halves =
      each<Halves>(x, [](float32x4_t part) { return vreinterpret_u16_f16(vcvt_f16_f32(part)); });
  auto* const bytes = static_cast<std::uint8_t*>(p);
  vst1q_u8(bytes, vreinterpretq_u8_u16(vcombine_u16(halves.a, halves.b)));
  vst1q_u8(bytes + 16, vreinterpretq_u8_u16(vcombine_u16(halves.c, halves.d)));
}
inline F load_bfloat(const void* p) {
  return each<F>(load_halves(p),
                 [](uint16x4_t x) { return vreinterpretq_f32_u32(vshll_n_u16(x, 16)); });
}
inline F add(F x, F y) {
  return each<F>(x, y, [](float32x4_t p, float32x4_t q) { return vaddq_f32(p, q); });
}
inline F sub(F x, F y) {
  return each<F>(x, y, [](float32x4_t p, float32x4_t q) { return vsubq_f32(p, q); });
}
inline F mul(F x, F y) {
  return each<F>(x, y, [](float32x4_t p, float32x4_t q) { return vmulq_f32(p, q); });
}
inline F div(F x, F y) {
  return each<F>(x, y, [](float32x4_t p, float32x4_t q) { return vdivq_f32(p, q); });
}
/// x * y + z
inline F fma(F x, F y, F z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
          vfmaq_f32(z.d, x.d, y.d)};
}
// Comparisons and selections: where one operand is NaN the result is y, as in the other sets.
inline F min(F x, F y) {
  return each<F>(x, y,
                 [](float32x4_t p, float32x4_t q) { return vbslq_f32(vcltq_f32(p, q), p, q); });
}
inline F max(F x, F y) {
  return each<F>(x, y,
                 [](float32x4_t p, float32x4_t q) { return vbslq_f32(vcgtq_f32(p, q), p, q); });
}
inline F abs(F x) {
  return each<F>(x, [](float32x4_t p) { return vabsq_f32(p); });
}
inline F select_less(F x, F y, F yes, F no) {
  return {vbslq_f32(vcltq_f32(x.a, y.a), yes.a, no.a), vbslq_f32(vcltq_f32(x.b, y.b), yes.b, no.b),
          vbslq_f32(vcltq_f32(x.c, y.c), yes.c, no.c), vbslq_f32(vcltq_f32(x.d, y.d), yes.d, no.d)};
}
/// In the order of the other sets: lanes eight apart, then four, two, one.
inline float sum(F x) {
  const float32x4_t four = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float largest(F x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.c), vmaxq_f32(x.b, x.d)));
}

/// to[16 i + lane] = element i of rows[lane], four by four.
inline void store_transposed_four(float32x4_t r0, float32x4_t r1, float32x4_t r2, float32x4_t r3,
                                  std::int64_t count, float* to) {
  const float32x4x2_t low = vzipq_f32(r0, r2);  // r0[0] r2[0] r0[1] r2[1], r0[2] ...
  const float32x4x2_t high = vzipq_f32(r1, r3);
  const float32x4x2_t first = vzipq_f32(low.val[0], high.val[0]);
  const float32x4x2_t second = vzipq_f32(low.val[1], high.val[1]);
  if (count > 0) vst1q_f32(to, first.val[0]);
  if (count > 1) vst1q_f32(to + 16, first.val[1]);
  if (count > 2) vst1q_f32(to + 32, second.val[0]);
  if (count > 3) vst1q_f32(to + 48, second.val[1]);
}
/// to[i][lane] = element i of rows[lane], for i < count.
inline void store_transposed(const F (&rows)[16], std::int64_t count, float* to) {
  for (int lane = 0; lane < 16; lane += 4) {
    const F* const four = rows + lane;
    store_transposed_four(four[0].a, four[1].a, four[2].a, four[3].a, count, to + lane);
    store_transposed_four(four[0].b, four[1].b, four[2].b, four[3].b, count - 4, to + 64 + lane);
    store_transposed_four(four[0].c, four[1].c, four[2].c, four[3].c, count - 8, to + 128 + lane);
    store_transposed_four(four[0].d, four[1].d, four[2].d, four[3].d, count - 12, to + 192 + lane);
  }
}

inline I set_int(std::int32_t x) {
  const int32x4_t all = vdupq_n_s32(x);
  return {all, all, all, all};
}
inline I zero_int() { return set_int(0); }
inline B load_bytes(const void* p) {
  const auto* const bytes = static_cast<const std::uint8_t*>(p);
  return {vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)};
}
inline B load_codes(const void* p) { return load_bytes(p); }
inline I load_int(const void* p) {
  return each<I>(load_bytes(p), [](uint8x16_t x) { return vreinterpretq_s32_u8(x); });
}
/// 32 bytes from each of two places.
inline I load_halves(const void* low, const void* high) {
  const auto* const first = static_cast<const std::uint8_t*>(low);
  const auto* const second = static_cast<const std::uint8_t*>(high);
  return {vreinterpretq_s32_u8(vld1q_u8(first)), vreinterpretq_s32_u8(vld1q_u8(first + 16)),
          vreinterpretq_s32_u8(vld1q_u8(second)), vreinterpretq_s32_u8(vld1q_u8(second + 16))};
}
inline I add_int(I x, I y) {
  return each<I>(x, y, [](int32x4_t p, int32x4_t q) { return vaddq_s32(p, q); });
}
inline I sub_int(I x, I y) {
  return each<I>(x, y, [](int32x4_t p, int32x4_t q) { return vsubq_s32(p, q); });
}
template <int kBits>
inline I shift_right(I x) {
  return {vshrq_n_s32(x.a, kBits), vshrq_n_s32(x.b, kBits), vshrq_n_s32(x.c, kBits),
          vshrq_n_s32(x.d, kBits)};
}
template <int kBits>
inline I shift_left(I x) {
  return {vshlq_n_s32(x.a, kBits), vshlq_n_s32(x.b, kBits), vshlq_n_s32(x.c, kBits),
          vshlq_n_s32(x.d, kBits)};
}
inline F to_float(I x) {
  return each<F>(x, [](int32x4_t p) { return vcvtq_f32_s32(p); });
}
inline I bits_of(F x) {
  return each<I>(x, [](float32x4_t p) { return vreinterpretq_s32_f32(p); });
}
inline F float_of(I x) {
  return each<F>(x, [](int32x4_t p) { return vreinterpretq_f32_s32(p); });
}
/// Round to nearest, ties to even.
inline I round_to_int(F x) {
  return each<I>(x, [](float32x4_t p) { return vcvtnq_s32_f32(p); });
}
inline std::int32_t sum_int(I x) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.c), vaddq_s32(x.b, x.d)));
}
inline void store_int8(std::int8_t* p, I x) {
  const int16x8_t low = vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b));
  const int16x8_t high = vcombine_s16(vmovn_s32(x.c), vmovn_s32(x.d));
  vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
inline I widen_s16(int16x8_t low, int16x8_t high) {
  return {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
          vmovl_high_s16(high)};
}
inline I widen_u8(const void* p) {
  const uint8x16_t x = vld1q_u8(static_cast<const std::uint8_t*>(p));
  return widen_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))),
                   vreinterpretq_s16_u16(vmovl_high_u8(x)));
}
inline I widen_s8(const void* p) {
  const int8x16_t x = vld1q_s8(static_cast<const std::int8_t*>(p));
  return widen_s16(vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
}

inline B low_nibbles(B x) {
  return each<B>(x, [](uint8x16_t p) { return vandq_u8(p, vdupq_n_u8(15)); });
}
inline B high_nibbles(B x) {
  return each<B>(x, [](uint8x16_t p) { return vshrq_n_u8(p, 4); });
}
/// (x >> kShift) & kMask in every byte; to the left where kShift is negative.
template <int kShift, int kMask>
inline B field(B x) {
  const uint8x16_t mask = vdupq_n_u8(kMask);
  return each<B>(x, [&](uint8x16_t p) {
    if constexpr (kShift > 0) p = vshrq_n_u8(p, kShift);
    if constexpr (kShift < 0) p = vshlq_n_u8(p, -kShift);
    return vandq_u8(p, mask);
  });
}
inline I or_int(I x, I y) {
  return each<I>(x, y, [](int32x4_t p, int32x4_t q) { return vorrq_s32(p, q); });
}
/// Zeroes come in from the left.
inline I shift_right_by(I x, int count) {
  const int32x4_t by = vdupq_n_s32(-count);
  return each<I>(x, [&](int32x4_t p) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(p), by));
  });
}
/// The 16-bit halves of every lane apart.
inline I sub_words(I x, I y) {
  return each<I>(x, y, [](int32x4_t p, int32x4_t q) {
    return vreinterpretq_s32_s16(vsubq_s16(vreinterpretq_s16_s32(p), vreinterpretq_s16_s32(q)));
  });
}
inline B shift_left_one(B x) {
  return each<B>(x, [](uint8x16_t p) { return vshlq_n_u8(p, 1); });
}
inline B or_bytes(B x, B y) {
  return each<B>(x, y, [](uint8x16_t p, uint8x16_t q) { return vorrq_u8(p, q); });
}
inline B bytes_of(int value) {
  const uint8x16_t bytes = vdupq_n_u8(static_cast<std::uint8_t>(value));
  return {bytes, bytes, bytes, bytes};
}
inline B add_bytes(B x, B y) {
  return each<B>(x, y, [](uint8x16_t p, uint8x16_t q) { return vaddq_u8(p, q); });
}
inline void store_bytes(void* p, B x) {
  auto* const bytes = static_cast<std::uint8_t*>(p);
  vst1q_u8(bytes, x.a);
  vst1q_u8(bytes + 16, x.b);
  vst1q_u8(bytes + 32, x.c);
  vst1q_u8(bytes + 48, x.d);
}
inline void store_int(void* p, I x) {
  store_bytes(p, each<B>(x, [](int32x4_t part) { return vreinterpretq_u8_s32(part); }));
}
inline I xor_int(I x, std::int32_t mask) {
  const int32x4_t bits = vdupq_n_s32(mask);
  return each<I>(x, [&](int32x4_t p) { return veorq_s32(p, bits); });
}
inline I and_int(I x, std::int32_t mask) {
  const int32x4_t bits = vdupq_n_s32(mask);
  return each<I>(x, [&](int32x4_t p) { return vandq_s32(p, bits); });
}
/// 32 bytes as two 16-bit halves of every lane.
inline I widen_pairs(const void* p) {
  const auto* const bytes = static_cast<const std::uint8_t*>(p);
  const uint8x16_t first = vld1q_u8(bytes);
  const uint8x16_t second = vld1q_u8(bytes + 16);
  return {vreinterpretq_s32_u16(vmovl_u8(vget_low_u8(first))),
          vreinterpretq_s32_u16(vmovl_high_u8(first)),
          vreinterpretq_s32_u16(vmovl_u8(vget_low_u8(second))),
          vreinterpretq_s32_u16(vmovl_high_u8(second))};
}
/// The same of signed bytes.
inline I widen_signed_pairs(const void* p) {
  const auto* const bytes = static_cast<const std::int8_t*>(p);
  const int8x16_t first = vld1q_s8(bytes);
  const int8x16_t second = vld1q_s8(bytes + 16);
  return {vreinterpretq_s32_s16(vmovl_s8(vget_low_s8(first))),
          vreinterpretq_s32_s16(vmovl_high_s8(first)),
          vreinterpretq_s32_s16(vmovl_s8(vget_low_s8(second))),
          vreinterpretq_s32_s16(vmovl_high_s8(second))};
}
inline B load_table(const std::uint8_t (&values)[16]) {
  const uint8x16_t table = vld1q_u8(values);
  return {table, table, table, table};
}
/// table[code] for codes 0 .. 15.
inline B lookup(B table, B codes) {
  return each<B>(table, codes, [](uint8x16_t t, uint8x16_t c) { return vqtbl1q_u8(t, c); });
}
/// In lanes whose bit `bit` is set `if_set`, else `if_clear`.
inline B select_lanes(I bits, int bit, B if_set, B if_clear) {
  const int32x4_t one = vdupq_n_s32(static_cast<std::int32_t>(1U << bit));
  const auto pick = [&](int32x4_t x, uint8x16_t set, uint8x16_t clear) {
    return vbslq_u8(vreinterpretq_u8_u32(vtstq_s32(x, one)), set, clear);
  };
  return {pick(bits.a, if_set.a, if_clear.a), pick(bits.b, if_set.b, if_clear.b),
          pick(bits.c, if_set.c, if_clear.c), pick(bits.d, if_set.d, if_clear.d)};
}
/// low | (bit `bit` of every byte of `high`, as bit 4)
inline B with_fifth_bit(B low, B high, int bit) {
  const int8x16_t move = vdupq_n_s8(static_cast<std::int8_t>(4 - bit));
  const uint8x16_t mask = vdupq_n_u8(0x10);
  return each<B>(low, high, [&](uint8x16_t n, uint8x16_t h) {
    return vorrq_u8(n, vandq_u8(vshlq_u8(h, move), mask));
  });
}

inline int8x16_t spread_four(const std::int8_t* p) {
  std::int32_t value;
  std::memcpy(&value, p, sizeof value);
  return vreinterpretq_s8_s32(vdupq_n_s32(value));
}
/// Lane i: the sum of the signed bytes 4 i .. 4 i + 3.
inline I sum_fours(const std::int8_t* p) {
  return each<I>(load_bytes(p),
                 [](uint8x16_t x) { return vpaddlq_s16(vpaddlq_s8(vreinterpretq_s8_u8(x))); });
}
/// Adds, in each lane, the products of its four signed bytes.
inline int32x4_t add_products(int32x4_t total, int8x16_t w, int8x16_t y) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(total, w, y);
#else
  // Activations are -127 .. 127, so two products fit into 16 bits.
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(y));
  return vpadalq_s16(total, vpaddq_s16(low, vmull_high_s8(w, y)));
#endif
}
inline I dot_byte(I total, B w, const std::int8_t* p) {
  const int8x16_t y = spread_four(p);
  return each<I>(total, w, [&](int32x4_t t, uint8x16_t bytes) {
    return add_products(t, vreinterpretq_s8_u8(bytes), y);
  });
}
/// Weights are 0 .. 64: the same signed or not.
inline I dot_small(I total, B w, const std::int8_t* p) { return dot_byte(total, w, p); }
inline int16x8_t spread_pair(const void* p) {
  std::int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return vreinterpretq_s16_s32(vdupq_n_s32(pair));
}
inline int32x4_t add_word_products(int32x4_t total, int16x8_t w, int16x8_t y) {
  const int32x4_t low = vmull_s16(vget_low_s16(w), vget_low_s16(y));
  return vaddq_s32(total, vpaddq_s32(low, vmull_high_s16(w, y)));
}
/// In each lane x >> kBits in the low 16 bits and y >> kBits in the high ones.
template <int kBits>
inline I pack_words(I x, I y) {
  return each<I>(x, y, [](int32x4_t low, int32x4_t high) {
    if constexpr (kBits > 0) {
      low = vshrq_n_s32(low, kBits);
      high = vshrq_n_s32(high, kBits);
    }
    return vsliq_n_s32(low, high, 16);
  });
}
/// Products of 16-bit halves, which must fit them.
inline I mul_words(I x, I y) {
  return each<I>(x, y, [](int32x4_t p, int32x4_t q) {
    return vreinterpretq_s32_s16(vmulq_s16(vreinterpretq_s16_s32(p), vreinterpretq_s16_s32(q)));
  });
}
/// Adds, in each lane, the products of the 16-bit halves of x and y.
inline I dot_words(I total, I x, I y) {
  const auto add_products_of = [](int32x4_t t, int32x4_t p, int32x4_t q) {
    return add_word_products(t, vreinterpretq_s16_s32(p), vreinterpretq_s16_s32(q));
  };
  return {add_products_of(total.a, x.a, y.a), add_products_of(total.b, x.b, y.b),
          add_products_of(total.c, x.c, y.c), add_products_of(total.d, x.d, y.d)};
}
/// Adds, in each lane, the products of its two unsigned bytes of w (32 bytes in all) with y[0..1].
inline I dot_pairs(I total, const void* w, const std::int16_t* y) {
  const int16x8_t pair = spread_pair(y);
  const auto add_eight = [&](int32x4_t t, uint8x8_t eight) {
    return add_word_products(t, vreinterpretq_s16_u16(vmovl_u8(eight)), pair);
  };
  const auto* const bytes = static_cast<const std::uint8_t*>(w);
  const uint8x16_t first = vld1q_u8(bytes);
  const uint8x16_t second = vld1q_u8(bytes + 16);
  return {add_eight(total.a, vget_low_u8(first)), add_eight(total.b, vget_high_u8(first)),
          add_eight(total.c, vget_low_u8(second)), add_eight(total.d, vget_high_u8(second))};
}

}  // namespace
}  // namespace hearth::compute::cpu
