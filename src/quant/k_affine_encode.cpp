// Q2_K, Q4_K and Q5_K: x ≈ d S_part q - dmin M_part, with unsigned S, M and q.
//
// The search follows encode_two_level.h: real-valued (scale, minimum) per part, then several (d,
// dmin), for each of which every part chooses its own (S, M) by the error that remains, then the
// 2x2 least-squares problem of all codes for (d, dmin), and again. Minimums only lower values, so
// the block is also tried upside down: with x, d and dmin negated.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "quant/bytes.h"
#include "quant/encode_block.h"
#include "quant/families.h"
#include "quant/k_scales.h"

namespace hearth::quant {
namespace {

constexpr int kMostParts = 16;

struct Shape {
  int parts;
  int part_size;
  int last_code;   // codes 0..last_code
  int last_scale;  // S and M 0..last_scale
};

/// Of one part and one (scale, minimum).
struct Sums {
  float error;  // Σ w (x - (s q - m))²
  float q;      // Σ w q
  float qq;     // Σ w q²
  float xq;     // Σ w x q
};

struct Part {
  const float* x;
  const float* w;
  int size;
  float high;  // largest code
  float sum_w;
  float sum_wx;

  [[nodiscard]] Sums measure(float scale, float minimum) const noexcept {
    const float inverse = safe_inverse(scale);
    const Float4 last = all4(high);
    Float4 error{};
    Float4 q{};
    Float4 qq{};
    Float4 xq{};
    for (int i = 0; i < size; i += 4) {
      const Float4 value = load4(x + i);
      const Float4 weight = load4(w + i);
      const Float4 level = round4(clamp4((value + minimum) * inverse, Float4{}, last));
      const Float4 difference = value - (level * scale - minimum);
      const Float4 weighted = weight * level;
      error += weight * difference * difference;
      q += weighted;
      qq += weighted * level;
      xq += weighted * value;
    }
    return {sum4(error), sum4(q), sum4(qq), sum4(xq)};
  }
};

struct Pair {
  float scale;
  float minimum;
};

/// The best scale >= 0 and minimum >= 0 for the measured codes.
Pair solve(const Part& part, const Sums& sums) {
  const float determinant = part.sum_w * sums.qq - sums.q * sums.q;
  Pair pair{0, 0};
  if (determinant > 1e-6F * part.sum_w * sums.qq) {
    pair.scale = (part.sum_w * sums.xq - part.sum_wx * sums.q) / determinant;
    pair.minimum = (pair.scale * sums.q - part.sum_wx) / part.sum_w;
  }
  if (pair.minimum <= 0 || pair.scale <= 0) {
    if (sums.qq > 0 && sums.xq > 0) return {sums.xq / sums.qq, 0.0F};
    return {0.0F, std::max(0.0F, -part.sum_wx / part.sum_w)};
  }
  return pair;
}

struct Choice {
  int scale = 0;    // S
  int minimum = 0;  // M
  Sums sums{};
};

struct Result {
  float error = std::numeric_limits<float>::max();
  HalfScale scale{};    // d
  HalfScale minimum{};  // dmin
  SubScale parts[kMostParts] = {};
};

class AffineSuperBlock {
 public:
  AffineSuperBlock(const Block& block, const Shape& shape) noexcept : block_(block), shape_(shape) {
    for (int p = 0; p < shape.parts; ++p) {
      Part& part = parts_[p];
      part = {block.x + p * shape.part_size,
              block.w + p * shape.part_size,
              shape.part_size,
              static_cast<float>(shape.last_code),
              0,
              0};
      for (int i = 0; i < part.size; ++i) {
        part.sum_w += part.w[i];
        part.sum_wx += part.w[i] * part.x[i];
      }
      ideal_[p] = find_ideal(part);
    }
  }

  /// Tries all pairs of `ends`: S and M of the parts with the largest scale and minimum. A part
  /// may choose S up to `reach` from its own best scale.
  [[nodiscard]] Result scan(std::span<const float> ends, int reach = 1) const noexcept {
    float scale = 0;
    float minimum = 0;
    for (int p = 0; p < shape_.parts; ++p) {
      scale = std::max(scale, ideal_[p].scale);
      minimum = std::max(minimum, ideal_[p].minimum);
    }
    Result best;
    for (const float scale_end : ends) {
      const HalfScale d = nearest_half(scale / scale_end, block_.unit);
      for (const float minimum_end : ends) {
        refine(d, nearest_half(minimum / minimum_end, block_.unit), {1, reach}, best);
        if (minimum == 0) break;
      }
    }
    return best;
  }

  /// Solves for (d, dmin) and lets the parts choose again until that does not help. Where the error
  /// is near the rounding of halves, their neighbours are tried, too.
  void polish(Result& best) const noexcept {
    for (int round = 0; round < 4; ++round) {
      const Result start = best;
      refine(start.scale, start.minimum, {3, 1}, best);
      if (best.error < 1e-4F * block_.power) {
        for (const int step : {-1, 1}) {
          refine(next_half(start.scale, step, block_.unit), start.minimum, {1, 1}, best);
          refine(start.scale, next_half(start.minimum, step, block_.unit), {1, 1}, best);
        }
      }
      if (!(best.error < start.error)) break;
    }
    find_exact(best);
  }

 private:
  /// Trials of steps in the range of the part, and of where in the first step the minimum lies.
  [[nodiscard]] Pair find_ideal(const Part& part) const noexcept {
    const auto [low, high] = std::minmax_element(part.x, part.x + part.size);
    const float minimum = std::max(0.0F, -*low);
    const float range = *high + minimum;
    if (range <= 0) return {0.0F, std::max(0.0F, -part.sum_wx / part.sum_w)};
    Pair best{0, minimum};
    float least = std::numeric_limits<float>::max();
    for (int t = 0; t < 10; ++t) {
      const float steps = part.high * (0.82F + 0.03F * static_cast<float>(t)) - 0.05F;
      const float scale = range / steps;
      for (const float shift : {0.0F, 0.35F}) {
        if (shift > 0 && minimum == 0) break;
        const Pair pair = solve(part, part.measure(scale, minimum - shift * scale));
        const float error = part.measure(pair.scale, pair.minimum).error;
        if (error < least) {
          least = error;
          best = pair;
        }
      }
    }
    return best;
  }

  /// M for a part whose codes and scale are given: m = (s Σwq - Σwx) / Σw.
  [[nodiscard]] int solved_minimum(const Part& part, const Sums& sums, float scale,
                                   float unit) const noexcept {
    const float minimum = (scale * sums.q - part.sum_wx) / part.sum_w;
    const float quotient = minimum * unit;
    if (!(quotient > 0)) return 0;
    return static_cast<int>(std::lround(std::min(quotient, static_cast<float>(shape_.last_scale))));
  }

  /// The best (S, M) near the part's own scale and minimum.
  [[nodiscard]] Choice choose(int p, float d, float dmin, int reach) const noexcept {
    const Part& part = parts_[p];
    const Pair ideal = ideal_[p];
    const float per_scale = safe_inverse(d);
    const float per_minimum = safe_inverse(dmin);
    const auto last = static_cast<float>(shape_.last_scale);
    const int middle = static_cast<int>(std::lround(std::min(ideal.scale * per_scale, last)));
    Choice best;
    float least = std::numeric_limits<float>::max();
    const auto consider = [&](int scale, int minimum) {
      const Sums sums =
          part.measure(d * static_cast<float>(scale), dmin * static_cast<float>(minimum));
      if (sums.error < least) {
        least = sums.error;
        best = {scale, minimum, sums};
      }
      return sums;
    };
    for (int scale = std::max(0, middle - reach);
         scale <= std::min(shape_.last_scale, middle + reach); ++scale) {
      // A larger scale needs a larger minimum to keep the middle of the range where it is.
      const float shifted =
          ideal.minimum + 0.5F * part.high * (d * static_cast<float>(scale) - ideal.scale);
      const float start = std::clamp(ideal.minimum > 0 ? shifted * per_minimum : 0.0F, 0.0F, last);
      int minimum = static_cast<int>(std::lround(start));
      for (int round = 0; round < 3; ++round) {
        const Sums sums = consider(scale, minimum);
        const int solved = solved_minimum(part, sums, d * static_cast<float>(scale), per_minimum);
        if (solved == minimum) break;
        minimum = solved;
      }
    }
    const int found = best.minimum;
    const int scale = best.scale;
    if (found > 0) consider(scale, found - 1);
    if (found < shape_.last_scale && dmin > 0) consider(scale, found + 1);
    return best;
  }

  /// Blocks of few distinct values can be exact with products d S q of small factors far from the
  /// usual ones, most likely where d and dmin are equal and have few bits. Tried where the error is
  /// a twentieth of the usual one, which is about 1 / last_code².
  void find_exact(Result& best) const noexcept {
    const auto last = static_cast<float>(shape_.last_code);
    if (best.error == 0 || best.error > 0.05F / (last * last) * block_.power) return;
    constexpr float kManyEnds[] = {63, 62, 60.5F, 58, 55, 49, 42};
    const Result exact = scan(kManyEnds, shape_.last_scale);
    if (exact.error < best.error) best = exact;
    float value = 0;
    for (int i = 0; i < block_.size; ++i) value = std::max(value, std::fabs(block_.x[i]));
    const float most = last * static_cast<float>(shape_.last_scale);
    for (float products = 1; products < most; products *= 2) {
      const HalfScale both = nearest_half(value / products, block_.unit);
      refine(both, both, {1, shape_.last_scale}, best);
    }
  }

  struct Effort {
    int rounds;
    int reach;
  };

  /// Lets the parts choose, then solves for (d, dmin), for some rounds.
  void refine(HalfScale d, HalfScale dmin, Effort effort, Result& best) const noexcept {
    for (int round = 0; round < effort.rounds; ++round) {
      Result result;
      result.scale = d;
      result.minimum = dmin;
      result.error = 0;
      // Normal equations of Σ w (x - d S q + dmin M)².
      float ss = 0;
      float sm = 0;
      float mm = 0;
      float sx = 0;
      float mx = 0;
      for (int p = 0; p < shape_.parts; ++p) {
        const Choice choice = choose(p, d.value, dmin.value, effort.reach);
        result.parts[p] = {choice.scale, choice.minimum};
        result.error += choice.sums.error;
        const auto s = static_cast<float>(choice.scale);
        const auto m = static_cast<float>(choice.minimum);
        ss += s * s * choice.sums.qq;
        sm += s * m * choice.sums.q;
        mm += m * m * parts_[p].sum_w;
        sx += s * choice.sums.xq;
        mx += m * parts_[p].sum_wx;
      }
      if (result.error < best.error) best = result;
      const float determinant = ss * mm - sm * sm;
      float scale = ss > 0 ? sx / ss : d.value;
      float minimum = dmin.value;
      if (determinant > 1e-5F * ss * mm) {
        scale = (sx * mm - mx * sm) / determinant;
        minimum = (sx * sm - mx * ss) / determinant;
      } else if (mm > 0) {
        scale = d.value;
      }
      if (!(scale >= 0) || !(minimum >= 0)) return;
      const HalfScale solved = nearest_half(scale, block_.unit);
      const HalfScale solved_minimum = nearest_half(minimum, block_.unit);
      if (solved.bits == d.bits && solved_minimum.bits == dmin.bits) return;
      d = solved;
      dmin = solved_minimum;
    }
  }

  const Block& block_;
  Shape shape_;
  Part parts_[kMostParts];
  Pair ideal_[kMostParts];
};

/// What one super-block stores.
struct Stored {
  std::uint16_t scale = 0;
  std::uint16_t minimum = 0;
  SubScale parts[kMostParts] = {};
  std::uint8_t codes[kSuperBlock] = {};
};

void negate(Block& block) {
  for (int i = 0; i < block.size; ++i) block.x[i] = -block.x[i];
}

Stored encode_block(Block& block, const Shape& shape, std::span<const float> ends) {
  const AffineSuperBlock upright(block, shape);
  Result best = upright.scan(ends);
  negate(block);
  const AffineSuperBlock upside_down(block, shape);
  const Result turned = upside_down.scan(ends);
  std::uint16_t sign = 0x8000;
  if (turned.error < best.error) {
    best = turned;
    upside_down.polish(best);
  } else {
    negate(block);
    sign = 0;
    upright.polish(best);
  }
  Stored stored;
  stored.scale = best.scale.bits ^ sign;
  stored.minimum = best.minimum.bits ^ sign;
  const Float4 last = all4(static_cast<float>(shape.last_code));
  for (int i = 0; i < kSuperBlock; ++i) {
    const SubScale part = best.parts[i / shape.part_size];
    const float inverse = safe_inverse(best.scale.value * static_cast<float>(part.scale));
    const float minimum = best.minimum.value * static_cast<float>(part.minimum);
    stored.codes[i] = static_cast<std::uint8_t>(
        round4(clamp4(all4((block.x[i] + minimum) * inverse), Float4{}, last))[0]);
  }
  std::copy_n(best.parts, shape.parts, stored.parts);
  return stored;
}

constexpr float kEnds63[] = {63, 60};
constexpr float kEnds15[] = {15, 13.5F, 12};

/// Calls write(stored, to) for every super-block that is not zero; others are all zero bytes.
template <typename Write>
void encode_super_blocks(const float* from, const RowWeights& weights, std::size_t blocks,
                         std::byte* to, std::size_t bytes, const Shape& shape, Spread spread,
                         std::span<const float> ends, Write write) {
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += bytes) {
    std::memset(to, 0, bytes);
    const std::size_t column = b * kSuperBlock;
    if (!block.load(from + column, kSuperBlock, weights, column, spread)) continue;
    write(encode_block(block, shape, ends), reinterpret_cast<std::uint8_t*>(to));
  }
}

void write_header(const Stored& stored, std::uint8_t* to) {
  store(to, stored.scale);
  store(to + 2, stored.minimum);
  for (int sub = 0; sub < 8; ++sub) pack_sub_scale(to + 4, sub, stored.parts[sub]);
}

}  // namespace

void encode_q2_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  encode_super_blocks(
      from, weights, blocks, to, 84, {16, 16, 3, 15}, Spread::kBlock, kEnds15,
      [](const Stored& stored, std::uint8_t* out) {
        for (int sub = 0; sub < 16; ++sub) {
          out[sub] =
              static_cast<std::uint8_t>(stored.parts[sub].scale | stored.parts[sub].minimum << 4);
        }
        for (int i = 0; i < kSuperBlock; ++i) {
          or_bits(out[16 + 32 * (i / 128) + i % 32], stored.codes[i] << (2 * ((i / 32) & 3)));
        }
        store(out + 80, stored.scale);
        store(out + 82, stored.minimum);
      });
}

void encode_q4_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  encode_super_blocks(from, weights, blocks, to, 144, {8, 32, 15, 63}, Spread::kTwiceBlock, kEnds63,
                      [](const Stored& stored, std::uint8_t* out) {
                        write_header(stored, out);
                        for (int i = 0; i < kSuperBlock; ++i) {
                          or_bits(out[16 + 32 * (i / 64) + i % 32],
                                  stored.codes[i] << (4 * ((i / 32) & 1)));
                        }
                      });
}

void encode_q5_k(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  encode_super_blocks(from, weights, blocks, to, 176, {8, 32, 31, 63}, Spread::kTwiceBlock, kEnds63,
                      [](const Stored& stored, std::uint8_t* out) {
                        write_header(stored, out);
                        for (int i = 0; i < kSuperBlock; ++i) {
                          or_bits(out[48 + 32 * (i / 64) + i % 32], (stored.codes[i] & 15)
                                                                        << (4 * ((i / 32) & 1)));
                          or_bits(out[16 + i % 32], (stored.codes[i] >> 4) << (i / 32));
                        }
                      });
}

}  // namespace hearth::quant
