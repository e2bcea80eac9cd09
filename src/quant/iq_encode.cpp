// IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS and IQ3_S: magnitudes from a grid, signs beside it. The search is
// codebook_search.h's; here are the lines of each group and the layouts.
//
// With a sign per value the signs are those of the values. Where only seven signs per eight values
// are stored, the number of negative ones is even; if it is odd in the values, one of them, k, gets
// the wrong sign, which replaces w |x| g by -w |x| g: a falls by 2 min_k w_k |x_k| g_k. The flipped
// value thus depends on the point, and the search takes the best pair.
#include <algorithm>
#include <array>
#include <bit>
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

/// The magnitudes of a grid, value k of all points together.
template <int width, std::size_t count>
struct GridTable {
  alignas(16) float level[width][count];

  template <typename Point>
  explicit GridTable(const std::array<Point, count>& grid) {
    for (int k = 0; k < width; ++k) {
      for (std::size_t i = 0; i < count; ++i) {
        level[k][i] = static_cast<float>((grid[i] >> (8 * k)) & 255);
      }
    }
  }
};

/// The lines of one group for all points of a grid: with the right signs and with one flipped.
template <int width, std::size_t count>
class GroupLines {
 public:
  /// `flip`: whether flipped_envelope will be asked for.
  void set(const GridTable<width, count>& grid, const float* x, const float* w,
           bool flip) noexcept {
    if (flip) {
      fill<true>(grid, x, w);
    } else {
      fill<false>(grid, x, w);
    }
  }

  [[nodiscard]] Envelope envelope(FactorRange range) const noexcept {
    return lower_envelope(twice_a_, b_, kCount, range);
  }
  [[nodiscard]] Envelope flipped_envelope(FactorRange range) const noexcept {
    return lower_envelope(flipped_twice_a_, b_, kCount, range);
  }

 private:
  template <bool flip>
  void fill(const GridTable<width, count>& grid, const float* x, const float* w) noexcept {
    Float4 weights[width];
    Float4 products[width];
    for (int k = 0; k < width; ++k) {
      weights[k] = all4(w[k]);
      products[k] = all4(2.0F * w[k] * std::fabs(x[k]));
    }
    for (std::size_t i = 0; i < count; i += 4) {
      Float4 a{};
      Float4 square{};
      Float4 smallest = all4(1e30F);
      for (int k = 0; k < width; ++k) {
        const Float4 level = load4(&grid.level[k][i]);
        const Float4 product = products[k] * level;
        a += product;
        square += weights[k] * level * level;
        if constexpr (flip) smallest = min4(product, smallest);
      }
      store4(&twice_a_[i], a);
      if constexpr (flip) store4(&flipped_twice_a_[i], a - 2.0F * smallest);
      store4(&b_[i], square);
    }
  }

  static constexpr int kCount = static_cast<int>(count);
  alignas(16) float twice_a_[count];
  alignas(16) float flipped_twice_a_[count];
  alignas(16) float b_[count];
};

/// Bit k set: x[k] is negative.
unsigned signs_of(const float* x) {
  unsigned signs = 0;
  for (unsigned k = 0; k < 8; ++k) signs |= (x[k] < 0 ? 1U : 0U) << k;
  return signs;
}

bool odd(unsigned signs) { return (std::popcount(signs) & 1) != 0; }

/// The value of a group whose wrong sign costs least.
template <typename Point>
unsigned cheapest_flip(Point point, const float* x, const float* w, int width) {
  unsigned best = 0;
  float least = 1e30F;
  for (int k = 0; k < width; ++k) {
    const float cost = w[k] * std::fabs(x[k]) * static_cast<float>((point >> (8 * k)) & 255);
    if (cost < least) {
      least = cost;
      best = static_cast<unsigned>(k);
    }
  }
  return best;
}

/// Factors from one at which the largest value is on the smallest level, down to one that lets
/// parts a hundred times smaller use the largest level.
FactorRange range_for(const Block& block, float smallest_level, float largest_level) {
  float largest = 0;
  for (int i = 0; i < block.size; ++i) largest = std::max(largest, std::fabs(block.x[i]));
  return {largest / largest_level / 100.0F, 1.3F * largest / smallest_level};
}

template <int count>
constexpr std::array<float, count> factors(float first, float step) {
  std::array<float, count> values{};
  for (int s = 0; s < count; ++s) {
    values[static_cast<std::size_t>(s)] = first + step * static_cast<float>(s);
  }
  return values;
}

constexpr auto kIq2Factors = factors<16>(0.125F, 0.25F);   // (0.5 + s) / 4
constexpr auto kIq3XxsFactors = factors<16>(0.25F, 0.5F);  // (0.5 + s) / 2
constexpr auto kIq3SFactors = factors<16>(1.0F, 2.0F);     // 1 + 2 s

/// Searches a super-block of groups of eight; `parity`: whether seven signs are stored.
template <std::size_t count>
CodebookSearch::Result search_iq2(const Block& block, const GridTable<8, count>& grid, int parts,
                                  bool parity) {
  CodebookSearch search(parts, kIq2Factors, range_for(block, 8, 43));
  GroupLines<8, count> lines;
  for (int group = 0; group < 32; ++group) {
    const float* x = block.x + 8 * group;
    const bool flip = parity && odd(signs_of(x));
    lines.set(grid, x, block.w + 8 * group, flip);
    *search.add_cell(1, 1) =
        flip ? lines.flipped_envelope(search.range()) : lines.envelope(search.range());
  }
  return search.best(block);
}

/// The seven stored signs of a group.
template <typename Point>
unsigned sign_index(const Block& block, int group, Point point) {
  const float* x = block.x + 8 * group;
  unsigned signs = signs_of(x);
  if (odd(signs)) signs ^= 1U << cheapest_flip(point, x, block.w + 8 * group, 8);
  return signs & 127;
}

/// Loads the super-block `b` of a row; false when it stores zeros.
bool load_block(Block& block, const float* from, const RowWeights& weights, std::size_t b,
                Spread spread) {
  return block.load(from + kSuperBlock * b, kSuperBlock, weights, kSuperBlock * b, spread);
}

unsigned scale_of(const CodebookSearch::Result& best, int part) {
  return static_cast<unsigned>(best.part_scale[static_cast<std::size_t>(part)]);
}

unsigned point_of(const CodebookSearch::Result& best, int envelope) {
  return best.point[static_cast<std::size_t>(envelope)];
}

}  // namespace

void encode_iq2_xxs(const float* from, const RowWeights& weights, std::size_t blocks,
                    std::byte* to) {
  static const auto grid = std::make_unique<const GridTable<8, 256>>(kIq2XxsGrid);
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 66) {
    std::memset(to, 0, 66);
    if (!load_block(block, from, weights, b, Spread::kBlock)) continue;
    const auto best = search_iq2(block, *grid, 8, true);
    if (best.scale.bits == 0) continue;
    store(to, best.scale.bits);
    for (int part = 0; part < 8; ++part) {
      std::uint32_t word = scale_of(best, part) << 28;
      for (int l = 0; l < 4; ++l) {
        const int group = 4 * part + l;
        const unsigned point = point_of(best, group);
        to[2 + 8 * part + l] = static_cast<std::byte>(point);
        word |= sign_index(block, group, kIq2XxsGrid[point]) << (7 * l);
      }
      store(to + 2 + 8 * part + 4, word);
    }
  }
}

void encode_iq2_xs(const float* from, const RowWeights& weights, std::size_t blocks,
                   std::byte* to) {
  static const auto grid = std::make_unique<const GridTable<8, 512>>(kIq2XsGrid);
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 74) {
    std::memset(to, 0, 74);
    if (!load_block(block, from, weights, b, Spread::kBlock)) continue;
    const auto best = search_iq2(block, *grid, 16, true);
    if (best.scale.bits == 0) continue;
    store(to, best.scale.bits);
    for (int group = 0; group < 32; ++group) {
      const unsigned point = point_of(best, group);
      const unsigned word = point | sign_index(block, group, kIq2XsGrid[point]) << 9;
      store(to + 2 + 2 * group, static_cast<std::uint16_t>(word));
    }
    for (int part = 0; part < 16; ++part) {
      or_bits(to[66 + part / 2], scale_of(best, part) << (4 * (part & 1)));
    }
  }
}

void encode_iq2_s(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  static const auto grid = std::make_unique<const GridTable<8, 1024>>(kIq2SGrid);
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 82) {
    std::memset(to, 0, 82);
    if (!load_block(block, from, weights, b, Spread::kTwiceBlock)) continue;
    const auto best = search_iq2(block, *grid, 16, false);
    if (best.scale.bits == 0) continue;
    store(to, best.scale.bits);
    for (int group = 0; group < 32; ++group) {
      const unsigned point = point_of(best, group);
      to[2 + group] = static_cast<std::byte>(point & 255);
      to[34 + group] = static_cast<std::byte>(signs_of(block.x + 8 * group));
      or_bits(to[66 + group / 4], (point >> 8) << (2 * (group & 3)));
    }
    for (int part = 0; part < 16; ++part) {
      or_bits(to[74 + part / 2], scale_of(best, part) << (4 * (part & 1)));
    }
  }
}

/// The signs of eight values are shared by two points of four: with an odd number of negative
/// values, either the first or the second point has a flipped one.
void encode_iq3_xxs(const float* from, const RowWeights& weights, std::size_t blocks,
                    std::byte* to) {
  static const auto grid = std::make_unique<const GridTable<4, 256>>(kIq3XxsGrid);
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 98) {
    std::memset(to, 0, 98);
    if (!load_block(block, from, weights, b, Spread::kTwiceBlock)) continue;
    CodebookSearch search(8, kIq3XxsFactors, range_for(block, 4, 62));
    std::array<int, 32> first_envelope{};
    int envelopes = 0;
    GroupLines<4, 256> lines[2];
    for (int pair = 0; pair < 32; ++pair) {
      const bool flip = odd(signs_of(block.x + 8 * pair));
      for (int half = 0; half < 2; ++half) {
        const int at = 8 * pair + 4 * half;
        lines[half].set(*grid, block.x + at, block.w + at, flip);
      }
      Envelope* cell = search.add_cell(2, flip ? 2 : 1);
      const FactorRange range = search.range();
      cell[0] = flip ? lines[0].flipped_envelope(range) : lines[0].envelope(range);
      cell[1] = lines[1].envelope(range);
      if (flip) {
        cell[2] = lines[0].envelope(range);
        cell[3] = lines[1].flipped_envelope(range);
      }
      first_envelope[static_cast<std::size_t>(pair)] = envelopes;
      envelopes += flip ? 4 : 2;
    }
    const auto best = search.best(block);
    if (best.scale.bits == 0) continue;
    store(to, best.scale.bits);
    for (int part = 0; part < 8; ++part) {
      std::uint32_t word = scale_of(best, part) << 28;
      for (int l = 0; l < 4; ++l) {
        const int pair = 4 * part + l;
        const int way = best.alternative[static_cast<std::size_t>(pair)];
        const int first = first_envelope[static_cast<std::size_t>(pair)] + 2 * way;
        const unsigned points[2] = {point_of(best, first), point_of(best, first + 1)};
        to[2 + 2 * pair] = static_cast<std::byte>(points[0]);
        to[3 + 2 * pair] = static_cast<std::byte>(points[1]);
        unsigned signs = signs_of(block.x + 8 * pair);
        if (odd(signs)) {
          const int at = 8 * pair + 4 * way;
          signs ^= 1U << (static_cast<unsigned>(4 * way) +
                          cheapest_flip(kIq3XxsGrid[points[way]], block.x + at, block.w + at, 4));
        }
        word |= (signs & 127) << (7 * l);
      }
      store(to + 66 + 4 * part, word);
    }
  }
}

void encode_iq3_s(const float* from, const RowWeights& weights, std::size_t blocks, std::byte* to) {
  static const auto grid = std::make_unique<const GridTable<4, 512>>(kIq3SGrid);
  Block block;
  for (std::size_t b = 0; b < blocks; ++b, to += 110) {
    std::memset(to, 0, 110);
    if (!load_block(block, from, weights, b, Spread::kTwiceBlock)) continue;
    CodebookSearch search(8, kIq3SFactors, range_for(block, 1, 15));
    GroupLines<4, 512> lines;
    for (int group = 0; group < 64; ++group) {
      lines.set(*grid, block.x + 4 * group, block.w + 4 * group, false);
      *search.add_cell(1, 1) = lines.envelope(search.range());
    }
    const auto best = search.best(block);
    if (best.scale.bits == 0) continue;
    store(to, best.scale.bits);
    for (int group = 0; group < 64; ++group) {
      const unsigned point = point_of(best, group);
      to[2 + group] = static_cast<std::byte>(point & 255);
      or_bits(to[66 + group / 8], (point >> 8) << (group & 7));
    }
    for (int pair = 0; pair < 32; ++pair) {
      to[74 + pair] = static_cast<std::byte>(signs_of(block.x + 8 * pair));
    }
    for (int part = 0; part < 8; ++part) {
      or_bits(to[106 + part / 2], scale_of(best, part) << (4 * (part & 1)));
    }
  }
}

}  // namespace hearth::quant
