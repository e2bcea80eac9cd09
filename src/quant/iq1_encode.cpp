// IQ1_S and IQ1_M: x ≈ d (2 s + 1) (g + δ) with g from a grid of -1, 0, 1 and δ = ±1/8. A choice of
// δ is one more point to choose (IQ1_M: per group of eight) or an alternative of four groups
// (IQ1_S).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>

#include "quant/bytes.h"
#include "quant/codebook_search.h"
#include "quant/families.h"
#include "quant/grids.h"

namespace hearth::quant {
namespace {

constexpr std::size_t kPoints = 2048;
constexpr float kShift = 0.125F;
constexpr std::array<float, 8> kFactors = {1, 3, 5, 7, 9, 11, 13, 15};

struct Iq1Table {
  alignas(16) float level[8][kPoints];

  Iq1Table() {
    for (int k = 0; k < 8; ++k) {
      for (std::size_t i = 0; i < kPoints; ++i) {
        level[k][i] = static_cast<float>(static_cast<std::int8_t>((kIq1Grid[i] >> (8 * k)) & 255));
      }
    }
  }
};

const Iq1Table& table() {
  static const auto made = std::make_unique<const Iq1Table>();
  return *made;
}

/// The lines of all points with δ = +1/8, then with δ = -1/8.
struct Iq1Lines {
  alignas(16) float twice_a[2 * kPoints];
  alignas(16) float b[2 * kPoints];

  /// a = Σ w x g + δ Σ w x,  b = Σ w g² + 2 δ Σ w g + δ² Σ w.
  void set(const Iq1Table& grid, const float* x, const float* w) noexcept {
    Float4 weights[8];
    Float4 products[8];
    float sum_w = 0;
    float sum_wx = 0;
    for (int k = 0; k < 8; ++k) {
      weights[k] = all4(w[k]);
      products[k] = all4(2.0F * w[k] * x[k]);
      sum_w += w[k];
      sum_wx += w[k] * x[k];
    }
    for (std::size_t i = 0; i < kPoints; i += 4) {
      Float4 a{};
      Float4 linear{};
      Float4 square{};
      for (int k = 0; k < 8; ++k) {
        const Float4 level = load4(&grid.level[k][i]);
        const Float4 weighted = weights[k] * level;
        a += products[k] * level;
        linear += weighted;
        square += weighted * level;
      }
      store4(&twice_a[i], a + 2.0F * kShift * sum_wx);
      store4(&twice_a[kPoints + i], a - 2.0F * kShift * sum_wx);
      square += kShift * kShift * sum_w;
      store4(&b[i], square + 2.0F * kShift * linear);
      store4(&b[kPoints + i], square - 2.0F * kShift * linear);
    }
  }
};

FactorRange range_for(const Block& block) {
  float largest = 0;
  for (int i = 0; i < block.size; ++i) largest = std::max(largest, std::fabs(block.x[i]));
  // Up to the largest value on the smallest level but zero's.
  return {largest / 100.0F, 1.5F * largest};
}

constexpr int kLines = static_cast<int>(kPoints);

}  // namespace

void encode_iq1_s(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  const Iq1Table& grid = table();
  Block block;
  Iq1Lines lines;
  for (std::size_t b = 0; b < blocks; ++b, to += 50) {
    std::memset(to, 0, 50);
    const std::size_t column = kSuperBlock * b;
    if (!block.load(from + column, kSuperBlock, weights, column, Spread::kTwiceBlock)) continue;
    CodebookSearch search(8, kFactors, range_for(block));
    for (int part = 0; part < 8; ++part) {
      Envelope* cell = search.add_cell(4, 2);
      for (int group = 0; group < 4; ++group) {
        const int at = 32 * part + 8 * group;
        lines.set(grid, block.x + at, block.w + at);
        cell[group] = lower_envelope(lines.twice_a, lines.b, kLines, search.range());
        cell[4 + group] =
            lower_envelope(lines.twice_a + kPoints, lines.b + kPoints, kLines, search.range());
      }
    }
    const auto best = search.best(block);
    if (best.scale.bits == 0) continue;
    store(to, best.scale.bits);
    for (std::size_t part = 0; part < 8; ++part) {
      const auto negative = static_cast<unsigned>(best.alternative[part]);
      unsigned word = static_cast<unsigned>(best.part_scale[part]) << 12 | negative << 15;
      for (std::size_t group = 0; group < 4; ++group) {
        const unsigned point = best.point[8 * part + 4 * negative + group];
        to[2 + 4 * part + group] = static_cast<std::byte>(point & 255);
        word |= (point >> 8) << (3 * group);
      }
      store(to + 34 + 2 * part, static_cast<std::uint16_t>(word));
    }
  }
}

void encode_iq1_m(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  const Iq1Table& grid = table();
  Block block;
  Iq1Lines lines;
  for (std::size_t b = 0; b < blocks; ++b, to += 56) {
    std::memset(to, 0, 56);
    const std::size_t column = kSuperBlock * b;
    if (!block.load(from + column, kSuperBlock, weights, column, Spread::kTwiceBlock)) continue;
    CodebookSearch search(16, kFactors, range_for(block));
    for (int group = 0; group < 32; ++group) {
      lines.set(grid, block.x + 8 * group, block.w + 8 * group);
      *search.add_cell(1, 1) = lower_envelope(lines.twice_a, lines.b, 2 * kLines, search.range());
    }
    const auto best = search.best(block);
    if (best.scale.bits == 0) continue;
    for (std::size_t group = 0; group < 32; ++group) {
      const unsigned point = best.point[group];  // bits 8-10 and δ's sign make the nibble
      to[group] = static_cast<std::byte>(point & 255);
      or_bits(to[32 + group / 2], (point >> 8) << (4 * (group & 1)));
    }
    for (std::size_t i = 0; i < 4; ++i) {  // three bits per part, a nibble of the scale on top
      unsigned word = static_cast<unsigned>(best.scale.bits >> (4 * i) & 15) << 12;
      for (std::size_t part = 0; part < 4; ++part) {
        word |= static_cast<unsigned>(best.part_scale[4 * i + part]) << (3 * part);
      }
      store(to + 48 + 2 * i, static_cast<std::uint16_t>(word));
    }
  }
}

}  // namespace hearth::quant
