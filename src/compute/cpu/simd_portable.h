// The sixteen-lane primitives that kernels are written in, in plain C++ that compilers turn into
// whatever vectors the target has. Correct everywhere; the other headers are faster.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace hearth::compute::cpu {
namespace {

constexpr bool kBiasedWeights = false;
constexpr bool kHasBf16Dot = false;
constexpr int kMaxTile = 2;
constexpr int kLanes = 16;

struct F {
  float v[kLanes];
};
struct I {
  std::int32_t v[kLanes];
};
struct B {
  std::uint8_t v[4 * kLanes];
};

template <class R, class Lane>
inline R make(Lane lane) {
  R result;
  for (int i = 0; i < kLanes; ++i) result.v[i] = lane(i);
  return result;
}
template <class Byte>
inline B make_bytes(Byte byte) {
  B result;
  for (int i = 0; i < 4 * kLanes; ++i) result.v[i] = static_cast<std::uint8_t>(byte(i));
  return result;
}
// Two's complement arithmetic that wraps, as vector instructions do.
inline std::int32_t wrap(std::uint32_t x) { return static_cast<std::int32_t>(x); }
inline std::uint32_t bits(std::int32_t x) { return static_cast<std::uint32_t>(x); }

inline F set(float x) {
  return make<F>([x](int) { return x; });
}
inline F zero() { return set(0); }
inline F load(const float* p) {
  F result;
  std::memcpy(result.v, p, sizeof result.v);
  return result;
}
inline void store(float* p, F x) { std::memcpy(p, x.v, sizeof x.v); }
inline F load_first(const float* p, std::int64_t n) {
  F result = zero();
  for (std::int64_t i = 0; i < n; ++i) result.v[i] = p[i];
  return result;
}
inline void store_first(float* p, F x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = x.v[i];
}
inline F load_half(const void* p) {
  std::uint16_t halves[kLanes];
  std::memcpy(halves, p, sizeof halves);
  return make<F>([&](int i) { return tensor::float_from_half(halves[i]); });
}
inline void store_half(void* p, F x) {
  std::uint16_t halves[kLanes];
  for (int i = 0; i < kLanes; ++i) halves[i] = tensor::half_from_float(x.v[i]);
  std::memcpy(p, halves, sizeof halves);
}
inline F load_bfloat(const void* p) {
  std::uint16_t narrow[kLanes];
  std::memcpy(narrow, p, sizeof narrow);
  return make<F>([&](int i) { return std::bit_cast<float>(std::uint32_t{narrow[i]} << 16); });
}
inline F add(F a, F b) {
  return make<F>([&](int i) { return a.v[i] + b.v[i]; });
}
inline F sub(F a, F b) {
  return make<F>([&](int i) { return a.v[i] - b.v[i]; });
}
inline F mul(F a, F b) {
  return make<F>([&](int i) { return a.v[i] * b.v[i]; });
}
inline F div(F a, F b) {
  return make<F>([&](int i) { return a.v[i] / b.v[i]; });
}
inline F fma(F a, F b, F c) {
  return make<F>([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline F min(F a, F b) {
  return make<F>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F max(F a, F b) {
  return make<F>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F abs(F a) {
  return make<F>([&](int i) { return std::fabs(a.v[i]); });
}
inline F select_less(F a, F b, F x, F y) {
  return make<F>([&](int i) { return a.v[i] < b.v[i] ? x.v[i] : y.v[i]; });
}
inline float sum(F a) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}
inline float largest(F a) {
  float result = a.v[0];
  for (int i = 1; i < kLanes; ++i) result = a.v[i] > result ? a.v[i] : result;
  return result;
}

/// to[i][lane] = element i of rows[lane], for i < count.
inline void store_transposed(const F (&rows)[16], std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) to[16 * i + lane] = rows[lane].v[i];
  }
}

inline I set_int(std::int32_t x) {
  return make<I>([x](int) { return x; });
}
inline I zero_int() { return set_int(0); }
inline I load_int(const void* p) {
  I result;
  std::memcpy(result.v, p, sizeof result.v);
  return result;
}
/// 32 bytes from each of two places.
inline I load_halves(const void* low, const void* high) {
  constexpr std::size_t kHalf = sizeof(I) / 2;
  I result;
  std::memcpy(result.v, low, kHalf);
  std::memcpy(result.v + kLanes / 2, high, kHalf);
  return result;
}
inline I add_int(I a, I b) {
  return make<I>([&](int i) { return wrap(bits(a.v[i]) + bits(b.v[i])); });
}
inline I sub_int(I a, I b) {
  return make<I>([&](int i) { return wrap(bits(a.v[i]) - bits(b.v[i])); });
}
template <int kBits>
inline I shift_right(I a) {
  return make<I>([&](int i) { return a.v[i] >> kBits; });
}
template <int kBits>
inline I shift_left(I a) {
  return make<I>([&](int i) { return wrap(bits(a.v[i]) << kBits); });
}
inline F to_float(I a) {
  return make<F>([&](int i) { return static_cast<float>(a.v[i]); });
}
inline I bits_of(F a) {
  return make<I>([&](int i) { return std::bit_cast<std::int32_t>(a.v[i]); });
}
inline F float_of(I a) {
  return make<F>([&](int i) { return std::bit_cast<float>(a.v[i]); });
}
/// Round to nearest, ties to even, for |a| < 2^22: adding 1.5 * 2^23 pushes the fraction out of the
/// mantissa.
inline I round_to_int(F a) {
  return sub_int(bits_of(add(a, set(12582912.0F))), bits_of(set(12582912.0F)));
}
inline std::int32_t sum_int(I a) {
  std::int32_t result = 0;
  for (int i = 0; i < kLanes; ++i) result += a.v[i];
  return result;
}
inline void store_int8(std::int8_t* p, I a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(a.v[i]);
}
inline I widen_u8(const void* p) {
  const auto* bytes = static_cast<const std::uint8_t*>(p);
  return make<I>([&](int i) { return std::int32_t{bytes[i]}; });
}
inline I widen_pairs(const void* p) {
  const auto* bytes = static_cast<const std::uint8_t*>(p);
  return make<I>([&](int i) { return bytes[2 * i] | bytes[2 * i + 1] << 16; });
}
inline I widen_signed_pairs(const void* p) {
  const auto* bytes = static_cast<const std::int8_t*>(p);
  return make<I>([&](int i) { return (bytes[2 * i] & 0xFFFF) | bytes[2 * i + 1] * 0x10000; });
}
inline I and_int(I a, std::int32_t mask) {
  return make<I>([&](int i) { return a.v[i] & mask; });
}
inline I xor_int(I a, std::int32_t mask) {
  return make<I>([&](int i) { return a.v[i] ^ mask; });
}
inline I or_int(I a, I b) {
  return make<I>([&](int i) { return a.v[i] | b.v[i]; });
}
inline I shift_right_by(I a, int count) {
  return make<I>([&](int i) { return wrap(bits(a.v[i]) >> count); });
}
inline I sub_words(I a, I b) {
  return make<I>([&](int i) {
    const std::uint32_t low = (bits(a.v[i]) - bits(b.v[i])) & 0xFFFFU;
    const std::uint32_t high = (bits(a.v[i]) >> 16) - (bits(b.v[i]) >> 16);
    return wrap(low | high << 16);
  });
}
inline void store_int(void* p, I a) { std::memcpy(p, a.v, sizeof a.v); }
inline I widen_s8(const void* p) {
  const auto* bytes = static_cast<const std::int8_t*>(p);
  return make<I>([&](int i) { return std::int32_t{bytes[i]}; });
}

inline B load_bytes(const void* p) {
  B result;
  std::memcpy(result.v, p, sizeof result.v);
  return result;
}
inline B load_codes(const void* p) { return load_bytes(p); }
inline B low_nibbles(B a) {
  return make_bytes([&](int i) { return a.v[i] & 15; });
}
inline B high_nibbles(B a) {
  return make_bytes([&](int i) { return a.v[i] >> 4; });
}
template <int kShift, int kMask>
inline B field(B a) {
  constexpr int kLeft = kShift < 0 ? -kShift : 0;
  constexpr int kRight = kShift < 0 ? 0 : kShift;
  return make_bytes([&](int i) { return (a.v[i] << kLeft >> kRight) & kMask; });
}
inline B shift_left_one(B a) {
  return make_bytes([&](int i) { return 2 * a.v[i]; });
}
inline B or_bytes(B a, B b) {
  return make_bytes([&](int i) { return a.v[i] | b.v[i]; });
}
inline B bytes_of(int value) {
  return make_bytes([&](int) { return value; });
}
inline B add_bytes(B a, B b) {
  return make_bytes([&](int i) { return a.v[i] + b.v[i]; });
}
inline void store_bytes(void* p, B a) { std::memcpy(p, a.v, sizeof a.v); }
inline B load_table(const std::uint8_t (&values)[16]) {
  return make_bytes([&](int i) { return values[i % 16]; });
}
inline B lookup(B table, B codes) {
  return make_bytes([&](int i) { return table.v[codes.v[i]]; });
}
inline B select_lanes(I bits, int bit, B if_set, B if_clear) {
  return make_bytes(
      [&](int i) { return (bits.v[i / 4] >> bit & 1) != 0 ? if_set.v[i] : if_clear.v[i]; });
}
inline B with_fifth_bit(B low, B high, int bit) {
  return make_bytes([&](int i) { return low.v[i] | ((high.v[i] >> bit) & 1) << 4; });
}

template <class Byte>
inline I dot_bytes(I sum, const B& w, const std::int8_t* y) {
  return make<I>([&](int i) {
    std::int32_t total = sum.v[i];
    for (int j = 0; j < 4; ++j) total += static_cast<Byte>(w.v[4 * i + j]) * y[j];
    return total;
  });
}
/// Lane i: the sum of the signed bytes 4 i .. 4 i + 3.
inline I sum_fours(const std::int8_t* p) {
  return make<I>([&](int i) { return p[4 * i] + p[4 * i + 1] + p[4 * i + 2] + p[4 * i + 3]; });
}
inline I dot_small(I sum, B w, const std::int8_t* y) { return dot_bytes<std::uint8_t>(sum, w, y); }
inline I dot_byte(I sum, B w, const std::int8_t* y) { return dot_bytes<std::int8_t>(sum, w, y); }
inline std::int32_t low_word(std::int32_t x) { return static_cast<std::int16_t>(x); }
template <int kBits>
inline I pack_words(I a, I b) {
  return make<I>(
      [&](int i) { return wrap((bits(a.v[i]) >> kBits & 0xFFFFU) | bits(b.v[i]) >> kBits << 16); });
}
inline I mul_words(I a, I b) {
  return make<I>([&](int i) {
    const std::uint32_t low = bits(low_word(a.v[i]) * low_word(b.v[i]));
    const std::uint32_t high = bits((a.v[i] >> 16) * (b.v[i] >> 16));
    return wrap((low & 0xFFFFU) | high << 16);
  });
}
inline I dot_words(I sum, I a, I b) {
  return make<I>([&](int i) {
    return sum.v[i] + low_word(a.v[i]) * low_word(b.v[i]) + (a.v[i] >> 16) * (b.v[i] >> 16);
  });
}
inline I dot_pairs(I sum, const void* w, const std::int16_t* y) {
  const auto* bytes = static_cast<const std::uint8_t*>(w);
  return make<I>([&](int i) { return sum.v[i] + bytes[2 * i] * y[0] + bytes[2 * i + 1] * y[1]; });
}

}  // namespace
}  // namespace hearth::compute::cpu
