// Formats with two, three or four levels and one scale per block.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/encode_block.h"
#include "quant/encode_levels.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {

using Ternary = IntegerLevels<-1, 1>;

/// The best scale for levels -1, 0, 1. If the k largest magnitudes get ±1, the best scale is
/// d = Σ w |x| / Σ w over them, and the error falls by (Σ w |x|)² / Σ w: all k are tried.
Choice best_ternary_scale(const Block& block) {
  struct Magnitude {
    float x;
    float w;
  };
  Magnitude sorted[kLargestBlock];
  for (int i = 0; i < block.size; ++i) sorted[i] = {std::fabs(block.x[i]), block.w[i]};
  std::sort(sorted, sorted + block.size, [](const Magnitude& a, const Magnitude& b) {
    return a.x != b.x ? a.x > b.x : a.w > b.w;
  });
  double wx = 0;
  double w = 0;
  double gain = 0;
  double scale = 0;
  for (int k = 0; k < block.size; ++k) {
    w += static_cast<double>(sorted[k].w);
    wx += static_cast<double>(sorted[k].w) * static_cast<double>(sorted[k].x);
    if (wx * wx > gain * w) {
      gain = wx * wx / w;
      scale = wx / w;
    }
  }
  Choice best{HalfScale{0, 0}, block.power};
  try_halves<Ternary>(block, nearest_half(static_cast<float>(scale), block.unit), 2, best);
  return best;
}

/// The scale of a block of 256 and its digits 0, 1, 2.
std::uint16_t encode_ternary(const float* from, const RowWeights& weights, std::size_t column,
                             int* digits) {
  Block block;
  std::fill_n(digits, 256, 1);
  if (!block.load(from + column, 256, weights, column, Spread::kBlock)) return 0;
  const Choice best = best_ternary_scale(block);
  const float inverse = safe_inverse(best.scale.value);
  for (int i = 0; i < 256; ++i) digits[i] = Ternary::code(block.x[i] * inverse);
  return best.scale.bits;
}

/// The byte whose fraction byte / 256 has these base-3 digits: ceil(256 v / 243).
std::byte byte_of_digits(const int* digits, int stride, int count) {
  int value = 0;
  for (int n = 0; n < 5; ++n) value = 3 * value + (n < count ? digits[n * stride] : 0);
  return static_cast<std::byte>((256 * value + 242) / 243);
}

}  // namespace

void encode_tq1_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for (std::size_t b = 0; b < blocks; ++b, to += 54) {
    int digits[256];
    store(to + 52, encode_ternary(from, weights, 256 * b, digits));
    for (int i = 0; i < 32; ++i) to[i] = byte_of_digits(digits + i, 32, 5);
    for (int i = 0; i < 16; ++i) to[32 + i] = byte_of_digits(digits + 160 + i, 16, 5);
    for (int i = 0; i < 4; ++i) to[48 + i] = byte_of_digits(digits + 240 + i, 4, 4);
  }
}

void encode_tq2_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for (std::size_t b = 0; b < blocks; ++b, to += 66) {
    int digits[256];
    store(to + 64, encode_ternary(from, weights, 256 * b, digits));
    for (int i = 0; i < 64; ++i) {
      const int* digit = digits + 128 * (i / 32) + i % 32;
      to[i] = static_cast<std::byte>(digit[0] | digit[32] << 2 | digit[64] << 4 | digit[96] << 6);
    }
  }
}

/// Signs times one scale: d = Σ w |x| / Σ w.
void encode_q1_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 18) {
    std::memset(to, 0, 18);
    if (!block.load(from + 128 * b, 128, weights, 128 * b, Spread::kBlock)) continue;
    double wx = 0;
    double w = 0;
    auto* bits = reinterpret_cast<std::uint8_t*>(to + 2);
    for (int i = 0; i < 128; ++i) {
      w += static_cast<double>(block.w[i]);
      wx += static_cast<double>(block.w[i]) * std::fabs(static_cast<double>(block.x[i]));
      if (block.x[i] >= 0) bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | 1 << (i & 7));
    }
    store(to, nearest_half(static_cast<float>(wx / w), block.unit).bits);
  }
}

void encode_q2_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  using Levels = IntegerLevels<-1, 2>;
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 18) {
    std::memset(to, 0x55, 18);  // code 1 is zero
    store(to, std::uint16_t{0});
    if (!block.load(from + 64 * b, 64, weights, 64 * b, Spread::kBlock)) continue;
    const Choice best = best_half_scale<Levels>(block, {0.6F, 0.04F, 70});
    const float inverse = safe_inverse(best.scale.value);
    store(to, best.scale.bits);
    for (int i = 0; i < 16; ++i) {
      int byte = 0;
      for (int n = 0; n < 4; ++n) byte |= Levels::code(block.x[4 * i + n] * inverse) << (2 * n);
      to[2 + i] = static_cast<std::byte>(byte);
    }
  }
}

}  // namespace hearth::quant
