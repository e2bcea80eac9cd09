// 32 values with one scale, or with a scale and a minimum.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/bytes.h"
#include "quant/encode_block.h"
#include "quant/encode_levels.h"
#include "quant/families.h"
#include "tensor/dtype.h"

namespace hearth::quant {
namespace {

/// Nibbles in the order of these formats: byte i holds value i (low) and value i + 16 (high).
void store_fifth_bits(const int* codes, std::byte* to) {
  std::uint32_t bits = 0;
  for (int i = 0; i < kLegacyBlock; ++i)
    bits |= (static_cast<std::uint32_t>(codes[i]) >> 4 & 1) << i;
  store(to, bits);
}

/// The codes of a block with one scale; returns the scale. A block that stores zeros has the code
/// of zero everywhere.
template <typename Levels>
std::uint16_t encode_scaled(Block& block, bool zero, Trials trials, int* codes) {
  const Choice best = zero ? Choice{} : best_half_scale<Levels>(block, trials);
  const float inverse = safe_inverse(best.scale.value);
  for (int i = 0; i < kLegacyBlock; ++i)
    codes[i] = Levels::code(zero ? 0.0F : block.x[i] * inverse);
  return best.scale.bits;
}

/// Scale and minimum, x ≈ d q + m with q in 0..last.
struct Affine {
  HalfScale scale{};
  HalfScale minimum{};
  float error = std::numeric_limits<float>::max();
};

struct AffineSums {
  float error;
  float q;   ///< Σ w q
  float qq;  ///< Σ w q²
  float xq;  ///< Σ w x q
};

AffineSums measure_affine(const Block& block, int last, float scale, float minimum) {
  const float inverse = safe_inverse(scale);
  const Float4 high = all4(static_cast<float>(last));
  Float4 error{};
  Float4 q{};
  Float4 qq{};
  Float4 xq{};
  for (int i = 0; i < kLegacyBlock; i += 4) {
    const Float4 x = load4(block.x + i);
    const Float4 w = load4(block.w + i);
    const Float4 level = round4(clamp4((x - minimum) * inverse, Float4{}, high));
    const Float4 difference = x - (level * scale + minimum);
    error += w * difference * difference;
    q += w * level;
    qq += w * level * level;
    xq += w * level * x;
  }
  return {sum4(error), sum4(q), sum4(qq), sum4(xq)};
}

class AffineSearch {
 public:
  AffineSearch(const Block& block, int last) : block_(block), last_(last) {
    const auto [low, high] = std::minmax_element(block.x, block.x + kLegacyBlock);
    low_ = *low;
    high_ = *high;
    for (int i = 0; i < kLegacyBlock; ++i) {
      w_ += block.w[i];
      wx_ += block.w[i] * block.x[i];
    }
  }

  Affine best() {
    // All values equal to one half, or nearly: any scale is as good.
    try_pair(0.0F, wx_ / w_);
    const float range = high_ - low_;
    try_pair(range / static_cast<float>(last_), low_);  // the usual recipe
    if (range > 0) {
      // `steps` of the range: fractional ones near the number of levels; all whole ones, at which
      // values of few distinct magnitudes may fall on levels.
      for (int t = 0; t < 12; ++t) try_steps(range, last_ - 0.9F + 0.2F * static_cast<float>(t));
      for (int steps = 1; steps <= last_; ++steps) try_range(range / static_cast<float>(steps), 0);
    }
    // A minimum rounded to half leaves a remainder that a scale can hold (constant blocks).
    const HalfScale whole = nearest_half(low_, block_.unit);
    for (int step = -1; step <= 1; ++step) {
      const float minimum = next_half(whole, step, block_.unit).value;
      if (low_ > minimum) try_pair((low_ - minimum) / static_cast<float>(last_), minimum);
      if (low_ > minimum) try_pair(low_ - minimum, minimum);
    }
    polish();
    return best_;
  }

 private:
  void try_steps(float range, float steps) {
    const float scale = range / steps;
    for (const float shift : {-0.4F, -0.2F, 0.0F, 0.2F, 0.4F}) try_range(scale, shift);
  }

  /// Assigns with a trial scale and minimum and keeps the best solved pair.
  void try_range(float scale, float shift) {
    const AffineSums sums = measure_affine(block_, last_, scale, low_ + shift * scale);
    const auto [solved, minimum] = solve(sums, scale);
    if (sums.error <= 2.0F * best_trial_ || best_trial_ == 0) {
      best_trial_ = std::min(best_trial_, sums.error);
      try_pair(solved, minimum);
    }
  }

  struct Solved {
    float scale;
    float minimum;
  };

  /// Least squares of x ≈ d q + m for the measured codes.
  Solved solve(const AffineSums& sums, float scale) const {
    const float determinant = w_ * sums.qq - sums.q * sums.q;
    if (determinant > 1e-6F * w_ * sums.qq) {
      scale = (w_ * sums.xq - wx_ * sums.q) / determinant;
    }
    return {scale, (wx_ - scale * sums.q) / w_};
  }

  void try_pair(float scale, float minimum) {
    keep(nearest_half(scale, block_.unit), nearest_half(minimum, block_.unit));
  }

  bool keep(HalfScale scale, HalfScale minimum) {
    const float error = measure_affine(block_, last_, scale.value, minimum.value).error;
    if (!(error < best_.error)) return false;
    best_ = {scale, minimum, error};
    return true;
  }

  /// Neighbouring halves of both numbers, and the solution of the best codes, until nothing helps.
  void polish() {
    for (int round = 0; round < 6; ++round) {
      const Affine start = best_;
      const AffineSums sums = measure_affine(block_, last_, start.scale.value, start.minimum.value);
      const auto [scale, minimum] = solve(sums, start.scale.value);
      try_pair(scale, minimum);
      for (int s = -1; s <= 1; ++s) {
        const HalfScale near = next_half(start.scale, s, block_.unit);
        // The minimum that suits this scale, and its neighbours.
        const HalfScale middle = nearest_half((wx_ - near.value * sums.q) / w_, block_.unit);
        for (int m = -1; m <= 1; ++m) keep(near, next_half(middle, m, block_.unit));
      }
      if (!(best_.error < start.error)) break;
    }
  }

  const Block& block_;
  int last_;
  float low_;
  float high_;
  float w_ = 0;
  float wx_ = 0;
  float best_trial_ = std::numeric_limits<float>::max();
  Affine best_;
};

/// Scale to `to`, minimum to `to` + 2.
void encode_affine(const Block& block, bool zero, int last, std::byte* to, int* codes) {
  Affine best;
  if (!zero) best = AffineSearch(block, last).best();
  store(to, best.scale.bits);
  store(to + 2, best.minimum.bits);
  const float inverse = safe_inverse(best.scale.value);
  for (int i = 0; i < kLegacyBlock; ++i) {
    const float level = zero ? 0.0F : (block.x[i] - best.minimum.value) * inverse;
    codes[i] =
        static_cast<int>(round4(clamp4(all4(level), Float4{}, all4(static_cast<float>(last))))[0]);
  }
}

/// Calls encode_one(block, zero, to) for every block of a row.
template <typename EncodeOne>
void for_blocks(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to,
                std::size_t bytes, EncodeOne encode_one) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b) {
    const bool some =
        block.load(from + b * kLegacyBlock, kLegacyBlock, weights, b * kLegacyBlock, Spread::kRow);
    encode_one(block, !some, to + b * bytes);
  }
}

}  // namespace

void encode_q4_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for_blocks(from, weights, blocks, to, 18, [](Block& block, bool zero, std::byte* out) {
    int codes[kLegacyBlock];
    store(out, encode_scaled<IntegerLevels<-8, 7>>(block, zero, {5.0F, 0.07F, 62}, codes));
    store_nibbles(codes, out + 2);
  });
}

void encode_q4_1(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for_blocks(from, weights, blocks, to, 20, [](Block& block, bool zero, std::byte* out) {
    int codes[kLegacyBlock];
    encode_affine(block, zero, 15, out, codes);
    store_nibbles(codes, out + 4);
  });
}

void encode_q5_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for_blocks(from, weights, blocks, to, 22, [](Block& block, bool zero, std::byte* out) {
    int codes[kLegacyBlock];
    store(out, encode_scaled<IntegerLevels<-16, 15>>(block, zero, {12.5F, 0.08F, 60}, codes));
    store_fifth_bits(codes, out + 2);
    store_nibbles(codes, out + 6);
  });
}

void encode_q5_1(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for_blocks(from, weights, blocks, to, 24, [](Block& block, bool zero, std::byte* out) {
    int codes[kLegacyBlock];
    encode_affine(block, zero, 31, out, codes);
    store_fifth_bits(codes, out + 4);
    store_nibbles(codes, out + 8);
  });
}

void encode_q8_0(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  for_blocks(from, weights, blocks, to, 34, [](Block& block, bool zero, std::byte* out) {
    int codes[kLegacyBlock];
    // -128 is left out: kernels may rely on the magnitude fitting seven bits.
    using Levels = IntegerLevels<-127, 127>;
    store(out, encode_scaled<Levels>(block, zero, {124.0F, 0.4F, 10}, codes));
    for (int i = 0; i < kLegacyBlock; ++i) out[2 + i] = static_cast<std::byte>(codes[i] - 127);
  });
}

void round_to_q8_0(const float* from, std::size_t blocks, std::byte* to) noexcept {
  constexpr float kLargestHalf = 65504, kMost = 127;
  for (; blocks > 0; --blocks, from += kLegacyBlock, to += 2 + kLegacyBlock) {
    float most = 0;
    for (int i = 0; i < kLegacyBlock; ++i) most = std::max(most, std::abs(from[i]));
    const std::uint16_t half = tensor::half_from_float(std::min(kLargestHalf, most / kMost));
    const float scale = tensor::float_from_half(half);
    const float inverse = scale > 0 ? 1 / scale : 0;
    store(to, half);
    for (int i = 0; i < kLegacyBlock; ++i) {
      // A scale that was rounded down would make 128 of the largest.
      const float level = std::max(-kMost, std::min(kMost, from[i] * inverse));
      to[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::nearbyint(level)));
    }
  }
}

}  // namespace hearth::quant
